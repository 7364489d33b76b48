#include "agent/metrics/agent_metrics.h"

#include "common/log.h"
#include "common/metrics.h"
#include "common/version.h"

namespace weir::metrics {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

/// 50 us to 2 s; the target is a p99 of 5 ms for a change of weights, 1 s for a first full sync.
const prometheus::Histogram::BucketBoundaries kApplyBuckets = {
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2};

/// Families of one label each.
class Labelled {
 public:
  Labelled(std::string name, std::string help, MetricType type, std::string label)
      : label_(std::move(label)), family_{std::move(name), std::move(help), type, {}} {}
  void Add(const std::string& value_of_label, uint64_t value) {
    ClientMetric metric;
    metric.label = {{label_, value_of_label}};
    metric.counter.value = metric.gauge.value = static_cast<double>(value);
    family_.metric.push_back(metric);
  }
  MetricFamily Take() { return std::move(family_); }

 private:
  std::string label_;
  MetricFamily family_;
};

}  // namespace

AgentMetrics::AgentMetrics(std::string node_name, datapath::Datapath& datapath)
    : node_name_(std::move(node_name)), datapath_(datapath), apply_seconds_(kApplyBuckets) {
  for (std::string_view why : stream::reason::kAll) reconnects_[std::string(why)] = 0;
}

void AgentMetrics::Reconnecting(std::string_view why) { ++reconnects_[std::string(why)]; }

void AgentMetrics::Applied(std::chrono::nanoseconds took, const Status& status) {
  if (status.ok()) apply_seconds_.Observe(std::chrono::duration<double>(took).count());
}

std::vector<MetricFamily> AgentMetrics::Collect() const {
  std::vector<MetricFamily> families;

  ClientMetric info;
  info.label = {{"node", node_name_}, {"version", std::string(kVersion)}};
  info.gauge.value = 1;
  families.push_back({"weir_agent_info", "The node and the agent's release.", MetricType::Gauge, {info}});

  if (const auto stats = datapath_.ReadStats(); stats.ok()) {
    families.push_back(GaugeFamily("weir_agent_frontends", "Frontends (VIP, port, protocol) in the kernel.",
                                   static_cast<double>(stats->frontends)));
    families.push_back(GaugeFamily("weir_agent_generation", "The generation in force.",
                                   static_cast<double>(stats->generation)));
    Labelled used("weir_agent_map_used", "Entries of a BPF map in use.", MetricType::Gauge, "map");
    Labelled capacity("weir_agent_map_capacity", "Entries a BPF map has room for.", MetricType::Gauge, "map");
    for (const datapath::MapFill& fill : stats->fill) {
      used.Add(fill.map, fill.used);
      capacity.Add(fill.map, fill.capacity);
    }
    Labelled events("weir_agent_datapath_events_total", "What the BPF programs did.", MetricType::Counter,
                    "event");
    Labelled errors("weir_agent_helper_errors_total",
                    "Failed helpers and other things that should not happen.", MetricType::Counter, "helper");
    for (const datapath::Counter& counter : stats->counters) {
      (counter.is_error ? errors : events).Add(counter.name, counter.count);
    }
    for (Labelled* family : {&used, &capacity, &events, &errors}) families.push_back(family->Take());
  } else {
    ++stats_errors_;
    LogWarn("cannot read the datapath's figures", {{"error", stats.status()}});
  }
  families.push_back(CounterFamily("weir_agent_stats_errors_total",
                                   "Times the datapath's figures could not be read.",
                                   static_cast<double>(stats_errors_)));

  families.push_back(CounterFamily("weir_agent_figures_errors_total",
                                   "Times the figures of the revisions could not be read.",
                                   static_cast<double>(figures_errors_)));

  families.push_back(GaugeFamily("weir_agent_connected", "1 while a controller has welcomed this agent.",
                                 connected_ ? 1 : 0));
  Labelled reconnects("weir_agent_reconnects_total", "Streams and attempts that ended, by reason.",
                      MetricType::Counter, "reason");
  for (const auto& [why, count] : reconnects_) reconnects.Add(why, count);
  families.push_back(reconnects.Take());
  families.push_back(
      CounterFamily("weir_agent_nacks_total", "Generations refused.", static_cast<double>(nacks_)));
  families.push_back({"weir_agent_apply_duration_seconds",
                      "Putting a change in force, grace period included.",
                      MetricType::Histogram,
                      {apply_seconds_.Collect()}});
  return families;
}

}  // namespace weir::metrics
