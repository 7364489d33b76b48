#include "cli/analysis.h"

#include <fmt/format.h>

#include <algorithm>

namespace weir::cli {
namespace {

/// "4 ok, 1 failed"; "" before the first.
std::string CountsText(const v1::AnalysisMetric& metric) {
  std::string text;
  const auto add = [&text](uint32_t count, std::string_view word) {
    if (count > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, word);
  };
  add(metric.successful(), "ok");
  add(metric.failed(), "failed");
  add(metric.inconclusive(), "inconclusive");
  add(metric.error(), metric.error() == 1 ? "error" : "errors");
  return text;
}

std::string ProviderText(const v1::AnalysisMetric& metric) {
  return metric.provider() + (metric.measure().empty() ? "" : " " + metric.measure());
}

std::string DurationText(int64_t milliseconds) {
  return milliseconds < 10'000 ? fmt::format("{:.1f}s", static_cast<double>(milliseconds) / 1000)
                               : AgeText(milliseconds);
}

/// Metrics that came to an end, of all.
std::string DoneText(const v1::AnalysisRun& run) {
  const auto done = std::count_if(run.metrics().begin(), run.metrics().end(), [](const auto& metric) {
    return metric.phase() != "Pending" && metric.phase() != "Running";
  });
  return fmt::format("{}/{}", done, run.metrics_size());
}

std::string RulesText(const v1::AnalysisMetric& metric) {
  std::string text;
  const auto add = [&text](std::string part) { text += (text.empty() ? "" : ", ") + std::move(part); };
  if (!metric.success_condition().empty()) add("successCondition " + metric.success_condition());
  if (!metric.failure_condition().empty()) add("failureCondition " + metric.failure_condition());
  if (metric.interval_ms() > 0) add("interval " + DurationText(metric.interval_ms()));
  if (metric.count() > 0) add(fmt::format("count {}", metric.count()));
  add(fmt::format("failureLimit {}", metric.failure_limit()));
  if (metric.provider() == "weir") {
    add(fmt::format("fails at E = 1e{:.2g}", metric.threshold_log10()));
  } else {
    add(fmt::format("inconclusiveLimit {}", metric.inconclusive_limit()));
    add(fmt::format("consecutiveErrorLimit {}", metric.consecutive_error_limit()));
    if (metric.consecutive_success_limit() > 0)
      add(fmt::format("consecutiveSuccessLimit {}", metric.consecutive_success_limit()));
  }
  return text;
}

void PrintMetrics(const v1::AnalysisRun& run, const ViewOptions& options, bool use_color, std::ostream& out) {
  std::vector<std::string> header{"METRIC", "PROVIDER", "PHASE", "MEASURED", "REASON"};
  if (options.wide) header.emplace_back("RULES");
  std::vector<Row> rows;
  for (const v1::AnalysisMetric& metric : run.metrics()) {
    Row row{{metric.name() + (metric.dry_run() ? " (dry run)" : ""), Color::kBold},
            {ProviderText(metric)},
            {metric.phase(), OutcomeColor(metric.phase())},
            {CountsText(metric)},
            {metric.message()}};
    if (options.wide) row.push_back({RulesText(metric)});
    rows.push_back(std::move(row));
  }
  Table(std::move(header), use_color).Print(out, rows);
}

void PrintMeasurements(const v1::AnalysisRun& run, bool use_color, std::ostream& out) {
  std::vector<Row> rows;
  for (const v1::AnalysisMetric& metric : run.metrics()) {
    if (metric.measurements_dropped() > 0) {
      const std::string dropped = fmt::format("{} older ones", metric.measurements_dropped());
      rows.push_back({{metric.name()}, {" "}, {" "}, {" "}, {dropped}});
    }
    for (const v1::Measurement& one : metric.measurements()) {
      rows.push_back({{metric.name()},
                      {"+" + DurationText(one.finished_unix_ms() - run.started_unix_ms())},
                      {one.phase(), OutcomeColor(one.phase())},
                      {one.value()},
                      {one.message()}});
    }
  }
  if (rows.empty()) return;
  out << '\n';
  Table({"METRIC", "AT", "OUTCOME", "VALUE", "REASON"}, use_color).Print(out, rows);
}

}  // namespace

Color OutcomeColor(std::string_view phase) {
  if (phase == "Successful") return Color::kGreen;
  if (phase == "Inconclusive") return Color::kYellow;
  return phase == "Failed" || phase == "Error" ? Color::kRed : Color::kBlue;
}

std::string PlaceText(const v1::AnalysisRun& run) {
  if (run.where() == "step") return fmt::format("step {}", run.step_index());
  if (run.where() == "background") return "in the background";
  if (run.where() == "prePromotion") return "before promotion";
  return run.where() == "postPromotion" ? "after promotion" : run.where();
}

std::vector<std::string> AnalysisHeader(const ViewOptions& options) {
  std::vector<std::string> header{"NAME", "PLACE", "PHASE", "METRICS", "STARTED", "TOOK"};
  if (options.wide) header.insert(header.end(), {"ROLLOUT", "CANARY", "STABLE"});
  header.emplace_back("MESSAGE");
  if (options.with_namespace) header.insert(header.begin(), "NAMESPACE");
  return header;
}

Row AnalysisRow(const v1::AnalysisRun& run, const ViewOptions& options) {
  const int64_t end = run.finished_unix_ms() != 0 ? run.finished_unix_ms() : options.now_unix_ms;
  Row row{{run.name(), Color::kBold},
          {PlaceText(run)},
          {run.phase(), OutcomeColor(run.phase())},
          {DoneText(run)},
          {AgeText(options.now_unix_ms - run.started_unix_ms()) + " ago"},
          {DurationText(end - run.started_unix_ms())}};
  if (options.wide)
    row.insert(row.end(), {{run.rollout()}, {run.canary_revision()}, {run.stable_revision()}});
  row.push_back({run.message()});
  if (options.with_namespace) row.insert(row.begin(), Cell{run.namespace_()});
  return row;
}

void PrintAnalysis(const v1::AnalysisRun& run, const ViewOptions& options, bool use_color,
                   std::ostream& out) {
  const auto line = [&](std::string_view label, const std::string& text, Color color = Color::kNone) {
    if (!text.empty())
      out << fmt::format("{:<12}", label) << Paint(Printable(text), color, use_color) << '\n';
  };
  const int64_t end = run.finished_unix_ms() != 0 ? run.finished_unix_ms() : options.now_unix_ms;
  line("Run:", run.name(), Color::kBold);
  line("Rollout:", fmt::format("{}/{}, {}: {} beside {}", run.namespace_(), run.rollout(), PlaceText(run),
                               run.canary_revision(), run.stable_revision()));
  line("Phase:", run.phase() + (run.stopped() ? " (stopped)" : ""), OutcomeColor(run.phase()));
  line("Message:", run.message());
  line("Started:", AgeText(options.now_unix_ms - run.started_unix_ms()) + " ago, " +
                       (run.finished_unix_ms() != 0 ? "took " : "at work for ") +
                       DurationText(end - run.started_unix_ms()));
  if (run.metrics().empty()) return;
  out << '\n';
  PrintMetrics(run, options, use_color, out);
  PrintMeasurements(run, use_color, out);
}

}  // namespace weir::cli
