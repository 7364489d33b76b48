// The text forms the store keeps.
#pragma once

#include <string>

#include "common/status.h"
#include "controller/app/core.h"

namespace weir::app {

/// {"engine": {...}, "weights": {...}, "updated_ms": n}: what must outlive the process of a rollout at work.
std::string ToStored(const RolloutEntry& entry);
/// DATA_LOSS for anything that ToStored does not write.
Result<RolloutEntry> ParseStored(const std::string& json);

/// The manifest with another spec.revision. Comments are lost.
Result<std::string> WithRevision(const std::string& yaml, const std::string& revision);

}  // namespace weir::app
