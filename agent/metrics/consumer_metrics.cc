#include "agent/metrics/consumer_metrics.h"

#include "common/metrics.h"

namespace weir::metrics {

std::vector<prometheus::MetricFamily> ConsumerMetrics::Collect() const {
  return {GaugeFamily("weir_agent_consumer_pods",
                      "Pods of this node whose namespaces have Services divided for themselves.",
                      static_cast<double>(consumers_.known())),
          GaugeFamily("weir_agent_consumer_pods_awaited",
                      "Such pods that have no cgroup yet, so that nothing runs in them.",
                      static_cast<double>(consumers_.awaited())),
          CounterFamily("weir_agent_consumer_errors_total",
                        "Failures to follow pods' cgroups or to tell the kernel of them.",
                        static_cast<double>(consumers_.errors()))};
}

}  // namespace weir::metrics
