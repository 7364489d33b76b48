// What was ended, as /metrics shows it.
#pragma once

#include <prometheus/collectable.h>

#include <vector>

#include "agent/ending/orders.h"

namespace weir::metrics {

/// One thread (the io_context's).
class EndingMetrics final : public prometheus::Collectable {
 public:
  /// `orders` outlives it.
  explicit EndingMetrics(const ending::Orders& orders) : orders_(orders) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const ending::Orders& orders_;
};

}  // namespace weir::metrics
