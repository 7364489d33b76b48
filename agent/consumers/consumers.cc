#include "agent/consumers/consumers.h"

#include <algorithm>
#include <utility>

#include "common/log.h"

namespace weir::consumers {
namespace {

constexpr std::chrono::milliseconds kFirstLook{250}, kLastLook{30'000};

}  // namespace

Consumers::Consumers(boost::asio::io_context& context, datapath::Datapath& datapath, std::string cgroup_root)
    : datapath_(datapath), cgroups_(context, std::move(cgroup_root), [this] { Tell(); }), again_(context) {}

void Consumers::OnConsumers(const v1::Consumers& consumers) {
  said_ = true;
  wait_ = kFirstLook;
  wanted_.clear();
  for (const v1::ConsumerPod& pod : consumers.pods()) {
    if (pod.consumers() != 0) wanted_[pod.uid()] = pod.consumers();
  }
  if (!wanted_.empty() && !cgroups_.started()) return cgroups_.Start();  // it calls Tell()
  Tell();
}

void Consumers::Tell() {
  if (!said_) return;
  std::map<uint64_t, uint32_t> by_cgroup;
  for (const auto& [uid, consumers] : wanted_) {
    if (const auto cgroup = cgroups_.Find(uid)) by_cgroup[*cgroup] = consumers;
  }
  known_ = by_cgroup.size();
  const Status status = datapath_.SetPods(by_cgroup);
  if (!status.ok()) {
    ++errors_;
    LogWarn("the kernel could not be told which pods have Services divided for themselves; tried again",
            {{"error", status}});
  }
  // A kubelet may have begun to make pods where none were before, unseen.
  if (!status.ok() || awaited() > 0) LookAgain();
}

/// Not put off by what comes and goes meanwhile.
void Consumers::LookAgain() {
  const auto at = std::chrono::steady_clock::now() + wait_;
  if (armed_ && again_.expiry() <= at) return;
  armed_ = true;
  wait_ = std::min(2 * wait_, kLastLook);
  again_.expires_at(at);
  again_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    armed_ = false;
    cgroups_.Scan();  // and tells
  });
}

}  // namespace weir::consumers
