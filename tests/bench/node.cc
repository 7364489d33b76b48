#include "tests/bench/node.h"

#include "tests/bench/worker.h"

namespace weir::bench {

Node::Node(const std::string& name, uint32_t scale)
    : cgroup_(name), bpffs_(kernel_test::TheSandbox().bpffs + "/" + name) {
  datapath::Options options;
  options.cgroup_path = cgroup_.path();
  options.bpffs_dir = bpffs_;
  options.max_services *= scale;
  options.max_endpoints *= scale;
  auto opened = datapath::KernelDatapath::Open(options);
  if (!opened.ok()) Die("open the datapath: " + Message(opened.status()));
  datapath_ = *std::move(opened);
}

void Node::Apply(const datapath::Change& change) {
  if (auto status = datapath_->Apply(change); !status.ok()) Die("apply: " + Message(status));
}

}  // namespace weir::bench
