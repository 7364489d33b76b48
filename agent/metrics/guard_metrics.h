// What the node does by itself, for /metrics. README.md lists the names.
#pragma once

#include <prometheus/collectable.h>

#include <vector>

#include "agent/guard/guard.h"

namespace weir::metrics {

/// Reads the guard when collected. The io_context's thread.
class GuardMetrics final : public prometheus::Collectable {
 public:
  explicit GuardMetrics(const guard::Guard& guard) : guard_(guard) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const guard::Guard& guard_;
};

}  // namespace weir::metrics
