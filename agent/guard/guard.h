// What the node does by itself, between the stream and the datapath: a canary out of reach of its controller,
// or whose connects fail, goes back to stable; endpoints that fail are left out. Rules: README.md.
//
// One thread (the io_context's).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/datapath/datapath.h"
#include "agent/guard/health.h"
#include "agent/stream/safety.h"
#include "common/clock.h"

namespace weir::guard {

/// CLOCK_BOOTTIME now.
std::chrono::nanoseconds Boottime();

class Guard final : public datapath::Datapath, public stream::Safety {
 public:
  using BootClock = std::function<std::chrono::nanoseconds()>;
  using ServiceKey = std::pair<std::string, std::string>;  // namespace, name

  /// `inner` and `clock` outlive it.
  Guard(datapath::Datapath& inner, const Clock& clock, BootClock boottime = Boottime);

  /// Wants to be called ten times a second.
  void Poll();

  struct TakenOut {
    std::string canary;  // revision
    uint32_t round = 0;
    datapath::Cut cut = datapath::Cut::kNone;
    MonotonicTime since;
  };
  const std::map<ServiceKey, TakenOut>& taken_out() const { return taken_out_; }
  const Health& health() const { return health_; }
  /// Since this process began.
  uint64_t times_cut_off() const { return times_cut_off_; }
  uint64_t times_tripped() const { return times_tripped_; }
  /// The frontend as the controller wants it; null where nothing is to be done for it.
  const datapath::Frontend* Wanted(const datapath::FrontendKey& key) const;

  // stream::Safety
  void Heard() override;
  std::optional<v1::Safety> Report(bool anew) override;

  // datapath::Datapath
  Status Apply(const datapath::Change& change) override;
  uint64_t Generation() const override { return inner_.Generation(); }
  std::string ControllerId() const override { return inner_.ControllerId(); }
  void SetNodeNumber(uint32_t number) override { inner_.SetNodeNumber(number); }
  Result<datapath::Stats> ReadStats() override { return inner_.ReadStats(); }
  Result<std::vector<datapath::SplitCount>> ReadCounts() override { return inner_.ReadCounts(); }
  Result<datapath::Figures> ReadFigures() override { return inner_.ReadFigures(); }
  Status CheckAttached() override { return inner_.CheckAttached(); }
  Status SetPods(const std::map<uint64_t, uint32_t>& consumers_by_cgroup) override {
    return inner_.SetPods(consumers_by_cgroup);
  }
  std::vector<std::string> Abilities() const override { return inner_.Abilities(); }
  void SetHeard(std::chrono::nanoseconds boottime) override { inner_.SetHeard(boottime); }
  std::vector<datapath::GuardState> ReadGuards(std::chrono::nanoseconds boottime) const override {
    return inner_.ReadGuards(boottime);
  }
  Result<std::vector<datapath::EndpointFailures>> ReadFailures() override { return inner_.ReadFailures(); }
  Status ForgetFailures(const datapath::FrontendKey& key, const SocketAddress& endpoint) override {
    return inner_.ForgetFailures(key, endpoint);
  }
  Status ExpectAnswer(const datapath::FrontendKey& key, const SocketAddress& endpoint) override {
    return inner_.ExpectAnswer(key, endpoint);
  }

 private:
  struct Adopted {
    uint64_t canary_id = 0;
    datapath::Cut cut = datapath::Cut::kNone;
  };

  bool IsTakenOut(const datapath::Frontend& frontend) const;
  datapath::Frontend Effective(const datapath::Frontend& frontend) const;
  void TakeOverAdopted(const datapath::Frontend& frontend);
  void Remember(const datapath::Change& change);
  void LookAtGuards();
  void LookAtEndpoints();
  void TakeOut(const datapath::Frontend& frontend, datapath::Cut cut);
  void PutInForce();

  datapath::Datapath& inner_;
  const Clock& clock_;
  BootClock boottime_;
  Health::Wanted wanted_;  // frontends with a fail safe or passive health, as the controller wants them
  std::map<ServiceKey, TakenOut> taken_out_;
  std::map<datapath::FrontendKey, Adopted> adopted_;  // decided or cut, of frontends that have no name yet
  Health health_;
  std::set<datapath::FrontendKey> dirty_;  // to be put in force
  bool failing_ = false;                   // the last attempt did not succeed
  uint64_t times_cut_off_ = 0, times_tripped_ = 0;
  std::string told_;  // the last report, without its times
  MonotonicTime told_at_;
};

}  // namespace weir::guard
