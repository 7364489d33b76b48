// Least privilege: CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON stay, everything else goes for good; but for the
// one thread that enters network namespaces.
#pragma once

#include <string>
#include <vector>

#include "common/status.h"

namespace weir::app {

/// Gives up every capability of this thread but the three (CAP_SYS_ADMIN instead where CAP_BPF or CAP_PERFMON
/// is not held), in the permitted, effective, inheritable, ambient and bounding sets, and sets no_new_privs.
/// Call before other threads are started. Returns the names of those kept.
Result<std::vector<std::string>> DropCapabilities();

/// The same for the thread that enters network namespaces, which keeps, as far as they were granted, CAP_BPF,
/// CAP_SYS_ADMIN (setns(2)) and CAP_SYS_PTRACE (the namespaces of others' processes in /proc).
Result<std::vector<std::string>> DropCapabilitiesButForNamespaces();

/// Of those two, the ones that are not granted: namespaces that cannot be entered, or not found, without
/// them.
std::vector<std::string> MissingForNamespaces();

}  // namespace weir::app
