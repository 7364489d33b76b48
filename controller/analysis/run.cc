// The rules are those of Argo Rollouts' analysis controller (analysis/analysis.go): when a metric is
// measured, and what its counts come to.
#include "controller/analysis/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <cmath>

namespace weir::analysis {
namespace {

namespace json = boost::json;

constexpr Duration kErrorRetry = std::chrono::seconds(10);  // where a metric has no interval
constexpr size_t kMaxText = 1024;                           // of a measurement's value or message

bool IsWeir(const Metric& metric) { return std::holds_alternative<WeirQuery>(metric.provider); }
bool UntilConfident(const Metric& metric) {
  const auto* weir = std::get_if<WeirQuery>(&metric.provider);
  return weir != nullptr && weir->until_confident;
}

/// Cut where it is too long, between characters.
std::string Bounded(std::string text) {
  if (text.size() <= kMaxText) return text;
  size_t end = kMaxText;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80) --end;
  return text.substr(0, end) + "...";
}

class Machine {
 public:
  Machine(Run& run, TimePoint now) : run_(run), now_(now) {}

  void Take(const RunEvent& event) {
    if (const auto* measured = std::get_if<Measured>(&event)) TakeMeasured(*measured);
    if (const auto* window = std::get_if<WindowObserved>(&event)) TakeWindow(window->figures);
    if (std::holds_alternative<Terminate>(event)) run_.terminating = true;
    if (std::holds_alternative<Restarted>(event)) {
      for (size_t i = 0; i < run_.metrics.size(); ++i) {
        if (run_.results[i].in_flight) effects_.emplace_back(TakeMeasurement{i});
      }
    }
  }

  std::vector<RunEffect> Finish() {
    AssessAll();
    if (!Stopping() && Schedule()) AssessAll();
    Conclude();
    return std::move(effects_);
  }

 private:
  /// Asked to stop, or a metric that counts has gone wrong.
  bool Stopping() const {
    if (run_.terminating) return true;
    for (size_t i = 0; i < run_.metrics.size(); ++i) {
      if (!run_.metrics[i].dry_run && run_.results[i].phase > Phase::kSuccessful) return true;
    }
    return false;
  }

  void TakeMeasured(const Measured& measured) {
    if (measured.metric >= run_.metrics.size()) return;
    MetricResult& result = run_.results[measured.metric];
    if (!result.in_flight || Completed(result.phase)) return;  // given twice, or too late
    Measurement measurement;
    measurement.started = *result.in_flight;
    result.in_flight.reset();
    if (const auto* value = std::get_if<json::value>(&measured.outcome)) {
      Assessment assessment = AssessValue(run_.metrics[measured.metric], *value);
      measurement.phase = assessment.phase;
      measurement.message = std::move(assessment.message);
      measurement.value = ValueText(*value);
    } else {
      measurement.phase = Phase::kError;
      measurement.message = std::get<std::string>(measured.outcome);
    }
    Record(measured.metric, std::move(measurement));
  }

  void TakeWindow(const WindowFigures& figures) {
    for (size_t i = 0; i < run_.metrics.size(); ++i) {
      const Metric& metric = run_.metrics[i];
      MetricResult& result = run_.results[i];
      if (!result.weir || Completed(result.phase) || now_ < run_.started + metric.initial_delay) continue;
      const Verdict::Kind before = result.weir->Decision();
      result.weir->Add(figures);
      const Verdict::Kind after = result.weir->Decision();
      const bool decided =
          after == Verdict::Kind::kWorse || (after == Verdict::Kind::kConfident && UntilConfident(metric));
      if (decided && after != before) RecordVerdict(i);  // at once, not at the next interval
    }
  }

  void RecordVerdict(size_t index) {
    const MetricResult& result = run_.results[index];
    Verdict verdict = result.weir->Read();
    Measurement measurement;
    measurement.started = result.measurements.empty() ? run_.started + run_.metrics[index].initial_delay
                                                      : result.measurements.back().finished;
    switch (verdict.kind) {
      case Verdict::Kind::kWorse:
        measurement.phase = Phase::kFailed;
        break;
      case Verdict::Kind::kNoTraffic:
        measurement.phase = Phase::kInconclusive;
        break;
      case Verdict::Kind::kConfident:
        measurement.phase = Phase::kSuccessful;
        break;
      case Verdict::Kind::kUndecided:
        measurement.phase = UntilConfident(run_.metrics[index]) ? Phase::kInconclusive : Phase::kSuccessful;
        break;
    }
    measurement.value = std::move(verdict.value);
    measurement.message = std::move(verdict.reason);
    Record(index, std::move(measurement));
  }

