// AnalysisTemplate (argoproj.io/v1alpha1) as it is written; metric.h has what becomes of it. Pure. Light:
// every object of the model comes with it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace weir::analysis {

using TimePoint = std::chrono::sys_time<std::chrono::milliseconds>;
using Duration = std::chrono::milliseconds;

/// An argument of a template, or one that a rollout gives.
struct Argument {
  enum class From : uint8_t { kValue, kStable, kLatest };  // podTemplateHashValue: a revision
  std::string name;
  std::optional<std::string> value;
  From from = From::kValue;
  bool operator==(const Argument&) const = default;
};

struct Header {
  std::string key, value;
  bool operator==(const Header&) const = default;
};

/// start and end in expr's words: now() - duration("5m"); step a duration.
struct RangeQuery {
  std::string start, end, step;
  bool operator==(const RangeQuery&) const = default;
};

struct PrometheusQuery {
  std::string address, query;
  std::optional<RangeQuery> range;
  std::vector<Header> headers;
  std::string username, password;  // HTTP basic, where not empty
  std::chrono::seconds timeout{30};
  bool insecure = false;  // any certificate
  std::string ca_cert;    // PEM; empty: the system's
  bool operator==(const PrometheusQuery&) const = default;
};

struct WebRequest {
  std::string method = "GET", url;
  std::vector<Header> headers;
  std::string body;
  bool json_body = false;
  std::chrono::seconds timeout{10};
  std::string json_path;  // empty: the whole answer
  bool insecure = false;
  bool operator==(const WebRequest&) const = default;
};

/// The built-in test: what is counted as bad of what.
enum class Measure : uint8_t {
  kErrors,            // 5xx and requests without response, of requests
  kErrorConnections,  // connections with at least one 5xx, of connections
  kFailedConnects,    // of connects
  kLatencyP90,        // responses slower than stable's past p90, of responses
  kLatencyP99,
};
/// "errors", "errorConnections", "failedConnects", "latencyP90", "latencyP99".
std::string_view MeasureName(Measure measure);
std::optional<Measure> ParseMeasure(std::string_view name);

struct WeirQuery {
  Measure measure = Measure::kErrors;
  double alpha = 0.01;      // of a run's metrics together; divided by their number as the run is made
  double tolerance = 1.25;  // times stable's rate that is still well
  bool until_confident = false;
  bool operator==(const WeirQuery&) const = default;
};

using Provider = std::variant<PrometheusQuery, WebRequest, WeirQuery>;

/// One metric as it is written: every text may hold {{args.name}}. Empty: not given.
struct MetricTemplate {
  std::string name;
  std::string interval, initial_delay;  // Go's durations
  std::string count, failure_limit, inconclusive_limit, consecutive_error_limit, consecutive_success_limit;
  std::string success_condition, failure_condition;
  Provider provider;
  bool operator==(const MetricTemplate&) const = default;
};

struct Retention {
  std::string metric;  // a pattern
  uint32_t limit = 0;
  bool operator==(const Retention&) const = default;
};

struct Template {
  std::string name;
  std::vector<Argument> args;
  std::vector<MetricTemplate> metrics;
  std::vector<std::string> templates;  // others whose metrics and args are added
  std::vector<std::string> dry_run;    // patterns of metric names
  std::vector<Retention> retention;
  bool operator==(const Template&) const = default;
};

/// nullptr if there is no such built-in template: weir-success-rate, weir-latency, weir-connect.
const Template* BuiltinTemplate(std::string_view name);
std::vector<std::string_view> BuiltinTemplateNames();

inline constexpr uint32_t kKeptMeasurements = 50;  // per metric, unless measurementRetention says otherwise
inline constexpr uint32_t kMaxKeptMeasurements = 1000;

/// What can be told of a metric before its arguments are known: fields without {{ }} are checked. The field
/// is named
/// ("count: found ..., expected ...").
std::vector<std::pair<std::string, std::string>> CheckMetric(const MetricTemplate& metric);

/// "10s", "1h30m", "1.5h", "250ms", as Go writes them. nullopt for anything else, negatives included; finer
/// than 1 ms is rounded down.
std::optional<Duration> ParseGoDuration(std::string_view text);

}  // namespace weir::analysis
