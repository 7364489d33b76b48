// Which pods of the node have Services divided for themselves: from the controller's UIDs to cgroup IDs in
// the kernel.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "agent/consumers/pod_cgroups.h"
#include "agent/datapath/datapath.h"
#include "agent/stream/companion.h"

namespace weir::consumers {

/// One thread (the io_context's). Nothing is looked at before the first pod is named. Until a controller says
/// something, the kernel keeps what an agent before has put there.
class Consumers final : public stream::ConsumerKeeper {
 public:
  /// `cgroup_root` as for PodCgroups. The references must outlive it.
  Consumers(boost::asio::io_context& context, datapath::Datapath& datapath, std::string cgroup_root);

  /// When it returns, the kernel knows those pods that have a cgroup; others follow as theirs is made, before
  /// anything can run in it.
  void OnConsumers(const v1::Consumers& consumers) override;

  /// Named pods that the kernel knows, and that have no cgroup yet.
  uint64_t known() const { return known_; }
  uint64_t awaited() const { return wanted_.size() - known_; }
  /// Failures to follow cgroups, or to tell the kernel.
  uint64_t errors() const { return errors_ + cgroups_.errors(); }

 private:
  void Tell();
  void LookAgain();

  datapath::Datapath& datapath_;
  std::map<std::string, uint32_t> wanted_;  // consumers by UID
  bool said_ = false;                       // the controller has
  PodCgroups cgroups_;
  boost::asio::steady_timer again_;
  bool armed_ = false;
  std::chrono::milliseconds wait_{0};  // before the next look for what was not found, or not told
  uint64_t known_ = 0, errors_ = 0;
};

}  // namespace weir::consumers
