// What /metrics says of the controller, computed when asked. The io_context's thread, as the HTTP handler
// runs there.
#pragma once

#include <prometheus/collectable.h>

#include "controller/app/core.h"
#include "controller/dispatch/dispatcher.h"

namespace weir::app {

class Metrics final : public prometheus::Collectable {
 public:
  /// Both must outlive it.
  Metrics(const Core& core, const dispatch::Dispatcher& dispatcher) : core_(core), dispatcher_(dispatcher) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Core& core_;
  const dispatch::Dispatcher& dispatcher_;
};

}  // namespace weir::app
