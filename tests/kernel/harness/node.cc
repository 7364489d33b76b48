#include "tests/kernel/harness/node.h"

#include <sys/stat.h>

#include <filesystem>
#include <iostream>

namespace weir::kernel_test {
namespace {

std::string NextName() {
  static int count = 0;
  return "node-" + std::to_string(count++);
}

}  // namespace

TestNode::TestNode() : TestNode(64) {}

TestNode::TestNode(uint32_t max_services, uint32_t max_endpoints, uint32_t max_affinity)
    : cgroup_(NextName()) {
  options_.cgroup_path = cgroup_.path();
  options_.bpffs_dir = TheSandbox().bpffs + "/" + std::filesystem::path(cgroup_.path()).filename().string();
  options_.max_services = max_services;
  options_.max_endpoints = max_endpoints;
  options_.max_affinity = max_affinity;
  if (mkdir(options_.bpffs_dir.c_str(), 0700) != 0) std::abort();
}

TestNode::~TestNode() {
  Close();
  if (auto removed = datapath::KernelDatapath::Detach(bpffs()); !removed.ok())
    std::cerr << "detach " << bpffs() << ": " << Message(removed.status()) << "\n";
  std::error_code error;
  std::filesystem::remove_all(bpffs(), error);
}

Status TestNode::Open() {
  Close();
  ASSIGN_OR_RETURN(datapath_, datapath::KernelDatapath::Open(options_));
  return OkStatus();
}

Status TestNode::Apply(const std::vector<datapath::Frontend>& upserts,
                       const std::vector<datapath::FrontendKey>& removals) {
  datapath::Change change;
  change.generation = datapath_->Generation() + 1;
  change.upserts = upserts;
  change.removals = removals;
  return datapath_->Apply(change);
}

Status TestNode::ApplyFull(const std::vector<datapath::Frontend>& frontends) {
  datapath::Change change;
  change.generation = datapath_->Generation() + 1;
  change.full = true;
  change.upserts = frontends;
  return datapath_->Apply(change);
}

Socket TestNode::OpenSocket(int family, int type, int protocol) {
  // This process goes there for a moment.
  Status moved = JoinCgroup(cgroup());
  Socket out = Socket::Open(family, type, protocol);
  if (moved.ok()) moved = JoinCgroup(TheSandbox().cgroup + "/harness");
  if (!moved.ok()) {
    std::cerr << Message(moved) << "\n";
    std::abort();
  }
  return out;
}

datapath::Frontend MakeFrontend(const SocketAddress& vip, const std::vector<uint32_t>& weights,
                                Protocol protocol) {
  datapath::Frontend frontend;
  frontend.key = {vip, protocol};
  frontend.ns = "test";
  frontend.service = "service";
  for (size_t i = 0; i < weights.size(); ++i)
    frontend.variants.push_back({"v" + std::to_string(i), weights[i], {}});
  return frontend;
}

datapath::Frontend MakeFrontend(const SocketAddress& vip, const std::vector<uint32_t>& weights,
                                const std::vector<std::vector<SocketAddress>>& endpoints, Protocol protocol) {
  datapath::Frontend frontend = MakeFrontend(vip, weights, protocol);
  for (size_t i = 0; i < endpoints.size(); ++i) frontend.variants[i].endpoints = endpoints[i];
  return frontend;
}

}  // namespace weir::kernel_test
