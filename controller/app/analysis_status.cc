#include "controller/app/analysis_status.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

namespace weir::app {
namespace {

using analysis::Metric;
using analysis::MetricResult;
using analysis::Run;
using Entry = AnalysisRunner::Entry;

int64_t Milliseconds(analysis::TimePoint time) { return time.time_since_epoch().count(); }

const char* PlaceWord(engine::AnalysisWhere where) {
  switch (where) {
    case engine::AnalysisWhere::kStep:
      return "step";
    case engine::AnalysisWhere::kBackground:
      return "background";
    case engine::AnalysisWhere::kPrePromotion:
      return "prePromotion";
    case engine::AnalysisWhere::kPostPromotion:
      return "postPromotion";
  }
  return "";
}

std::string Text(std::string_view text) { return std::string(text); }

/// How a metric stands, in words.
std::string Standing(const Metric& metric, const MetricResult& result) {
  if (result.weir) return result.weir->Read().reason;
  if (!result.message.empty()) return result.message;
  if (result.measurements.empty()) return "not measured yet";
  const analysis::Measurement& last = result.measurements.back();
  std::string text = last.message.empty() ? "value " + last.value : last.message;
  text += fmt::format(" ({}", analysis::PhaseName(last.phase));
  if (metric.count) text += fmt::format(", {} of {}", result.count(), *metric.count);
  return text + ")";
}

/// How one metric weighs against others of a run at work: the one that says most comes first.
double Weight(const MetricResult& result) {
  if (result.weir) return result.weir->test().has_traffic() ? 1 + std::abs(result.weir->test().log_e()) : 0;
  return result.failed + result.error > 0 ? 1e6 : result.measurements.empty() ? 0 : 0.5;
}

std::string Summary(const Run& run) {
  if (analysis::Completed(run.phase)) {
    return run.message.empty() && run.terminating ? "stopped: the rollout had no use for it any more"
                                                  : run.message;
  }
  std::string text;
  double weight = -1;
  for (size_t i = 0; i < run.metrics.size(); ++i) {
    const double own = Weight(run.results[i]) - (run.metrics[i].dry_run ? 0.25 : 0);
    if (own <= weight) continue;
    weight = own;
    text = run.metrics[i].name + ": " + Standing(run.metrics[i], run.results[i]);
  }
  return text;
}

void AddMetric(const Metric& metric, const MetricResult& result, v1::AnalysisMetric& status) {
  status.set_name(metric.name);
  status.set_dry_run(metric.dry_run);
  status.set_phase(Text(analysis::PhaseName(result.phase)));
  status.set_message(Standing(metric, result));
  if (const auto* weir = std::get_if<analysis::WeirQuery>(&metric.provider)) {
    status.set_provider("weir");
    status.set_measure(Text(analysis::MeasureName(weir->measure)));
    const double log_e = result.weir ? result.weir->test().log_e() : 0;
    const double mirrored = result.weir && weir->until_confident ? result.weir->test().log_e_mirrored() : 0;
    status.set_e_value_log10(log_e / std::log(10));
    status.set_confident_log10(mirrored / std::log(10));
    status.set_threshold_log10(-std::log10(weir->alpha));
  } else {
    status.set_provider(std::holds_alternative<analysis::WebRequest>(metric.provider) ? "web" : "prometheus");
  }
  status.set_successful(result.successful);
  status.set_failed(result.failed);
  status.set_inconclusive(result.inconclusive);
  status.set_error(result.error);
  status.set_consecutive_error(result.consecutive_error);
  status.set_consecutive_success(result.consecutive_success);
  if (metric.interval) status.set_interval_ms(metric.interval->count());
  if (metric.count) status.set_count(*metric.count);
  status.set_failure_limit(metric.failure_limit);
  status.set_inconclusive_limit(metric.inconclusive_limit);
  status.set_consecutive_error_limit(metric.consecutive_error_limit);
  status.set_consecutive_success_limit(metric.consecutive_success_limit);
  if (metric.success) status.set_success_condition(Text(metric.success->text()));
  if (metric.failure) status.set_failure_condition(Text(metric.failure->text()));
  for (const analysis::Measurement& one : result.measurements) {
    v1::Measurement& measurement = *status.add_measurements();
    measurement.set_started_unix_ms(Milliseconds(one.started));
    measurement.set_finished_unix_ms(Milliseconds(one.finished));
    measurement.set_phase(Text(analysis::PhaseName(one.phase)));
    measurement.set_value(one.value);
    measurement.set_message(one.message);
  }
  status.set_measurements_dropped(result.dropped);
}

void Fill(const AnalysisRecord& record, v1::AnalysisRun& status) {
  const Run& run = record.run;
  status.set_namespace_(record.rollout.ns);
  status.set_name(NameOf(record));
  status.set_rollout(record.rollout.name);
  status.set_where(PlaceWord(record.where));
  status.set_step_index(record.step);
  status.set_stable_revision(record.stable);
  status.set_canary_revision(record.canary);
  status.set_phase(Text(analysis::PhaseName(run.phase)));
  status.set_message(Summary(run));
  status.set_started_unix_ms(Milliseconds(run.started));
  if (run.finished) status.set_finished_unix_ms(Milliseconds(*run.finished));
  status.set_stopped(run.terminating);
  for (size_t i = 0; i < run.metrics.size(); ++i)
    AddMetric(run.metrics[i], run.results[i], *status.add_metrics());
}

/// By rollout, then by begin.
std::vector<const AnalysisRecord*> Sorted(const AnalysisRunner& runner) {
  std::vector<const AnalysisRecord*> records;
  for (const auto& [id, entry] : runner.runs()) records.push_back(&entry.record);
  std::ranges::stable_sort(records, {}, [](const AnalysisRecord* record) {
    return std::tuple(record->rollout, record->run.started);
  });
  return records;
}

}  // namespace

v1::ListAnalysisRunsResponse AnalysisRuns(const AnalysisRunner& runner, const v1::ListRequest& request) {
  v1::ListAnalysisRunsResponse response;
  for (const AnalysisRecord* record : Sorted(runner)) {
    if (!request.namespace_().empty() && request.namespace_() != record->rollout.ns) continue;
    if (!request.name().empty() && request.name() != record->rollout.name &&
        request.name() != NameOf(*record))
      continue;
    Fill(*record, *response.add_runs());
  }
  return response;
}

void AddAnalyses(const AnalysisRunner& runner, const model::ObjectKey& rollout, const engine::State& state,
                 v1::Rollout& status) {
  if (state.canary.empty()) return;
  const std::string attempt = fmt::format("{}-{}-", state.canary, state.attempt);
  std::vector<const AnalysisRecord*> records;
  const auto& runs = runner.runs();
  for (auto at = runs.lower_bound({rollout, ""}); at != runs.end() && at->first.first == rollout; ++at) {
    const AnalysisRecord& record = at->second.record;
    if (record.canary == state.canary && record.run.id.starts_with(attempt)) records.push_back(&record);
  }
  std::ranges::stable_sort(records, {}, [](const AnalysisRecord* record) { return record->run.started; });
  for (const AnalysisRecord* record : records) {
    v1::AnalysisSummary& summary = *status.add_analyses();
    summary.set_name(NameOf(*record));
    summary.set_where(PlaceWord(record->where));
    summary.set_phase(Text(analysis::PhaseName(record->run.phase)));
    summary.set_message(Summary(record->run));
    // What a step waits for, and what watches meanwhile.
    if (analysis::Completed(record->run.phase) || summary.message().empty()) continue;
    const bool background = record->where == engine::AnalysisWhere::kBackground;
    status.set_message(fmt::format("{}{}{}{}", status.message(), status.message().empty() ? "" : "; ",
                                   background ? "background analysis: " : "", summary.message()));
  }
}

}  // namespace weir::app
