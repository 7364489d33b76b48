// What /metrics of a controller in a cluster says beside the App's own.
#pragma once

#include <prometheus/collectable.h>

#include <atomic>
#include <vector>

#include "common/metrics.h"

namespace weir::kubernetes {

/// Any thread.
class LeaderMetrics final : public prometheus::Collectable {
 public:
  void SetLeads(bool leads) { leads_ = leads; }
  std::vector<prometheus::MetricFamily> Collect() const override {
    return {GaugeFamily("weir_leader", "1 while this controller holds the Lease, else 0.", leads_ ? 1 : 0)};
  }

 private:
  std::atomic<bool> leads_{false};
};

}  // namespace weir::kubernetes
