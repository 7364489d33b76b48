// A node in the small: a cgroup and the datapath that steers what runs in it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "agent/datapath/kernel_datapath.h"
#include "common/fd.h"
#include "tests/kernel/harness/sandbox.h"

namespace weir::bench {

class Node {
 public:
  /// Opens the datapath under a name unique in this run, with maps `scale` times as large as the agent makes
  /// by default. Aborts with the reason.
  explicit Node(const std::string& name, uint32_t scale = 1);

  const std::string& cgroup() const { return cgroup_.path(); }
  const std::string& bpffs() const { return bpffs_; }
  datapath::KernelDatapath& datapath() { return *datapath_; }
  /// Applies, or aborts with the reason.
  void Apply(const datapath::Change& change);
  /// The tracepoint sees the sockets of the whole machine, so every node that has it weighs on all that is
  /// measured: of several nodes, only the one whose turn it is should. Nodes begin with it.
  void SetTracepoint(bool attached);

 private:
  kernel_test::Cgroup cgroup_;
  std::string bpffs_;
  std::unique_ptr<datapath::KernelDatapath> datapath_;
  UniqueFd tracepoint_program_;  // held from the first SetTracepoint(false) on
  UniqueFd tracepoint_link_;
};

}  // namespace weir::bench
