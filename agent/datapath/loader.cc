#include "agent/datapath/loader.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <filesystem>

#include "agent/datapath/object.h"
#include "socket.skel.h"

namespace weir::datapath {
namespace {

constexpr std::string_view kUnfinished = "_new";

/// Maps that a resize carries on as they are: the kernel writes to them meanwhile.
bool IsShared(const std::string& name) {
  return name == "weir_socks" || name == "weir_udp_flows" || name == "weir_counters" ||
         name == "weir_grace" || name == "weir_state" || name == "weir_series" || name == "weir_stats" ||
         name == "weir_http" || name == "weir_http_socks" || name == "weir_contact" ||
         name == "weir_failing" || name == "weir_pods";
}

void SetSizes(weir_socket* skeleton, const MapSizes& sizes) {
  bpf_map__set_max_entries(skeleton->maps.weir_vips, sizes.vip_entries());
  bpf_map__set_max_entries(skeleton->maps.weir_wide, sizes.wide_entries());
  bpf_map__set_max_entries(skeleton->maps.weir_splits, sizes.split_entries());
  bpf_map__set_max_entries(skeleton->maps.weir_cursors, sizes.cursor_entries());
  bpf_map__set_max_entries(skeleton->maps.weir_endpoints, sizes.endpoint_entries());
  bpf_map__set_max_entries(skeleton->maps.weir_affinity, sizes.affinity);
  bpf_map__set_max_entries(skeleton->maps.weir_series, sizes.series_entries());
  bpf_map__set_max_entries(skeleton->maps.weir_stats, sizes.series_entries());
  bpf_map__set_max_entries(skeleton->maps.weir_http, sizes.http_entries());
}

Status ReusePinned(bpf_object* object, const std::string& name, const std::string& directory) {
  const std::string path = fmt::format("{}/{}", directory, name);
  const UniqueFd fd(bpf_obj_get(path.c_str()));
  if (!fd.valid() && errno == ENOENT && CameLater(name)) return OkStatus();
  if (!fd.valid()) return ErrnoStatus(errno, "open pinned map " + path);
  bpf_map* map = bpf_object__find_map_by_name(object, name.c_str());
  const int error = bpf_map__reuse_fd(map, fd.get());
  return error == 0 ? OkStatus() : ErrnoStatus(-error, "reuse " + path);
}

/// Pins every map that is not pinned there yet.
Status PinMaps(bpf_object* object, const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return ErrnoStatus(error.value(), "mkdir " + directory);
  for (const std::string& name : MapNames()) {
    if (std::filesystem::exists(fmt::format("{}/{}", directory, name), error)) continue;
    const int fd = bpf_map__fd(bpf_object__find_map_by_name(object, name.c_str()));
    const std::string path = fmt::format("{}/{}", directory, name);
    if (bpf_obj_pin(fd, path.c_str()) != 0) return ErrnoStatus(errno, "pin " + path);
  }
  return OkStatus();
}

}  // namespace

void Programs::Destroy::operator()(weir_socket* skeleton) const { weir_socket__destroy(skeleton); }
Programs::Programs(std::unique_ptr<weir_socket, Destroy> skeleton, std::string maps_at, std::string directory)
    : skeleton_(std::move(skeleton)), maps_at_(std::move(maps_at)), directory_(std::move(directory)) {}
Programs::Programs(Programs&&) noexcept = default;
Programs& Programs::operator=(Programs&&) noexcept = default;
Programs::~Programs() = default;

Result<Programs> Programs::Load(const std::string& map_directory, const MapSizes& sizes,
                                const std::string& shared) {
  CollectLibbpfMessages();
  std::unique_ptr<weir_socket, Destroy> skeleton(weir_socket__open());
  if (!skeleton) return ErrnoStatus(errno, "open the BPF object");
  SetSizes(skeleton.get(), sizes);
  skeleton->rodata->weir_vip_mask = sizes.vip_entries() - 1;
  skeleton->rodata->weir_have_mptcp =
      libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_skc_to_mptcp_sock, nullptr) == 1;
  std::error_code error;
  const bool exists = std::filesystem::exists(map_directory, error);
  for (const std::string& name : MapNames()) {
    if (exists) {
      RETURN_IF_ERROR(ReusePinned(skeleton->obj, name, map_directory));
    } else if (!shared.empty() && IsShared(name)) {
      RETURN_IF_ERROR(ReusePinned(skeleton->obj, name, shared));
    }
  }
  if (const int failed = weir_socket__load(skeleton.get()); failed != 0) {
    return Annotate(LoadError(-failed, skeleton->obj),
                    "load the BPF programs (Linux 5.18 or later with cgroup BPF is needed)");
  }
  if (exists) {
    RETURN_IF_ERROR(PinMaps(skeleton->obj, map_directory));
    return Programs(std::move(skeleton), map_directory, map_directory);
  }
  const std::string unfinished = map_directory + std::string(kUnfinished);
  RETURN_IF_ERROR(PinMaps(skeleton->obj, unfinished));
  return Programs(std::move(skeleton), unfinished, map_directory);
}

