// Pods that have Services divided for themselves, as /metrics shows them.
#pragma once

#include <prometheus/collectable.h>

#include <vector>

#include "agent/consumers/consumers.h"

namespace weir::metrics {

/// One thread (the io_context's).
class ConsumerMetrics final : public prometheus::Collectable {
 public:
  /// `consumers` outlives it.
  explicit ConsumerMetrics(const consumers::Consumers& consumers) : consumers_(consumers) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const consumers::Consumers& consumers_;
};

}  // namespace weir::metrics
