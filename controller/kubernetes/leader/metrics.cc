#include "controller/kubernetes/leader/metrics.h"

namespace weir::kubernetes {
namespace {

struct Family {
  const char *name, *help;
  uint64_t ReflectorCounters::*counter;
};
constexpr Family kFamilies[] = {
    {"weir_kubernetes_lists_total", "Lists of a resource that were begun.", &ReflectorCounters::lists},
    {"weir_kubernetes_relists_total", "Lists begun though there had been a whole one.",
     &ReflectorCounters::relists},
    {"weir_kubernetes_watches_total", "Watches of a resource that were begun.", &ReflectorCounters::watches},
    {"weir_kubernetes_watch_events_total", "Changes of objects that watches told.",
     &ReflectorCounters::events},
    {"weir_kubernetes_watch_errors_total", "Lists and watches that failed.", &ReflectorCounters::errors},
};

}  // namespace

std::vector<prometheus::MetricFamily> ClusterFamilies(
    const std::map<std::string, ReflectorCounters>& resources, const Statuses::Counters& statuses,
    uint64_t failed_changes) {
  std::vector<prometheus::MetricFamily> families;
  for (const Family& family : kFamilies) {
    prometheus::MetricFamily metrics;
    metrics.name = family.name;
    metrics.help = family.help;
    metrics.type = prometheus::MetricType::Counter;
    for (const auto& [resource, counters] : resources) {
      prometheus::ClientMetric metric;
      metric.label.push_back({"resource", resource});
      metric.counter.value = static_cast<double>(counters.*family.counter);
      metrics.metric.push_back(std::move(metric));
    }
    families.push_back(std::move(metrics));
  }
  families.push_back(CounterFamily("weir_kubernetes_status_writes_total",
                                   "Statuses of Rollouts and routes written.",
                                   static_cast<double>(statuses.written)));
  families.push_back(CounterFamily("weir_kubernetes_status_write_errors_total",
                                   "Statuses that could not be written at once.",
                                   static_cast<double>(statuses.failed)));
  families.push_back(CounterFamily("weir_kubernetes_change_errors_total",
                                   "Changes of the cluster that could not be taken up at once.",
                                   static_cast<double>(failed_changes)));
  return families;
}

}  // namespace weir::kubernetes
