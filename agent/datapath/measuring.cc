#include "agent/datapath/measuring.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "agent/datapath/object.h"
#include "measure.skel.h"

namespace weir::datapath {
namespace {

constexpr const char* kStatePin = "/link_state_change";
constexpr const char* kFresh = "_new";

/// A link at a tracepoint cannot be given another program: the new one is attached beside the old, which goes
/// with its pin.
Status AttachTracepoint(int program_fd, const std::string& directory) {
  const UniqueFd link(bpf_raw_tracepoint_open(nullptr, program_fd));
  if (!link.valid()) return ErrnoStatus(errno, "attach to inet_sock_set_state");
  const std::string path = directory + kStatePin;
  const std::string fresh = path + kFresh;
  if (unlink(fresh.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(errno, "unlink " + fresh);
  if (bpf_obj_pin(link.get(), fresh.c_str()) != 0) return ErrnoStatus(errno, "pin " + fresh);
  if (rename(fresh.c_str(), path.c_str()) != 0) return ErrnoStatus(errno, "rename " + fresh);
  return OkStatus();
}

Status CheckTracepoint(int program_fd, const std::string& directory) {
  const std::string path = directory + kStatePin;
  const UniqueFd link(bpf_obj_get(path.c_str()));
  if (!link.valid()) return ErrnoStatus(errno, "open " + path);
  bpf_link_info info{};
  bpf_prog_info program{};
  uint32_t info_length = sizeof info;
  uint32_t program_length = sizeof program;
  if (bpf_obj_get_info_by_fd(link.get(), &info, &info_length) != 0 ||
      bpf_obj_get_info_by_fd(program_fd, &program, &program_length) != 0) {
    return ErrnoStatus(errno, "link info");
  }
  if (info.prog_id == program.id) return OkStatus();
  return FailedPrecondition(
      "program weir_state_change is not at its tracepoint: restart the agent to attach it again");
}

}  // namespace

void Measuring::Destroy::operator()(weir_measure* skeleton) const { weir_measure__destroy(skeleton); }
Measuring::Measuring(std::unique_ptr<weir_measure, Destroy> skeleton, std::string bpffs_directory)
    : skeleton_(std::move(skeleton)), bpffs_directory_(std::move(bpffs_directory)) {}
Measuring::Measuring(Measuring&&) noexcept = default;
Measuring& Measuring::operator=(Measuring&&) noexcept = default;
Measuring::~Measuring() = default;

Result<Measuring> Measuring::Attach(const Maps& maps, int cgroup_fd, const std::string& bpffs_directory) {
  std::unique_ptr<weir_measure, Destroy> skeleton(weir_measure__open());
  if (!skeleton) return ErrnoStatus(errno, "open the BPF object that measures");
  Measuring measuring(std::move(skeleton), bpffs_directory);
  const Status attached = measuring.AttachAll(maps, cgroup_fd);
  if (attached.ok()) return measuring;
  RETURN_IF_ERROR(RemoveMeasuring(bpffs_directory).status());
  return Annotate(attached, "measure TCP connections (Linux 5.18 or later with BTF is needed)");
}

Status Measuring::AttachAll(const Maps& maps, int cgroup_fd) {
  RETURN_IF_ERROR(LoadOnMaps(skeleton_->obj, maps));
  for (const Hook& hook : MeasureHooks()) {
    ASSIGN_OR_RETURN(const int fd, ProgramFd(skeleton_->obj, hook));
    RETURN_IF_ERROR(AttachHook(hook, fd, cgroup_fd, bpffs_directory_));
  }
  bpf_iter_link_info target{};
  target.map.map_fd = static_cast<uint32_t>(maps.fd("weir_socks"));
  bpf_link_create_opts options{};
  options.sz = sizeof options;
  options.iter_info = &target;
  options.iter_info_len = sizeof target;
  living_ =
      UniqueFd(bpf_link_create(bpf_program__fd(skeleton_->progs.weir_living), 0, BPF_TRACE_ITER, &options));
  if (!living_.valid()) return ErrnoStatus(errno, "iterate over socket storage");
  return AttachTracepoint(bpf_program__fd(skeleton_->progs.weir_state_change), bpffs_directory_);
}

Status Measuring::CountLiving() const {
  const UniqueFd iterator(bpf_iter_create(living_.get()));
  if (!iterator.valid()) return ErrnoStatus(errno, "iterate over socket storage");
  // The program prints nothing. After a million sockets the kernel makes a pause: EAGAIN.
  std::array<char, 64> nothing{};
  for (;;) {
    const ssize_t length = read(iterator.get(), nothing.data(), nothing.size());
    if (length == 0) return OkStatus();
    if (length < 0 && errno != EAGAIN && errno != EINTR)
      return ErrnoStatus(errno, "iterate over socket storage");
  }
}

Status Measuring::Check(int cgroup_fd) const {
  for (const Hook& hook : MeasureHooks()) RETURN_IF_ERROR(CheckProgram(skeleton_->obj, hook, cgroup_fd));
  return CheckTracepoint(bpf_program__fd(skeleton_->progs.weir_state_change), bpffs_directory_);
}

Result<std::vector<std::string>> RemoveMeasuring(const std::string& bpffs_directory) {
  std::vector<std::string> removed;
  for (const Hook& hook : MeasureHooks()) {
    ASSIGN_OR_RETURN(const std::vector<std::string> paths, RemoveHook(hook, bpffs_directory));
    removed.insert(removed.end(), paths.begin(), paths.end());
  }
  for (const std::string& pin : {bpffs_directory + kStatePin, bpffs_directory + kStatePin + kFresh}) {
    if (unlink(pin.c_str()) == 0) {
      removed.push_back(pin);
    } else if (errno != ENOENT) {
      return ErrnoStatus(errno, "unlink " + pin);
    }
  }
  return removed;
}

}  // namespace weir::datapath
