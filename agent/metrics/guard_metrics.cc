#include "agent/metrics/guard_metrics.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "common/metrics.h"

namespace weir::metrics {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using ServiceKey = guard::Guard::ServiceKey;

ClientMetric Metric(const ServiceKey& service, const std::string& revision, double value) {
  ClientMetric metric;
  metric.label = {{"namespace", service.first}, {"service", service.second}, {"revision", revision}};
  metric.gauge.value = value;
  return metric;
}

MetricFamily TakenOut(const guard::Guard& guard) {
  MetricFamily family{"weir_fail_safe_active",
                      "1 while this node gives a canary's traffic to stable by itself, by reason.",
                      MetricType::Gauge,
                      {}};
  for (const auto& [service, taken] : guard.taken_out()) {
    ClientMetric metric = Metric(service, taken.canary, 1);
    metric.label.push_back({"reason", taken.cut == datapath::Cut::kTripped ? "tripped" : "cut_off"});
    family.metric.push_back(std::move(metric));
  }
  return family;
}

MetricFamily LeftOut(const guard::Guard& guard) {
  std::map<std::pair<ServiceKey, std::string>, int> counts;
  for (const auto& [key, out] : guard.health().left_out()) {
    const auto* frontend = guard.Wanted(key.first);
    if (frontend == nullptr) continue;
    for (const auto& variant : frontend->variants) {
      const auto& list = variant.endpoints;
      if (std::find(list.begin(), list.end(), key.second) != list.end())
        ++counts[{{frontend->ns, frontend->service}, variant.revision}];
    }
  }
  MetricFamily family{"weir_endpoints_left_out",
                      "Endpoints not chosen on this node, as their connects failed; per port.",
                      MetricType::Gauge,
                      {}};
  for (const auto& [of, count] : counts) family.metric.push_back(Metric(of.first, of.second, count));
  return family;
}

}  // namespace

std::vector<MetricFamily> GuardMetrics::Collect() const {
  std::vector<MetricFamily> families;
  for (MetricFamily family : {TakenOut(guard_), LeftOut(guard_)}) {
    if (!family.metric.empty()) families.push_back(std::move(family));
  }
  families.push_back(CounterFamily("weir_fail_safes_total",
                                   "Times a canary was taken out as no controller was heard.",
                                   static_cast<double>(guard_.times_cut_off())));
  families.push_back(CounterFamily("weir_local_trips_total",
                                   "Times a canary was taken out as its connects failed.",
                                   static_cast<double>(guard_.times_tripped())));
  families.push_back(CounterFamily("weir_endpoints_left_out_total", "Times an endpoint was left out.",
                                   static_cast<double>(guard_.health().times_left_out())));
  return families;
}

}  // namespace weir::metrics
