// Times as Kubernetes writes them: RFC 3339 in UTC, whole seconds.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "controller/model/objects.h"

namespace weir::model {

/// "2026-11-24T10:00:00Z"; fractions of a second and offsets ("+01:00") are read too. nullopt for anything
/// else.
std::optional<Created> ParseTimestamp(std::string_view text);

/// "2026-11-24T10:00:00Z".
std::string FormatTimestamp(Created time);

}  // namespace weir::model
