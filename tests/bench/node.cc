#include "tests/bench/node.h"

#include <bpf/bpf.h>
#include <unistd.h>

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

void Node::SetTracepoint(bool attached) {
  const std::string pin = bpffs_ + "/link_state_change";
  if (!tracepoint_program_.valid()) {
    const UniqueFd link(bpf_obj_get(pin.c_str()));
    bpf_link_info info{};
    uint32_t size = sizeof info;
    if (!link.valid() || bpf_obj_get_info_by_fd(link.get(), &info, &size) != 0) Die("find the link " + pin);
    tracepoint_program_ = UniqueFd(bpf_prog_get_fd_by_id(info.prog_id));
    if (!tracepoint_program_.valid() || unlink(pin.c_str()) != 0) Die("take over the link " + pin);
  }
  tracepoint_link_.Reset();
  if (!attached) return;
  tracepoint_link_ = UniqueFd(bpf_raw_tracepoint_open(nullptr, tracepoint_program_.get()));
  if (!tracepoint_link_.valid()) Die("attach to the tracepoint again");
}

}  // namespace weir::bench
