#include "agent/datapath/hooks.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "agent/datapath/environment.h"

namespace weir::datapath {
namespace {

constexpr const char* kFresh = "_new";  // bpffs allows no dots in names (kernel/bpf/inode.c)

std::string LinkPath(const Hook& hook, const std::string& directory) {
  return directory + "/link_" + hook.name;
}

/// Whether a pinned link hangs on this cgroup. A link whose cgroup is gone reports id 0.
bool IsOn(int link_fd, int cgroup_fd) {
  bpf_link_info info{};
  uint32_t length = sizeof info;
  struct stat cgroup {};
  if (bpf_obj_get_info_by_fd(link_fd, &info, &length) != 0 || fstat(cgroup_fd, &cgroup) != 0) return false;
  return info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == cgroup.st_ino;  // cgroup2: id == inode
}

}  // namespace

const std::vector<Hook>& Hooks() {
  static const std::vector<Hook> hooks = {
      {"getpeername4", BPF_CGROUP_INET4_GETPEERNAME, "5.8"},
      {"getpeername6", BPF_CGROUP_INET6_GETPEERNAME, "5.8"},
      {"recvmsg4", BPF_CGROUP_UDP4_RECVMSG, "5.2"},
      {"recvmsg6", BPF_CGROUP_UDP6_RECVMSG, "5.2"},
      {"sendmsg4", BPF_CGROUP_UDP4_SENDMSG, "4.18"},
      {"sendmsg6", BPF_CGROUP_UDP6_SENDMSG, "4.18"},
      {"connect4", BPF_CGROUP_INET4_CONNECT, "4.17"},
      {"connect6", BPF_CGROUP_INET6_CONNECT, "4.17"},
  };
  return hooks;
}

const std::vector<Hook>& PacketHooks() {
  static const std::vector<Hook> hooks = {{"ingress", BPF_CGROUP_INET_INGRESS, "4.10"},
                                          {"egress", BPF_CGROUP_INET_EGRESS, "4.10"}};
  return hooks;
}

const std::vector<Hook>& MeasureHooks() {
  static const std::vector<Hook> hooks = {{"sock_release", BPF_CGROUP_INET_SOCK_RELEASE, "5.9"}};
  return hooks;
}

Result<UniqueFd> OpenCgroup(const std::string& path) {
  const std::string mount = FindCgroup2Mount().value_or("none on this machine: mount -t cgroup2 none DIR");
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid())
    return ErrnoStatus(errno, fmt::format("cgroup {} (cgroup2 is mounted at: {})", path, mount));
  struct statfs filesystem {};
  if (fstatfs(fd.get(), &filesystem) != 0) return ErrnoStatus(errno, "statfs " + path);
  if (filesystem.f_type != CGROUP2_SUPER_MAGIC) {
    return FailedPrecondition("{} is not in a cgroup2 hierarchy; cgroup2 is mounted at: {}", path, mount);
  }
  return fd;
}

Status AttachHook(const Hook& hook, int program_fd, int cgroup_fd, const std::string& directory) {
  const std::string path = LinkPath(hook, directory);
  const UniqueFd pinned(bpf_obj_get(path.c_str()));
  if (pinned.valid() && IsOn(pinned.get(), cgroup_fd) &&
      bpf_link_update(pinned.get(), program_fd, nullptr) == 0) {
    return OkStatus();
  }
  const auto type = static_cast<bpf_attach_type>(hook.attach_type);
  const UniqueFd link(bpf_link_create(program_fd, cgroup_fd, type, nullptr));
  if (!link.valid()) {
    const int error = errno;
    const std::string lacks =
        error == EINVAL
            ? fmt::format(" (this kernel may lack the hook or links to it; Linux {} or later has it)",
                          hook.since)
            : "";
    return Annotate(ErrnoStatus(error, std::strerror(error)), fmt::format("attach {}{}", hook.name, lacks));
  }
  const std::string fresh = path + kFresh;
  if (unlink(fresh.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(errno, "unlink " + fresh);
  if (bpf_obj_pin(link.get(), fresh.c_str()) != 0) return ErrnoStatus(errno, "pin " + fresh);
  // The new link works already; the old one goes with its last reference.
  if (rename(fresh.c_str(), path.c_str()) != 0) return ErrnoStatus(errno, "rename " + fresh);
  if (pinned.valid()) bpf_link_detach(pinned.get());
  return OkStatus();
}

bool IsPinned(const Hook& hook, const std::string& directory) {
  return access(LinkPath(hook, directory).c_str(), F_OK) == 0;
}

Status CheckHook(const Hook& hook, uint32_t program_id, int cgroup_fd) {
  std::array<uint32_t, 64> ids{};
  uint32_t count = ids.size();
  uint32_t flags = 0;
  const int error = bpf_prog_query(cgroup_fd, static_cast<bpf_attach_type>(hook.attach_type),
                                   BPF_F_QUERY_EFFECTIVE, &flags, ids.data(), &count);
  if (error != 0) return ErrnoStatus(-error, fmt::format("query programs of {}", hook.name));
  if (std::find(ids.begin(), ids.begin() + count, program_id) != ids.begin() + count) return OkStatus();
  return FailedPrecondition(
      "program weir_{} is not in effect at the cgroup: restart the agent to attach it again", hook.name);
}

Result<std::vector<std::string>> RemoveHook(const Hook& hook, const std::string& directory) {
  std::vector<std::string> removed;
  const std::string path = LinkPath(hook, directory);
  for (const std::string& pin : {path, path + kFresh}) {
    const UniqueFd link(bpf_obj_get(pin.c_str()));
    // Detaching fails only where the cgroup went first, and with it the attachment.
    if (link.valid()) bpf_link_detach(link.get());
    if (unlink(pin.c_str()) == 0) {
      removed.push_back(pin);
    } else if (errno != ENOENT) {
      return ErrnoStatus(errno, "unlink " + pin);
    }
  }
  return removed;
}

Result<std::vector<std::string>> RemoveHooks(const std::string& directory) {
  std::vector<std::string> removed;
  for (const std::vector<Hook>& hooks : {Hooks(), PacketHooks()}) {
    for (auto hook = hooks.rbegin(); hook != hooks.rend(); ++hook) {
      ASSIGN_OR_RETURN(const std::vector<std::string> paths, RemoveHook(*hook, directory));
      removed.insert(removed.end(), paths.begin(), paths.end());
    }
  }
  return removed;
}

}  // namespace weir::datapath
