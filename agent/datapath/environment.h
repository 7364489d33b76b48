// What this machine must offer before anything is loaded.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/status.h"

namespace weir::datapath {

/// Where cgroup2 is mounted, from /proc/self/mountinfo: /sys/fs/cgroup, or /sys/fs/cgroup/unified on hybrid
/// machines.
std::optional<std::string> FindCgroup2Mount();

/// The capabilities Weir needs that this process lacks in its effective set: of CAP_BPF, CAP_NET_ADMIN,
/// CAP_PERFMON. CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON (capabilities(7)).
std::vector<std::string> MissingCapabilities();
/// PERMISSION_DENIED with those, and how to grant them.
Status CheckCapabilities();

/// Makes the directory (and its parents) on a BPF file system. FAILED_PRECONDITION, with the remedy, where
/// there is none.
Status EnsureBpffsDirectory(const std::string& path);

/// What the kernel offers: the hooks' names, "set_retval", "mptcp".
std::vector<std::string> ProbeAbilities();
/// Of bpf/packets.bpf.c, which is loaded with the first need: "ingress", "egress" where HTTP and datagrams
/// can be measured; else empty.
std::vector<std::string> ProbePacketAbilities();

}  // namespace weir::datapath
