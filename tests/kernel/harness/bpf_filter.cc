#include "tests/kernel/harness/bpf_filter.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace weir::kernel_test {
namespace {

std::array<UniqueFd, 2> Pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

/// What the process gave to bpf(2); 0 when it is gone.
bpf_attr AttrOf(const seccomp_notif& call) {
  bpf_attr attr{};
  iovec here{&attr, std::min<size_t>(sizeof attr, call.data.args[2])};
  iovec there{reinterpret_cast<void*>(call.data.args[1]), here.iov_len};
  if (process_vm_readv(static_cast<pid_t>(call.pid), &here, 1, &there, 1, 0) < 0) attr = {};
  return attr;
}

}  // namespace

BpfFilter::BpfFilter(Verdict verdict) : verdict_(std::move(verdict)), to_parent_(Pipe()), to_child_(Pipe()) {}

BpfFilter::~BpfFilter() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

void BpfFilter::InChild() const {
  std::array<sock_filter, 4> code = {
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_bpf, 0, 1),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog filter{code.size(), code.data()};
  const int fd = static_cast<int>(
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter));
  char answer = 0;
  if (write(to_parent_[1].get(), &fd, sizeof fd) != sizeof fd || read(to_child_[0].get(), &answer, 1) != 1)
    _exit(126);
}

bool BpfFilter::Attach(pid_t pid) {
  int theirs = -1;
  if (read(to_parent_[0].get(), &theirs, sizeof theirs) != sizeof theirs || theirs < 0) return false;
  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  listener_ = UniqueFd(static_cast<int>(syscall(SYS_pidfd_getfd, process.get(), theirs, 0)));
  if (!listener_.valid() || write(to_child_[1].get(), "", 1) != 1) return false;
  thread_ = std::thread([this] { Run(); });
  return true;
}

void BpfFilter::Run() {
  constexpr int kLookMs = 50;  // for the end
  while (!stopping_) {
    pollfd poll_fd{listener_.get(), POLLIN, 0};
    if (poll(&poll_fd, 1, kLookMs) <= 0) continue;
    if ((poll_fd.revents & POLLIN) == 0) return;  // no process is left
    seccomp_notif call{};
    if (ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) continue;  // it was interrupted
    const int error = verdict_(static_cast<int>(call.data.args[0]), AttrOf(call));
    seccomp_notif_resp answer{};
    answer.id = call.id;
    answer.error = -error;
    answer.flags = error == 0 ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0;
    ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer);  // fails where the process is gone
  }
}

BpfFilter::Verdict WithoutAttachTypes(std::vector<bpf_attach_type> lacking) {
  return [lacking = std::move(lacking)](int command, const bpf_attr& attr) {
    const bool lacks =
        command == BPF_PROG_LOAD &&
        std::find(lacking.begin(), lacking.end(), attr.expected_attach_type) != lacking.end() &&
        attr.prog_type != BPF_PROG_TYPE_TRACING;
    return lacks ? EINVAL : 0;
  };
}

BpfFilter::Verdict WithoutPrograms(std::vector<std::string> beginnings) {
  return [beginnings = std::move(beginnings)](int command, const bpf_attr& attr) {
    if (command != BPF_PROG_LOAD) return 0;
    const std::string_view name(attr.prog_name, strnlen(attr.prog_name, sizeof attr.prog_name));
    const bool lacks = std::any_of(beginnings.begin(), beginnings.end(),
                                   [&](const std::string& beginning) { return name.starts_with(beginning); });
    return lacks ? EINVAL : 0;
  };
}

}  // namespace weir::kernel_test
