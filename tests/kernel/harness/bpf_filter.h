// A kernel that lacks something: chosen calls of bpf(2) of a process fail as they would there. By seccomp's
// user notifications, seccomp_unotify(2); the process itself is the real one and knows nothing of it.
#pragma once

#include <linux/bpf.h>
#include <sys/types.h>

#include <array>
#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "common/fd.h"

namespace weir::kernel_test {

class BpfFilter {
 public:
  /// The errno with which a call is to fail; 0: the kernel is asked. `attr` is 0 beyond what the process
  /// gave. On the filter's thread.
  using Verdict = std::function<int(int command, const bpf_attr& attr)>;

  explicit BpfFilter(Verdict verdict);
  /// Ends when the processes have; call it after them.
  ~BpfFilter();
  BpfFilter(const BpfFilter&) = delete;
  BpfFilter& operator=(const BpfFilter&) = delete;

  /// Between fork and exec, in the child; waits for Attach.
  void InChild() const;
  /// In the parent, once. False where there is no such thing as user notifications.
  bool Attach(pid_t pid);

 private:
  void Run();

  const Verdict verdict_;
  std::array<UniqueFd, 2> to_parent_, to_child_;  // pipes: reading end, writing end
  UniqueFd listener_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

/// Loads of programs for that kind of hook fail with EINVAL, as on a kernel that does not know it.
BpfFilter::Verdict WithoutAttachTypes(std::vector<bpf_attach_type> lacking);
/// Loads of programs whose names begin so fail with EINVAL.
BpfFilter::Verdict WithoutPrograms(std::vector<std::string> beginnings);

}  // namespace weir::kernel_test
