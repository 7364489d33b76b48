// An Ending without a kernel, for tests of the rest of the agent: holds what it is ordered; a pass ends when
// the test says so.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/datapath/ending.h"

namespace weir::datapath {

class FakeEnding final : public Ending {
 public:
  Status Able() const override { return able; }
  Status Order(const std::string& name, const std::vector<EndTarget>& targets) override {
    if (!order_error.ok()) return order_error;
    orders[name] = targets;
    counts.try_emplace(name);
    return OkStatus();
  }
  Status Void(const std::string& name) override {
    orders.erase(name);
    counts.erase(name);
    return OkStatus();
  }
  Status VoidAllBut(const std::set<std::string>& names) override {
    std::erase_if(orders, [&](const auto& entry) { return !names.contains(entry.first); });
    std::erase_if(counts, [&](const auto& entry) { return !names.contains(entry.first); });
    return OkStatus();
  }
  Result<EndCounts> Count(const std::string& name) const override {
    const auto found = counts.find(name);
    return found == counts.end() ? EndCounts{} : found->second;
  }
  void Sweep(std::function<void(Swept)> done) override { sweeps.push_back(std::move(done)); }

  /// Ends the oldest pass; what it found of orders that are not in `swept` is nothing.
  void FinishSweep(Swept swept = {}) {
    for (const auto& [name, targets] : orders) swept.orders.try_emplace(name);
    const auto done = std::move(sweeps.front());
    sweeps.pop_front();
    done(std::move(swept));
  }

  Status able, order_error;
  std::map<std::string, std::vector<EndTarget>> orders;
  /// Also of orders of an earlier process.
  std::map<std::string, EndCounts> counts;
  std::deque<std::function<void(Swept)>> sweeps;
};

}  // namespace weir::datapath
