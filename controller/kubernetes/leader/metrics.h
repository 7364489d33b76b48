// What /metrics of a controller in a cluster says beside the App's own.
#pragma once

#include <prometheus/collectable.h>

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "common/metrics.h"
#include "controller/kubernetes/client/reflector.h"
#include "controller/kubernetes/leader/statuses.h"

namespace weir::kubernetes {

/// Whether this replica leads. Any thread.
class LeaderMetrics final : public prometheus::Collectable {
 public:
  void SetLeads(bool leads) { leads_ = leads; }
  std::vector<prometheus::MetricFamily> Collect() const override {
    return {GaugeFamily("weir_controller_leader", "1 while this controller holds the Lease, else 0.",
                        leads_ ? 1 : 0)};
  }

 private:
  std::atomic<bool> leads_{false};
};

/// The resources that are followed, by name as kubectl has it; statuses written; changes of the cluster that
/// were not taken up at once. Since the leadership began.
std::vector<prometheus::MetricFamily> ClusterFamilies(
    const std::map<std::string, ReflectorCounters>& resources, const Statuses::Counters& statuses,
    uint64_t failed_changes);

}  // namespace weir::kubernetes
