#include "agent/datapath/environment.h"

#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <sys/capability.h>
#include <sys/vfs.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "agent/datapath/hooks.h"

namespace weir::datapath {
namespace {

bool HasHelper(bpf_func_id helper, bpf_prog_type type = BPF_PROG_TYPE_CGROUP_SOCK_ADDR) {
  return libbpf_probe_bpf_helper(type, helper, nullptr) == 1;
}

}  // namespace

std::optional<std::string> FindCgroup2Mount() {
  // "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw": proc(5)
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const size_t separator = line.find(" - ");
    if (separator == std::string::npos || line.compare(separator + 3, 8, "cgroup2 ") != 0) continue;
    std::istringstream fields(line);
    std::string id, parent, device, root, mount_point;
    if (fields >> id >> parent >> device >> root >> mount_point) return mount_point;
  }
  return std::nullopt;
}

std::vector<std::string> MissingCapabilities() {
  const std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)> held(cap_get_proc(), cap_free);
  const auto has = [&](cap_value_t capability) {
    cap_flag_value_t value = CAP_CLEAR;
    return held && cap_get_flag(held.get(), capability, CAP_EFFECTIVE, &value) == 0 && value == CAP_SET;
  };
  std::vector<std::string> missing;
  if (!has(CAP_BPF) && !has(CAP_SYS_ADMIN)) missing.emplace_back("CAP_BPF");
  if (!has(CAP_NET_ADMIN)) missing.emplace_back("CAP_NET_ADMIN");
  if (!has(CAP_PERFMON) && !has(CAP_SYS_ADMIN)) missing.emplace_back("CAP_PERFMON");
  return missing;
}

Status CheckCapabilities() {
  const std::vector<std::string> missing = MissingCapabilities();
  if (missing.empty()) return OkStatus();
  return Error(absl::StatusCode::kPermissionDenied,
               "missing {}: run as root, or grant the capabilities (systemd: AmbientCapabilities=, "
               "Kubernetes: securityContext.capabilities.add)",
               fmt::join(missing, ", "));
}

Status EnsureBpffsDirectory(const std::string& path) {
  // The nearest parent that exists decides: a directory must not appear on an ordinary file system.
  std::filesystem::path existing = path;
  std::error_code error;
  while (!std::filesystem::exists(existing, error) && existing.has_relative_path())
    existing = existing.parent_path();
  struct statfs filesystem {};
  if (statfs(existing.c_str(), &filesystem) != 0) return ErrnoStatus(errno, "statfs " + existing.string());
  if (filesystem.f_type != BPF_FS_MAGIC) {
    return FailedPrecondition(
        "{} is not on a BPF file system: mount -t bpf bpf /sys/fs/bpf, or give another --bpffs", path);
  }
  std::filesystem::create_directories(path, error);
  return error ? ErrnoStatus(error.value(), "mkdir " + path) : OkStatus();
}

std::vector<std::string> ProbeAbilities() {
  std::vector<std::string> abilities;
  for (const Hook& hook : Hooks()) abilities.emplace_back(hook.name);
  if (HasHelper(BPF_FUNC_set_retval)) abilities.emplace_back("set_retval");
  if (HasHelper(BPF_FUNC_skc_to_mptcp_sock)) abilities.emplace_back("mptcp");
  return abilities;
}

std::vector<std::string> ProbePacketAbilities() {
  std::vector<std::string> abilities;
  if (!HasHelper(BPF_FUNC_loop, BPF_PROG_TYPE_CGROUP_SKB)) return abilities;
  for (const Hook& hook : PacketHooks()) abilities.emplace_back(hook.name);
  return abilities;
}

}  // namespace weir::datapath