  void Record(size_t index, Measurement measurement) {
    MetricResult& result = run_.results[index];
    measurement.finished = now_;
    measurement.value = Bounded(std::move(measurement.value));
    measurement.message = Bounded(std::move(measurement.message));
    const bool error = measurement.phase == Phase::kError;
    result.consecutive_error = error ? result.consecutive_error + 1 : 0;
    result.consecutive_success = measurement.phase == Phase::kSuccessful ? result.consecutive_success + 1 : 0;
    switch (measurement.phase) {
      case Phase::kSuccessful:
        ++result.successful;
        break;
      case Phase::kFailed:
        ++result.failed;
        break;
      case Phase::kInconclusive:
        ++result.inconclusive;
        break;
      default:
        ++result.error;
    }
    result.measurements.push_back(std::move(measurement));
    const size_t kept = std::max<size_t>(run_.metrics[index].kept, 1);
    if (result.measurements.size() > kept) {
      const size_t over = result.measurements.size() - kept;
      result.measurements.erase(result.measurements.begin(),
                                result.measurements.begin() + static_cast<std::ptrdiff_t>(over));
      result.dropped += over;
    }
  }

  void AssessAll() {
    // A metric that goes wrong stops the others, so those are looked at again.
    for (bool again = true; again;) {
      const bool stopping = Stopping();
      for (size_t i = 0; i < run_.metrics.size(); ++i) {
        MetricResult& result = run_.results[i];
        if (Completed(result.phase)) continue;
        if (stopping) result.in_flight.reset();  // its answer would come too late
        result.phase = IsWeir(run_.metrics[i]) ? AssessWeir(i, stopping) : Assess(i, stopping);
      }
      again = Stopping() != stopping;
    }
  }

  /// Failed, Inconclusive or Error by the limits; Running if within all.
  Phase AssessLimits(const Metric& metric, MetricResult& result) const {
    const auto above = [&result](std::string_view what, uint32_t count, std::string_view limit_name,
                                 int32_t limit) {
      if (count <= static_cast<uint32_t>(limit)) return false;
      result.message = fmt::format("{} ({}) > {} ({})", what, count, limit_name, limit);
      return true;
    };
    if (metric.failure_limit >= 0 && above("failed", result.failed, "failureLimit", metric.failure_limit))
      return Phase::kFailed;
    if (!IsWeir(metric) &&
        above("inconclusive", result.inconclusive, "inconclusiveLimit", metric.inconclusive_limit))
      return Phase::kInconclusive;
    if (above("consecutiveErrors", result.consecutive_error, "consecutiveErrorLimit",
              metric.consecutive_error_limit))
      return Phase::kError;
    return Phase::kRunning;
  }

  Phase Assess(size_t index, bool stopping) {
    const Metric& metric = run_.metrics[index];
    MetricResult& result = run_.results[index];
    if (result.measurements.empty()) {
      if (stopping) return Phase::kSuccessful;
      return result.in_flight ? Phase::kRunning : Phase::kPending;
    }
    if (result.in_flight) return Phase::kRunning;
    if (const Phase phase = AssessLimits(metric, result); phase != Phase::kRunning) return phase;
    const auto wanted = static_cast<uint32_t>(metric.consecutive_success_limit);
    if (wanted > 0 && result.consecutive_success >= wanted) return Phase::kSuccessful;
    if (metric.count && result.count() >= *metric.count) {
      if (wanted == 0) return Phase::kSuccessful;
      result.message =
          fmt::format("count ({}) reached before consecutiveSuccessLimit ({})", *metric.count, wanted);
      return Phase::kInconclusive;
    }
    return stopping ? Phase::kSuccessful : Phase::kRunning;
  }

  /// A built-in test's verdict is about everything so far: it is the latest that counts.
  Phase AssessWeir(size_t index, bool stopping) {
    const Metric& metric = run_.metrics[index];
    MetricResult& result = run_.results[index];
    if (const Phase phase = AssessLimits(metric, result); phase != Phase::kRunning) {
      result.message = result.measurements.back().message;
      return phase;
    }
    const Verdict::Kind verdict = result.weir->Decision();
    const bool confident = verdict == Verdict::Kind::kConfident;
    if (UntilConfident(metric) && confident && !result.measurements.empty() &&
        result.measurements.back().phase == Phase::kSuccessful) {
      return Phase::kSuccessful;
    }
    const bool ends = metric.count && result.count() >= *metric.count;
    if (!ends && !stopping) return result.measurements.empty() ? Phase::kPending : Phase::kRunning;
    if (verdict != Verdict::Kind::kNoTraffic && (!UntilConfident(metric) || stopping))
      return Phase::kSuccessful;
    result.message = result.weir->Read().reason;
    return Phase::kInconclusive;
  }

  /// When the next measurement is due; nullopt while one is under way.
  std::optional<TimePoint> Due(size_t index) const {
    const Metric& metric = run_.metrics[index];
    const MetricResult& result = run_.results[index];
    if (Completed(result.phase) || result.in_flight) return std::nullopt;
    const Duration interval = metric.interval.value_or(kErrorRetry);
    if (!result.measurements.empty()) return result.measurements.back().finished + interval;
    return run_.started + metric.initial_delay + (IsWeir(metric) ? interval : Duration{0});
  }

