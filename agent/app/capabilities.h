// Least privilege: CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON stay, everything else goes for good.
#pragma once

#include <string>
#include <vector>

#include "common/status.h"

namespace weir::app {

/// Gives up every capability of this thread but the three (CAP_SYS_ADMIN instead where CAP_BPF or CAP_PERFMON
/// is not held), in the permitted, effective, inheritable, ambient and bounding sets, and sets no_new_privs.
/// Call before other threads are started. Returns the names of those kept.
Result<std::vector<std::string>> DropCapabilities();

}  // namespace weir::app
