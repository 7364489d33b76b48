// A node in the small: a child cgroup, a directory in bpffs, and the datapath that steers what runs in the
// cgroup.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/datapath/datapath.h"
#include "agent/datapath/kernel_datapath.h"
#include "tests/kernel/harness/client.h"
#include "tests/kernel/harness/sandbox.h"
#include "tests/kernel/harness/sockets.h"

namespace weir::kernel_test {

class TestNode {
 public:
  /// Makes cgroup and directory under a name unique in this run; small maps unless told otherwise.
  TestNode();
  explicit TestNode(uint32_t max_services, uint32_t max_endpoints = 4096, uint32_t max_affinity = 1024);
  /// Detaches and removes all.
  ~TestNode();
  TestNode(const TestNode&) = delete;
  TestNode& operator=(const TestNode&) = delete;

  datapath::Options& options() { return options_; }
  const std::string& cgroup() const { return cgroup_.path(); }
  Status RemoveCgroup() { return cgroup_.Remove(); }
  const std::string& bpffs() const { return options_.bpffs_dir; }

  /// Opens, or opens again (the former datapath goes first, as when an agent restarts).
  Status Open();
  /// As when the process ends: everything in the kernel stays.
  void Close() { datapath_.reset(); }
  datapath::KernelDatapath& datapath() { return *datapath_; }
  bool is_open() const { return datapath_ != nullptr; }

  /// Applies one frontend under the next generation.
  Status Apply(const datapath::Frontend& frontend) { return Apply(std::vector{frontend}); }
  Status Apply(const std::vector<datapath::Frontend>& upserts,
               const std::vector<datapath::FrontendKey>& removals = {});
  /// Applies these frontends and no others.
  Status ApplyFull(const std::vector<datapath::Frontend>& frontends);

  /// A socket that belongs to the node, in the test's own hands: hooks go by the cgroup a socket was made in.
  Socket OpenSocket(int family, int type, int protocol = 0);

  Result<std::string> Run(const ClientFunction& function) { return RunIn(cgroup(), function); }

 private:
  datapath::Options options_;
  Cgroup cgroup_;
  std::unique_ptr<datapath::KernelDatapath> datapath_;
};

/// A frontend over TCP with one variant per weight, named v0, v1 ...; endpoints are added by the caller.
datapath::Frontend MakeFrontend(const SocketAddress& vip, const std::vector<uint32_t>& weights,
                                Protocol protocol = Protocol::kTcp);
/// The same with endpoints: variant i gets endpoints[i].
datapath::Frontend MakeFrontend(const SocketAddress& vip, const std::vector<uint32_t>& weights,
                                const std::vector<std::vector<SocketAddress>>& endpoints,
                                Protocol protocol = Protocol::kTcp);

}  // namespace weir::kernel_test
