#include "agent/datapath/packets.h"

#include <bpf/libbpf.h>

#include <cerrno>

#include "agent/datapath/object.h"
#include "packets.skel.h"

namespace weir::datapath {

void Packets::Destroy::operator()(weir_packets* skeleton) const { weir_packets__destroy(skeleton); }
Packets::Packets() = default;
Packets::Packets(Packets&&) noexcept = default;
Packets& Packets::operator=(Packets&&) noexcept = default;
Packets::~Packets() = default;

Status Packets::Attach(const Maps& maps, int cgroup_fd, const std::string& bpffs_directory) {
  if (attached_) return OkStatus();
  if (!skeleton_) {
    std::unique_ptr<weir_packets, Destroy> skeleton(weir_packets__open());
    if (!skeleton) return ErrnoStatus(errno, "open the BPF object of packets");
    if (const Status loaded = LoadOnMaps(skeleton->obj, maps); !loaded.ok())
      return Annotate(loaded, "load the BPF programs for packets");
    skeleton_ = std::move(skeleton);
  }
  for (const Hook& hook : PacketHooks()) {
    ASSIGN_OR_RETURN(const int fd, ProgramFd(skeleton_->obj, hook));
    RETURN_IF_ERROR(AttachHook(hook, fd, cgroup_fd, bpffs_directory));
  }
  attached_ = true;
  return OkStatus();
}

Status Packets::Detach(const std::string& bpffs_directory) {
  attached_ = false;
  for (const Hook& hook : PacketHooks()) RETURN_IF_ERROR(RemoveHook(hook, bpffs_directory).status());
  return OkStatus();
}

Status Packets::Check(int cgroup_fd) const {
  if (!attached_) return OkStatus();
  for (const Hook& hook : PacketHooks()) RETURN_IF_ERROR(CheckProgram(skeleton_->obj, hook, cgroup_fd));
  return OkStatus();
}

}  // namespace weir::datapath
