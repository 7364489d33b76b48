// One agent per bpffs directory.
#pragma once

#include <string>

#include "common/fd.h"
#include "common/status.h"

namespace weir::app {

/// Locks the directory itself (flock) for as long as the descriptor lives, and so at most as long as the
/// process. FAILED_PRECONDITION when another agent holds it; NOT_FOUND when there is no such directory.
Result<UniqueFd> LockDirectory(const std::string& path);

}  // namespace weir::app
