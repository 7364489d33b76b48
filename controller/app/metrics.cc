#include "controller/app/metrics.h"

#include <array>
#include <limits>

#include "common/metrics.h"
#include "common/role.h"
#include "common/version.h"
#include "controller/app/figures.h"

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

/// A family of one counter without labels.
void AddCounter(std::vector<prometheus::MetricFamily>& families, const char* name, const char* help,
                uint64_t value) {
  families.push_back(CounterFamily(name, help, static_cast<double>(value)));
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

double Seconds(engine::TimePoint time) { return static_cast<double>(time.time_since_epoch().count()) / 1000; }

/// Families of one metric per rollout, or per rollout and revision.
struct RolloutFamilies {
  using MetricType = prometheus::MetricType;
  prometheus::MetricFamily phase =
      Family("weir_rollout_phase", "1 for the phase the rollout is in", MetricType::Gauge);
  prometheus::MetricFamily aborted =
      Family("weir_rollout_aborted", "1 for an aborted rollout", MetricType::Gauge);
  prometheus::MetricFamily step =
      Family("weir_rollout_step_index", "Index of the present step", MetricType::Gauge);
  prometheus::MetricFamily steps = Family("weir_rollout_steps", "Number of steps", MetricType::Gauge);
  prometheus::MetricFamily canary =
      Family("weir_rollout_canary_weight", "Weight wanted for the canary", MetricType::Gauge);
  prometheus::MetricFamily generation =
      Family("weir_rollout_generation", "The generation of the rollout's present weights", MetricType::Gauge);
  prometheus::MetricFamily desired =
      Family("weir_rollout_nodes_desired", "Agents whose acknowledgement counts", MetricType::Gauge);
  prometheus::MetricFamily acked = Family(
      "weir_rollout_nodes_acked", "Of these, those that hold the rollout's generation", MetricType::Gauge);
  prometheus::MetricFamily updated =
      Family("weir_rollout_updated_timestamp_seconds", "When the rollout changed last, since the epoch",
             MetricType::Gauge);
  prometheus::MetricFamily weight =
      Family("weir_rollout_weight", "Weight in force for a revision", MetricType::Gauge);
  prometheus::MetricFamily wanted =
      Family("weir_rollout_weight_ratio", "Share of the connections a revision is to have, 0 to 1",
             MetricType::Gauge);
  prometheus::MetricFamily observed = Family("weir_rollout_observed_ratio",
                                             "Share a revision has had on all nodes since the present "
                                             "weights began, 0 to 1; absent before the first connection",
                                             MetricType::Gauge);
  prometheus::MetricFamily connections = Family(
      "weir_rollout_observed_connections",
      "Connections given to a revision on all nodes since the present weights began", MetricType::Gauge);

  void Add(const Facts& facts, const ObjectKey& key, const RolloutEntry& entry, const engine::Acks& acks) {
    const engine::Description description = engine::Describe(entry.state, facts.core.Now());
    const Labels labels{{"namespace", key.ns}, {"rollout", key.name}};
    for (const engine::Phase value : kPhases) {
      Labels with_phase = labels;
      with_phase.push_back({"phase", engine::PhaseName(value)});
      AddGauge(phase, std::move(with_phase), value == description.phase ? 1 : 0);
    }
    AddGauge(aborted, labels, entry.state.aborted ? 1 : 0);
    AddGauge(step, labels, entry.state.step);
    AddGauge(steps, labels, static_cast<double>(entry.state.spec.steps.size()));
    AddGauge(canary, labels, description.canary_weight);
    AddGauge(generation, labels, static_cast<double>(entry.state.generation));
    AddGauge(desired, labels, acks.desired);
    AddGauge(acked, labels, acks.acked);
    AddGauge(updated, labels, Seconds(entry.updated));
    AddShares(facts, {key.ns, facts.core.objects().rollouts.at(key).service}, labels);
  }

  void AddShares(const Facts& facts, const ObjectKey& service, const Labels& labels) {
    const auto shares = SharesOf(facts, service);
    double weights = 0, sum = 0;
    for (const auto& share : shares) {
      weights += share.weight;
      sum += static_cast<double>(share.connections);
    }
    for (const auto& share : shares) {
      Labels of_revision = labels;
      of_revision.push_back({"service", service.name});
      of_revision.push_back({"revision", share.revision});
      of_revision.push_back({"variant", RoleWord(share.role)});
      AddGauge(weight, of_revision, share.weight);
      AddGauge(connections, of_revision, static_cast<double>(share.connections));
      if (weights > 0) AddGauge(wanted, of_revision, share.weight / weights);
      if (sum > 0) AddGauge(observed, of_revision, static_cast<double>(share.connections) / sum);
    }
  }

  static constexpr std::array kPhases = {engine::Phase::kProgressing, engine::Phase::kPaused,
                                         engine::Phase::kHealthy, engine::Phase::kDegraded};
};

}  // namespace

