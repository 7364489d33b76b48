#include "controller/app/metrics.h"

#include <array>
#include <limits>

#include "common/metrics.h"
#include "common/version.h"
#include "controller/app/acks.h"

namespace weir::app {
namespace {

using Labels = std::vector<prometheus::ClientMetric::Label>;

prometheus::MetricFamily Family(std::string name, std::string help, prometheus::MetricType type) {
  prometheus::MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  return family;
}

void AddGauge(prometheus::MetricFamily& family, Labels labels, double value) {
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  metric.gauge.value = value;
}

prometheus::MetricFamily AckLatency(const dispatch::Counters& counters) {
  auto family = Family("weir_ack_latency_seconds",
                       "From the publication of a generation to its acknowledgement, per node and generation",
                       prometheus::MetricType::Histogram);
  prometheus::ClientMetric::Histogram& histogram = family.metric.emplace_back().histogram;
  uint64_t cumulative = 0;
  for (size_t i = 0; i < counters.latency_buckets.size(); ++i) {
    cumulative += counters.latency_buckets[i];
    bool last = i == dispatch::Counters::kLatencyBounds.size();
    double bound = last ? std::numeric_limits<double>::infinity() : dispatch::Counters::kLatencyBounds[i];
    histogram.bucket.push_back({cumulative, bound});
  }
  histogram.sample_count = cumulative;
  histogram.sample_sum = counters.latency_sum_s;
  return family;
}

}  // namespace

std::vector<prometheus::MetricFamily> Metrics::Collect() const {
  using prometheus::MetricType;
  auto phase = Family("weir_rollouts", "Rollouts by phase", MetricType::Gauge);
  auto step = Family("weir_rollout_step_index", "Index of the present step", MetricType::Gauge);
  auto steps = Family("weir_rollout_steps", "Number of steps", MetricType::Gauge);
  auto weight = Family("weir_rollout_canary_weight", "Weight wanted for the canary", MetricType::Gauge);
  std::map<engine::Phase, int> phases{{engine::Phase::kProgressing, 0},
                                      {engine::Phase::kPaused, 0},
                                      {engine::Phase::kHealthy, 0},
                                      {engine::Phase::kDegraded, 0}};
  for (const auto& [key, entry] : core_.rollouts()) {
    engine::Description description = engine::Describe(entry.state, core_.Now());
    ++phases[description.phase];
    Labels labels{{"namespace", key.ns}, {"rollout", key.name}};
    AddGauge(step, labels, entry.state.step);
    AddGauge(steps, labels, static_cast<double>(entry.state.spec.steps.size()));
    AddGauge(weight, labels, description.canary_weight);
  }
  for (const auto& [value, count] : phases) AddGauge(phase, {{"phase", engine::PhaseName(value)}}, count);
  auto build = Family("weir_build_info", "The version that runs", MetricType::Gauge);
  AddGauge(build, {{"version", std::string(kVersion)}, {"program", "weir-controller"}}, 1);

  size_t away = 0, refusing = 0, behind = 0;
  for (const auto& [name, node] : dispatcher_.nodes()) {
    if (!node.connected) {
      ++away;
    } else if (node.generation_nacked != 0) {
      ++refusing;
    } else if (node.generation_acked < dispatcher_.generation()) {
      ++behind;
    }
  }
  const dispatch::Counters& counters = dispatcher_.counters();
  return {
      std::move(build),
      std::move(phase),
      std::move(step),
      std::move(steps),
      std::move(weight),
      GaugeFamily("weir_generation", "The newest generation", static_cast<double>(core_.generation())),
      GaugeFamily("weir_frontends", "Addresses and ports that agents hold",
                  static_cast<double>(dispatcher_.journal().size())),
      GaugeFamily("weir_agents_connected", "Agents with a live stream",
                  static_cast<double>(dispatcher_.connected())),
      GaugeFamily("weir_agents_away", "Known nodes without a live stream", static_cast<double>(away)),
      GaugeFamily("weir_agents_behind", "Connected agents that have not acknowledged the newest generation",
                  static_cast<double>(behind)),
      GaugeFamily("weir_agents_refusing", "Connected agents that refused the newest generation they answered",
                  static_cast<double>(refusing)),
      AckLatency(counters),
      CounterFamily("weir_agent_connects_total", "Agents welcomed", static_cast<double>(counters.connects)),
      CounterFamily("weir_agent_disconnects_total", "Agents that went",
                    static_cast<double>(counters.disconnects)),
      CounterFamily("weir_agent_replaced_total", "Streams closed as a newer one had the same node name",
                    static_cast<double>(counters.replaced)),
      CounterFamily("weir_agent_silent_total", "Streams given up after missed heartbeats",
                    static_cast<double>(counters.missed_heartbeats)),
      CounterFamily("weir_agent_protocol_errors_total", "Streams closed for a breach of the protocol",
                    static_cast<double>(counters.protocol_errors)),
      CounterFamily("weir_updates_delta_total", "Deltas sent", static_cast<double>(counters.deltas)),
      CounterFamily("weir_updates_full_total", "Snapshots sent", static_cast<double>(counters.snapshots)),
      CounterFamily("weir_updates_bytes_total", "Bytes handed to agents' streams",
                    static_cast<double>(counters.bytes)),
      CounterFamily("weir_acks_total", "Generations acknowledged", static_cast<double>(counters.acks)),
      CounterFamily("weir_nacks_total", "Generations refused", static_cast<double>(counters.nacks)),
      CounterFamily("weir_store_commit_failures_total", "Changes given up as they could not be written",
                    static_cast<double>(core_.commit_failures())),
  };
}

}  // namespace weir::app
