#include "agent/metrics/ending_metrics.h"

#include <prometheus/metric_family.h>

namespace weir::metrics {

std::vector<prometheus::MetricFamily> EndingMetrics::Collect() const {
  prometheus::MetricFamily family{"weir_connections_reset_total",
                                  "Open connections that were ended by order (onAbort, onComplete).",
                                  prometheus::MetricType::Counter,
                                  {}};
  for (const auto& [name, count] : orders_.ended()) {
    prometheus::ClientMetric& metric = family.metric.emplace_back();
    const auto& [ns, service, revision] = name;
    metric.label = {{"namespace", ns}, {"service", service}, {"revision", revision}};
    metric.counter.value = static_cast<double>(count);
  }
  // A family without a metric would be a HELP and a TYPE of nothing.
  if (family.metric.empty()) return {};
  return {std::move(family)};
}

}  // namespace weir::metrics
