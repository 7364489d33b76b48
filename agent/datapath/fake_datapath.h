// A Datapath without a kernel, for tests of the rest of the agent: holds what it is given, records every
// Apply, fails when told to.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/datapath/datapath.h"
#include "agent/datapath/revision_id.h"

namespace weir::datapath {

class FakeDatapath final : public Datapath {
 public:
  Status Apply(const Change& change) override {
    applied.push_back(change);
    if (on_apply) on_apply(change);
    if (!fail_next.empty()) {
      Status status = std::move(fail_next.front());
      fail_next.erase(fail_next.begin());
      if (!status.ok()) return status;
    }
    std::map<FrontendKey, Frontend> next;
    if (!change.full) next = frontends;
    for (const FrontendKey& key : change.removals) next.erase(key);
    for (const Frontend& frontend : change.upserts) next[frontend.key] = frontend;
    if (next.size() > capacity) {
      return Error(absl::StatusCode::kResourceExhausted,
                   "{} frontends do not fit in {}: raise --max-services", next.size(), capacity);
    }
    frontends = std::move(next);
    generation = change.generation;
    controller_id = change.controller_id;
    return OkStatus();
  }
  uint64_t Generation() const override { return generation; }
  std::string ControllerId() const override { return controller_id; }
  void SetNodeNumber(uint32_t number) override { node_number = number; }
  Result<Stats> ReadStats() override {
    if (!read_error.ok()) return read_error;
    Stats stats;
    stats.generation = generation;
    stats.frontends = frontends.size();
    stats.fill = {{"weir_services", frontends.size(), capacity}};
    stats.counters = counters;
    return stats;
  }
  Result<std::vector<SplitCount>> ReadCounts() override {
    if (!read_error.ok()) return read_error;
    return counts;
  }
  Result<Figures> ReadFigures() override {
    if (!read_error.ok()) return read_error;
    return figures;
  }
  Status CheckAttached() override { return attached; }
  Status SetPods(const std::map<uint64_t, uint32_t>& consumers_by_cgroup) override {
    if (pods_error.ok()) pods = consumers_by_cgroup;
    return pods_error;
  }
  void SetHeard(std::chrono::nanoseconds boottime) override { heard = boottime; }
  std::vector<GuardState> ReadGuards(std::chrono::nanoseconds boottime) const override {
    std::vector<GuardState> states;
    for (const auto& [key, frontend] : frontends) {
      if (!frontend.fail_safe) continue;
      for (const Variant& variant : frontend.variants) {
        const bool exposed = variant.weight > 0 && frontend.cut == Cut::kNone;
        if (variant.revision == frontend.fail_safe->stable || (!exposed && frontend.cut == Cut::kNone))
          continue;
        GuardState& state = states.emplace_back();
        state.key = key;
        state.canary_id = RevisionId(variant.revision);
        state.in_force = frontend.cut;
        const std::chrono::nanoseconds after = frontend.fail_safe->after;
        if (exposed && tripped.contains(key)) {
          state.decided = Cut::kTripped;
        } else if (exposed && after.count() != 0 && boottime - heard > after) {
          state.decided = Cut::kCutOff;
        }
      }
    }
    return states;
  }
  Result<std::vector<EndpointFailures>> ReadFailures() override {
    if (!read_error.ok()) return read_error;
    std::vector<EndpointFailures> list;
    for (const auto& [where, failing] : failures) list.push_back(failing);
    return list;
  }
  Status ForgetFailures(const FrontendKey& key, const SocketAddress& endpoint) override {
    failures.erase({key, endpoint});
    return OkStatus();
  }
  Status ExpectAnswer(const FrontendKey& key, const SocketAddress& endpoint) override {
    failures[{key, endpoint}] = {.key = key, .endpoint = endpoint};
    return OkStatus();
  }
  std::vector<std::string> Abilities() const override { return {"connect4", "connect6"}; }

  /// What is in force.
  std::map<FrontendKey, Frontend> frontends;
  uint64_t generation = 0;
  std::string controller_id;
  uint32_t node_number = 0;
  /// Every Apply, failed ones too.
  std::vector<Change> applied;

  /// Called first in every Apply, on its thread.
  std::function<void(const Change&)> on_apply;
  /// Results of the next Applies, in order; an OK one lets its Apply through.
  std::vector<Status> fail_next;
  size_t capacity = 1000;
  std::vector<Counter> counters;
  std::vector<SplitCount> counts;
  Figures figures;
  Status read_error;
  Status attached;
  std::map<uint64_t, uint32_t> pods;
  Status pods_error;

  std::chrono::nanoseconds heard{0};
  std::set<FrontendKey> tripped;  // by the kernel
  std::map<std::pair<FrontendKey, SocketAddress>, EndpointFailures> failures;
};

}  // namespace weir::datapath