std::vector<prometheus::MetricFamily> Metrics::Collect() const {
  std::vector<prometheus::MetricFamily> families;
  auto build = Family("weir_build_info", "The version that runs", prometheus::MetricType::Gauge);
  AddGauge(build, {{"version", std::string(kVersion)}, {"program", "weir-controller"}}, 1);
  families.push_back(std::move(build));
  AddRollouts(families);
  AddAgents(families);
  AddDispatch(families);
  AddEndings(families);
  AddTelemetry(families);
  AddAnalysis(families);
  AddWebhooks(families);
  return families;
}

void Metrics::AddRollouts(std::vector<prometheus::MetricFamily>& families) const {
  RolloutFamilies of;
  std::map<engine::Phase, int> phases;
  for (const auto& [key, object] : facts_.core.objects().rollouts) {
    const RolloutEntry& entry = facts_.core.rollouts().at(key);
    ++phases[engine::Describe(entry.state, facts_.core.Now()).phase];
    of.Add(facts_, key, entry, acks_.For(object.ack_timeout).For(entry.state.generation));
  }
  auto rollouts = Family("weir_rollouts", "Rollouts by phase", prometheus::MetricType::Gauge);
  for (const engine::Phase phase : RolloutFamilies::kPhases)
    AddGauge(rollouts, {{"phase", engine::PhaseName(phase)}}, phases[phase]);
  families.push_back(std::move(rollouts));
  for (auto* family : {&of.phase, &of.aborted, &of.step, &of.steps, &of.canary, &of.generation, &of.desired,
                       &of.acked, &of.updated, &of.weight, &of.wanted, &of.observed, &of.connections}) {
    // A family without a metric would be a HELP and a TYPE of nothing.
    if (!family->metric.empty()) families.push_back(std::move(*family));
  }
}

void Metrics::AddAgents(std::vector<prometheus::MetricFamily>& families) const {
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
  const auto gauge = [&](const char* name, const char* help, size_t value) {
    families.push_back(GaugeFamily(name, help, static_cast<double>(value)));
  };
  gauge("weir_generation", "The newest generation", facts_.core.generation());
  gauge("weir_frontends", "Addresses and ports that agents hold", dispatcher_.journal().size());
  gauge("weir_agents_connected", "Agents with a live stream", dispatcher_.connected());
  gauge("weir_agents_away", "Known nodes without a live stream", away);
  gauge("weir_agents_behind", "Connected agents that have not acknowledged the newest generation", behind);
  gauge("weir_agents_refusing", "Connected agents that refused the newest generation they answered",
        refusing);
}

void Metrics::AddDispatch(std::vector<prometheus::MetricFamily>& families) const {
  const dispatch::Counters& counters = dispatcher_.counters();
  families.push_back(AckLatency(counters));
  AddCounter(families, "weir_agent_connects_total", "Agents welcomed", counters.connects);
  AddCounter(families, "weir_agent_disconnects_total", "Agents that went", counters.disconnects);
  AddCounter(families, "weir_agent_replaced_total", "Streams closed as a newer one had the same node name",
             counters.replaced);
  AddCounter(families, "weir_agent_silent_total", "Streams given up after missed heartbeats",
             counters.missed_heartbeats);
  AddCounter(families, "weir_agent_protocol_errors_total", "Streams closed for a breach of the protocol",
             counters.protocol_errors);
  AddCounter(families, "weir_updates_delta_total", "Deltas sent", counters.deltas);
  AddCounter(families, "weir_updates_full_total", "Snapshots sent", counters.snapshots);
  AddCounter(families, "weir_updates_bytes_total", "Bytes handed to agents' streams", counters.bytes);
  AddCounter(families, "weir_acks_total", "Generations acknowledged", counters.acks);
  AddCounter(families, "weir_nacks_total", "Generations refused", counters.nacks);
  AddCounter(families, "weir_store_commit_failures_total", "Changes given up as they could not be written",
             facts_.core.commit_failures());
}

void Metrics::AddEndings(std::vector<prometheus::MetricFamily>& families) const {
  auto family = Family("weir_rollout_connections_reset_total",
                       "Open connections that agents ended by order (onAbort, onComplete)",
                       prometheus::MetricType::Counter);
  for (const auto& [name, count] : endings_.totals()) {
    const auto& [ns, rollout, revision, cause] = name;
    prometheus::ClientMetric& metric = family.metric.emplace_back();
    metric.label = {{"namespace", ns}, {"rollout", rollout}, {"revision", revision}, {"cause", cause}};
    metric.counter.value = static_cast<double>(count);
  }
  // A family without a metric would be a HELP and a TYPE of nothing.
  if (!family.metric.empty()) families.push_back(std::move(family));
}

void Metrics::AddTelemetry(std::vector<prometheus::MetricFamily>& families) const {
  const telemetry::Cluster::Statistics& statistics = cluster_.statistics();
  AddCounter(families, "weir_telemetry_reports_total", "Agents' reports taken", statistics.reports);
  AddCounter(families, "weir_telemetry_baselines_total", "Reports that were only the place to count from",
             statistics.baselines);
  AddCounter(families, "weir_telemetry_epochs_total", "Times an agent's counters began anew",
             statistics.epochs);
  AddCounter(families, "weir_telemetry_stale_total",
             "Series and reports left out as they were older than what is known", statistics.stale);
  AddCounter(families, "weir_telemetry_refused_total", "Series left out beyond the limits",
             statistics.refused);
  families.push_back(GaugeFamily("weir_telemetry_series", "Revisions of services that are counted",
                                 static_cast<double>(cluster_.series())));
  const MonotonicTime now = clock_.Now();
  const auto lag = now - telemetry::BeginOf(cluster_.Settled(now));
  families.push_back(GaugeFamily("weir_telemetry_lag_seconds",
                                 "Age of the newest second that every agent in time has reported",
                                 std::chrono::duration<double>(lag).count()));
}