Status Programs::Publish() {
  if (maps_at_ == directory_) return OkStatus();
  std::error_code error;
  std::filesystem::rename(maps_at_, directory_, error);
  if (error) return ErrnoStatus(error.value(), fmt::format("rename {} to {}", maps_at_, directory_));
  maps_at_ = directory_;
  return OkStatus();
}

Status Programs::Attach(int cgroup_fd, const std::string& bpffs_directory) const {
  std::vector<const Hook*> added;
  const auto attach = [&](const Hook& hook) -> Status {
    ASSIGN_OR_RETURN(const int fd, ProgramFd(skeleton_->obj, hook));
    return AttachHook(hook, fd, cgroup_fd, bpffs_directory);
  };
  for (const Hook& hook : Hooks()) {
    const bool pinned = IsPinned(hook, bpffs_directory);
    Status status = attach(hook);
    if (status.ok() && !pinned) added.push_back(&hook);
    if (status.ok()) continue;
    // Half of the hooks would divide without translating back, or the other way round, with no agent to know.
    for (auto it = added.rbegin(); it != added.rend(); ++it)
      RETURN_IF_ERROR(RemoveHook(**it, bpffs_directory).status());
    return status;
  }
  return OkStatus();
}

Status Programs::Check(int cgroup_fd) const {
  for (const Hook& hook : Hooks()) RETURN_IF_ERROR(CheckProgram(skeleton_->obj, hook, cgroup_fd));
  return OkStatus();
}

namespace {

/// Entries of a bpffs directory that are map directories once `suffix` is taken off.
std::vector<std::string> ListWithSuffix(const std::string& bpffs_directory, std::string_view suffix) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(bpffs_directory, error)) {
    const std::string name = entry.path().filename();
    if (!name.ends_with(suffix)) continue;
    if (MapSizes::FromDirectoryName(name.substr(0, name.size() - suffix.size()))) names.push_back(name);
  }
  return names;
}

}  // namespace

std::vector<std::string> ListMapDirectories(const std::string& bpffs_directory) {
  return ListWithSuffix(bpffs_directory, "");
}

Result<std::vector<std::string>> RemoveUnfinished(const std::string& bpffs_directory) {
  std::vector<std::string> removed;
  for (const std::string& name : ListWithSuffix(bpffs_directory, kUnfinished)) {
    ASSIGN_OR_RETURN(const std::vector<std::string> gone,
                     RemoveMapDirectory(fmt::format("{}/{}", bpffs_directory, name)));
    removed.insert(removed.end(), gone.begin(), gone.end());
  }
  return removed;
}

Result<std::vector<std::string>> RemoveMapDirectory(const std::string& directory) {
  std::vector<std::string> removed;
  std::error_code error;
  for (const std::string& name : MapNames()) {
    const std::string path = fmt::format("{}/{}", directory, name);
    if (std::filesystem::remove(path, error)) removed.push_back(path);
    if (error) return ErrnoStatus(error.value(), "unlink " + path);
  }
  if (std::filesystem::remove(directory, error)) removed.push_back(directory);
  if (error) return ErrnoStatus(error.value(), "rmdir " + directory);
  return removed;
}

}  // namespace weir::datapath