  /// Whether anything was recorded.
  bool Schedule() {
    bool recorded = false;
    for (size_t i = 0; i < run_.metrics.size(); ++i) {
      const std::optional<TimePoint> due = Due(i);
      if (!due || *due > now_) continue;
      if (IsWeir(run_.metrics[i])) {
        RecordVerdict(i);
        recorded = true;
      } else {
        run_.results[i].in_flight = now_;
        run_.results[i].phase = Phase::kRunning;
        effects_.emplace_back(TakeMeasurement{i});
      }
    }
    return recorded;
  }

  void Conclude() {
    bool all = true;
    const MetricResult* worst = nullptr;
    std::string_view worst_name;
    for (size_t i = 0; i < run_.metrics.size(); ++i) {
      const MetricResult& result = run_.results[i];
      all = all && Completed(result.phase);
      if (run_.metrics[i].dry_run || !Completed(result.phase)) continue;
      if (worst == nullptr || result.phase > worst->phase) {
        worst = &result;
        worst_name = run_.metrics[i].name;
      }
    }
    if (!all) return Wake();
    run_.phase = worst == nullptr ? Phase::kSuccessful : worst->phase;  // dry runs alone decide nothing
    run_.finished = now_;
    if (worst != nullptr && worst->phase > Phase::kSuccessful) {
      run_.message = fmt::format("metric {} {}: {}", worst_name, PhaseName(worst->phase), worst->message);
      const bool told = worst->measurements.empty() || worst->measurements.back().message == worst->message;
      if (!told) {
        const Measurement& last = worst->measurements.back();
        run_.message += fmt::format(", last {}", last.message.empty() ? "value " + last.value : last.message);
      }
    }
    effects_.emplace_back(Finished{run_.phase, run_.message});
  }

  void Wake() {
    std::optional<TimePoint> next;
    for (size_t i = 0; i < run_.metrics.size(); ++i) {
      const std::optional<TimePoint> due = Due(i);
      if (due && (!next || *due < *next)) next = due;
    }
    if (next) effects_.emplace_back(WakeAt{*next});
  }

  Run& run_;
  TimePoint now_;
  std::vector<RunEffect> effects_;
};

std::string NumberText(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  char text[400];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed);
  return error == std::errc() ? std::string(text, end) : fmt::format("{}", value);
}

void AppendText(const json::value& value, std::string& out) {
  if (out.size() > kMaxText) return;  // cut later anyway
  if (value.is_double()) {
    out += NumberText(value.get_double());
  } else if (value.is_array()) {
    out += '[';
    bool first = true;
    for (const json::value& item : value.get_array()) {
      if (!first) out += ',';
      first = false;
      AppendText(item, out);
    }
    out += ']';
  } else if (value.is_object()) {
    out += '{';
    bool first = true;
    for (const auto& [key, member] : value.get_object()) {
      if (!first) out += ',';
      first = false;
      out += json::serialize(json::string(key)) + ":";
      AppendText(member, out);
    }
    out += '}';
  } else {
    out += json::serialize(value);
  }
}

}  // namespace

std::string_view PhaseName(Phase phase) {
  constexpr std::string_view kNames[] = {"Pending",      "Running", "Successful",
                                         "Inconclusive", "Error",   "Failed"};
  return kNames[static_cast<size_t>(phase)];
}

Run StartRun(std::string id, std::vector<Metric> metrics, TimePoint now) {
  Run run;
  run.id = std::move(id);
  run.metrics = std::move(metrics);
  run.started = now;
  run.results.resize(run.metrics.size());
  for (size_t i = 0; i < run.metrics.size(); ++i) {
    if (const auto* weir = std::get_if<WeirQuery>(&run.metrics[i].provider))
      run.results[i].weir.emplace(*weir);
  }
  return run;
}

std::vector<RunEffect> Advance(Run& run, const RunEvent& event, TimePoint now) {
  if (Completed(run.phase)) {
    if (!std::holds_alternative<Restarted>(event)) return {};
    return {Finished{run.phase, run.message}};
  }
  Machine machine(run, now);
  machine.Take(event);
  return machine.Finish();
}

Assessment AssessValue(const Metric& metric, const json::value& value) {
  bool success = true, failure = false;
  if (metric.success) {
    const Result<bool> holds = metric.success->Holds(value);
    if (!holds.ok()) return {Phase::kError, "successCondition: " + Message(holds.status())};
    success = *holds;
    failure = !success;
  }
  if (metric.failure) {
    const Result<bool> holds = metric.failure->Holds(value);
    if (!holds.ok()) return {Phase::kError, "failureCondition: " + Message(holds.status())};
    failure = *holds;
    if (!metric.success) success = !failure;
  }
  if (failure) return {Phase::kFailed, ""};
  return {success ? Phase::kSuccessful : Phase::kInconclusive, ""};
}

std::string ValueText(const json::value& value) {
  std::string text;
  AppendText(value, text);
  return text;
}

}  // namespace weir::analysis