void Metrics::AddWebhooks(std::vector<prometheus::MetricFamily>& families) const {
  auto deliveries = Family("weir_webhook_notifications_total", "Notifications by what became of them",
                           prometheus::MetricType::Counter);
  auto retries = Family("weir_webhook_retries_total", "Notifications sent again after a failure",
                        prometheus::MetricType::Counter);
  auto waiting = Family("weir_webhook_waiting", "Notifications that wait for their webhook",
                        prometheus::MetricType::Gauge);
  for (const auto& [key, object] : facts_.core.objects().webhooks) {
    const webhooks::Report report = webhooks_.ReportOf(key);
    const Labels labels{{"namespace", key.ns}, {"webhook", key.name}};
    const std::pair<const char*, uint64_t> outcomes[] = {
        {"delivered", report.delivered}, {"failed", report.failed}, {"dropped", report.dropped}};
    for (const auto& [outcome, count] : outcomes) {
      prometheus::ClientMetric& metric = deliveries.metric.emplace_back();
      metric.label = labels;
      metric.label.push_back({"outcome", outcome});
      metric.counter.value = static_cast<double>(count);
    }
    prometheus::ClientMetric& metric = retries.metric.emplace_back();
    metric.label = labels;
    metric.counter.value = static_cast<double>(report.retried);
    AddGauge(waiting, labels, static_cast<double>(report.waiting));
  }
  for (auto* family : {&deliveries, &retries, &waiting}) families.push_back(std::move(*family));
}

void Metrics::AddAnalysis(std::vector<prometheus::MetricFamily>& families) const {
  using prometheus::MetricType;
  constexpr std::array kRunPhases = {analysis::Phase::kRunning, analysis::Phase::kSuccessful,
                                     analysis::Phase::kFailed, analysis::Phase::kError,
                                     analysis::Phase::kInconclusive};
  const AnalysisRunner::Statistics& statistics = analysis_.statistics();
  std::map<analysis::Phase, int> phases;
  for (const auto& [id, entry] : analysis_.runs()) ++phases[entry.record.run.phase];
  auto runs = Family("weir_analysis_runs", "Analysis runs at work, and kept ones that ended, by phase",
                     MetricType::Gauge);
  auto measurements = Family("weir_analysis_measurements_total", "Measurements of analysis runs, by outcome",
                             MetricType::Counter);
  for (const analysis::Phase phase : kRunPhases) {
    const std::string word(analysis::PhaseName(phase));
    AddGauge(runs, {{"phase", word}}, phases[phase]);
    if (phase == analysis::Phase::kRunning) continue;
    const auto found = statistics.measurements.find(phase);
    prometheus::ClientMetric& metric = measurements.metric.emplace_back();
    metric.label = {{"outcome", word}};
    metric.counter.value = found == statistics.measurements.end() ? 0 : static_cast<double>(found->second);
  }
  auto errors = Family("weir_analysis_provider_errors_total",
                       "Questions to a provider that ended in an error", MetricType::Counter);
  auto latency = Family("weir_analysis_provider_duration_seconds",
                        "From a question to a provider to its answer", MetricType::Histogram);
  for (const char* provider : {"prometheus", "web"}) {
    const auto found = statistics.providers.find(provider);
    const AnalysisRunner::Statistics::Provider of =
        found == statistics.providers.end() ? AnalysisRunner::Statistics::Provider{} : found->second;
    prometheus::ClientMetric& error = errors.metric.emplace_back();
    error.label = {{"provider", provider}};
    error.counter.value = static_cast<double>(of.errors);
    prometheus::ClientMetric& metric = latency.metric.emplace_back();
    metric.label = {{"provider", provider}};
    uint64_t cumulative = 0;
    for (size_t i = 0; i < of.buckets.size(); ++i) {
      cumulative += of.buckets[i];
      const bool last = i == AnalysisRunner::Statistics::kLatencyBounds.size();
      metric.histogram.bucket.push_back({cumulative, last ? std::numeric_limits<double>::infinity()
                                                          : AnalysisRunner::Statistics::kLatencyBounds[i]});
    }
    metric.histogram.sample_count = cumulative;
    metric.histogram.sample_sum = of.seconds;
  }
  families.push_back(std::move(runs));
  families.push_back(std::move(measurements));
  families.push_back(std::move(errors));
  families.push_back(std::move(latency));
  families.push_back(CounterFamily("weir_analysis_commit_failures_total",
                                   "Times that analysis runs could not be written",
                                   static_cast<double>(statistics.commit_failures)));
}

}  // namespace weir::app
