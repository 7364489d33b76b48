// One analysis run: metrics on their schedules, measurements counted against Argo's limits. A pure state
// machine: no clock, no I/O; time comes with each event.
//
//   Tick, Measured, WindowObserved, Restarted, Terminate --Advance--> {TakeMeasurement, WakeAt, Finished}
//
// The application persists the run (ToJson) before it carries out the effects; after a restart it reads the
// run and feeds Restarted, which asks anew for what was under way.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "controller/analysis/metric.h"
#include "controller/analysis/weir_metric.h"

namespace weir::analysis {

/// Argo's words, from best to worst where completed.
enum class Phase : uint8_t { kPending, kRunning, kSuccessful, kInconclusive, kError, kFailed };
std::string_view PhaseName(Phase phase);
inline bool Completed(Phase phase) { return phase >= Phase::kSuccessful; }

struct Measurement {
  TimePoint started, finished;
  Phase phase = Phase::kSuccessful;
  std::string value;    // as Argo writes it: 0.95, [0.95,1], or JSON; "E = 57" of a built-in test
  std::string message;  // why it is an error; a built-in test's reason
  bool operator==(const Measurement&) const = default;
};

struct MetricResult {
  Phase phase = Phase::kPending;
  std::string message;
  uint32_t successful = 0, failed = 0, inconclusive = 0, error = 0;
  uint32_t consecutive_error = 0, consecutive_success = 0;
  std::vector<Measurement> measurements;  // the latest
  uint64_t dropped = 0;                   // older ones
  std::optional<TimePoint> in_flight;     // since when a measurement is under way
  std::optional<WeirMetric> weir;         // of the provider weir

  /// Errors do not count.
  uint32_t count() const { return successful + failed + inconclusive; }
};

struct Run {
  std::string id;
  std::vector<Metric> metrics;
  std::vector<MetricResult> results;  // one per metric
  Phase phase = Phase::kRunning;
  std::string message;
  TimePoint started;
  std::optional<TimePoint> finished;
  bool terminating = false;
};

/// A run that begins now. Feed a Tick to get the first effects.
Run StartRun(std::string id, std::vector<Metric> metrics, TimePoint now);

// ---- events

/// Look again: a WakeAt has come due.
struct Tick {};
/// The controller has come back with this run: what was under way is asked for anew.
struct Restarted {};
/// Answer to TakeMeasurement: a value, or the text of an error.
struct Measured {
  size_t metric = 0;
  std::variant<boost::json::value, std::string> outcome;
};
/// One window of the kernel's figures, for every metric of the provider weir.
struct WindowObserved {
  const WindowFigures& figures;
};
/// The rollout does not need it any more: metrics without a verdict end as they stand.
struct Terminate {};
using RunEvent = std::variant<Tick, Restarted, Measured, WindowObserved, Terminate>;

// ---- effects

/// Ask the provider of metrics[metric]; its answer is a Measured. May be asked for twice after a restart.
struct TakeMeasurement {
  size_t metric = 0;
  bool operator==(const TakeMeasurement&) const = default;
};
/// Feed a Tick at that time; replaces an earlier one.
struct WakeAt {
  TimePoint time;
  bool operator==(const WakeAt&) const = default;
};
/// The end: Successful, Failed, Error or Inconclusive, and why.
struct Finished {
  Phase phase = Phase::kSuccessful;
  std::string message;
  bool operator==(const Finished&) const = default;
};
using RunEffect = std::variant<TakeMeasurement, WakeAt, Finished>;

/// Total: defined for every state and event. A run that has ended does not change; Restarted repeats its
/// Finished.
std::vector<RunEffect> Advance(Run& run, const RunEvent& event, TimePoint now);

/// What a metric's value comes to by its conditions; the error's text for Phase::kError.
struct Assessment {
  Phase phase = Phase::kSuccessful;
  std::string message;
};
Assessment AssessValue(const Metric& metric, const boost::json::value& value);

/// A value as Argo writes it: numbers in full, lists as [1,2], anything else as JSON.
std::string ValueText(const boost::json::value& value);

/// For the store: everything, built-in tests and conditions included, but what prometheus and web are asked:
/// that may hold secrets. Of it there is a fingerprint (SHA-256).
std::string ToJson(const Run& run);
/// DATA_LOSS names what is wrong. What prometheus and web are asked is not known until Reattach().
Result<Run> RunFromJson(std::string_view text);
/// Gives a run that was read its providers back, from the same templates and arguments resolved anew. A
/// provider that is another by now stays unknown (Metric::sealed).
void Reattach(Run& run, const std::vector<Metric>& resolved);

}  // namespace weir::analysis
