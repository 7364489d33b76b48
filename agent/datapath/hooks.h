// Attaching: one pinned link per hook. Links outlive the agent; the next one replaces their programs.
#pragma once

#include <string>
#include <vector>

#include "common/fd.h"
#include "common/status.h"

namespace weir::datapath {

/// A hook of a cgroup.
struct Hook {
  const char* name;   // "connect4"; the program is weir_<name>, the pin link_<name>
  int attach_type;    // enum bpf_attach_type
  const char* since;  // the first Linux that has it
};
/// Those of bpf/socket.bpf.c. Reverse translations come first: they are attached before, and removed after,
/// the hooks that make them necessary.
const std::vector<Hook>& Hooks();
/// Those of bpf/packets.bpf.c.
const std::vector<Hook>& PacketHooks();

/// A directory of a cgroup2 hierarchy. FAILED_PRECONDITION for anything else, with the mount point if there
/// is one.
Result<UniqueFd> OpenCgroup(const std::string& path);

/// Puts the program on the hook of the cgroup and pins the link in `directory`. A link pinned there already
/// gets the new program in one step (BPF_LINK_UPDATE), unless it belongs to another or a removed cgroup: then
/// it is replaced.
Status AttachHook(const Hook& hook, int program_fd, int cgroup_fd, const std::string& directory);

/// Whether a link of the hook is pinned in `directory`.
bool IsPinned(const Hook& hook, const std::string& directory);

/// Those of bpf/measure.bpf.c at a cgroup; its tracepoint is none of them.
const std::vector<Hook>& MeasureHooks();

/// OK if the program with this id is among those in effect at the cgroup.
Status CheckHook(const Hook& hook, uint32_t program_id, int cgroup_fd);

/// Detaches and unpins what AttachHook pinned for one hook; returns the paths.
Result<std::vector<std::string>> RemoveHook(const Hook& hook, const std::string& directory);
/// The same for Hooks() and PacketHooks().
Result<std::vector<std::string>> RemoveHooks(const std::string& directory);

}  // namespace weir::datapath
