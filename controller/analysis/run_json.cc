// A run as JSON and back, for the store. Conditions are kept as text and parsed again; Boost.JSON's
// exceptions end here.
#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "common/sha256.h"
#include "controller/analysis/run.h"

namespace weir::analysis {
namespace {

namespace json = boost::json;

constexpr uint64_t kVersion = 1;

json::string Text(std::string_view text) { return json::string(text.data(), text.size()); }
std::string TextOf(const json::value& value) {
  const json::string& text = value.as_string();
  return {text.data(), text.size()};
}
json::value OptionalMs(const std::optional<Duration>& duration) {
  return duration ? json::value(duration->count()) : json::value(nullptr);
}
json::value OptionalTime(const std::optional<TimePoint>& time) {
  return time ? json::value(time->time_since_epoch().count()) : json::value(nullptr);
}
TimePoint TimeOf(const json::value& value) { return TimePoint(Duration(value.to_number<int64_t>())); }
std::optional<TimePoint> OptionalTimeOf(const json::value& value) {
  if (value.is_null()) return std::nullopt;
  return TimeOf(value);
}

// ---- out

json::array HeadersToJson(const std::vector<Header>& headers) {
  json::array out;
  for (const Header& header : headers) out.push_back(json::array{Text(header.key), Text(header.value)});
  return out;
}

/// All that makes a provider, secrets included: only ever to be hashed.
json::object QuestionOf(const Provider& provider) {
  if (const auto* query = std::get_if<PrometheusQuery>(&provider)) {
    json::value range = nullptr;
    if (query->range)
      range = json::array{Text(query->range->start), Text(query->range->end), Text(query->range->step)};
    return {{"prometheus",
             {{"address", Text(query->address)},
              {"query", Text(query->query)},
              {"range", std::move(range)},
              {"headers", HeadersToJson(query->headers)},
              {"username", Text(query->username)},
              {"password", Text(query->password)},
              {"timeoutS", query->timeout.count()},
              {"insecure", query->insecure},
              {"caCert", Text(query->ca_cert)}}}};
  }
  if (const auto* web = std::get_if<WebRequest>(&provider)) {
    return {{"web",
             {{"method", Text(web->method)},
              {"url", Text(web->url)},
              {"headers", HeadersToJson(web->headers)},
              {"body", Text(web->body)},
              {"jsonBody", web->json_body},
              {"timeoutS", web->timeout.count()},
              {"jsonPath", Text(web->json_path)},
              {"insecure", web->insecure}}}};
  }
  return {};
}

std::string Fingerprint(const Provider& provider) { return Sha256Hex(json::serialize(QuestionOf(provider))); }

json::object ProviderToJson(const Metric& metric) {
  if (const auto* weir = std::get_if<WeirQuery>(&metric.provider)) {
    return {{"weir",
             {{"measure", Text(MeasureName(weir->measure))},
              {"alpha", weir->alpha},
              {"tolerance", weir->tolerance},
              {"untilConfident", weir->until_confident}}}};
  }
  const bool web = std::holds_alternative<WebRequest>(metric.provider);
  return {{web ? "web" : "prometheus",
           Text(metric.sealed.empty() ? Fingerprint(metric.provider) : metric.sealed)}};
}

json::object MetricToJson(const Metric& metric) {
  return {{"name", Text(metric.name)},
          {"intervalMs", OptionalMs(metric.interval)},
          {"initialDelayMs", metric.initial_delay.count()},
          {"count", metric.count ? json::value(*metric.count) : json::value(nullptr)},
          {"failureLimit", metric.failure_limit},
          {"inconclusiveLimit", metric.inconclusive_limit},
          {"consecutiveErrorLimit", metric.consecutive_error_limit},
          {"consecutiveSuccessLimit", metric.consecutive_success_limit},
          {"successCondition", Text(metric.success ? metric.success->text() : "")},
          {"failureCondition", Text(metric.failure ? metric.failure->text() : "")},
          {"provider", ProviderToJson(metric)},
          {"dryRun", metric.dry_run},
          {"kept", metric.kept}};
}

json::object ResultToJson(const MetricResult& result) {
  json::array measurements;
  for (const Measurement& one : result.measurements) {
    measurements.push_back(json::array{one.started.time_since_epoch().count(),
                                       one.finished.time_since_epoch().count(), Text(PhaseName(one.phase)),
                                       Text(one.value), Text(one.message)});
  }
  return {{"phase", Text(PhaseName(result.phase))},
          {"message", Text(result.message)},
          {"successful", result.successful},
          {"failed", result.failed},
          {"inconclusive", result.inconclusive},
          {"error", result.error},
          {"consecutiveError", result.consecutive_error},
          {"consecutiveSuccess", result.consecutive_success},
          {"measurements", std::move(measurements)},
          {"dropped", result.dropped},
          {"inFlightMs", OptionalTime(result.in_flight)},
          {"weir", result.weir ? result.weir->ToJson() : json::value(nullptr)}};
}

// ---- in; every member is asked for by at(), which throws if it is missing

[[noreturn]] void Reject(const std::string& what) {
  throw json::system_error(make_error_code(json::error::not_exact), what);
}

Phase PhaseOf(const json::value& value) {
  const std::string name = TextOf(value);
  for (uint8_t phase = 0; phase <= static_cast<uint8_t>(Phase::kFailed); ++phase) {
    if (PhaseName(static_cast<Phase>(phase)) == name) return static_cast<Phase>(phase);
  }
  Reject("phase " + name);
}

WeirQuery WeirOf(const json::object& in) {
  WeirQuery weir;
  const auto measure = ParseMeasure(TextOf(in.at("measure")));
  if (!measure) Reject("measure");
  weir.measure = *measure;
  weir.alpha = in.at("alpha").to_number<double>();
  weir.tolerance = in.at("tolerance").to_number<double>();
  weir.until_confident = in.at("untilConfident").as_bool();
  return weir;
}

void ReadProvider(const json::object& in, Metric& metric) {
  if (const auto* weir = in.if_contains("weir")) {
    metric.provider = WeirOf(weir->as_object());
    return;
  }
  const auto* prometheus = in.if_contains("prometheus");
  if (prometheus == nullptr) metric.provider = WebRequest{};
  metric.sealed = TextOf(prometheus != nullptr ? *prometheus : in.at("web"));
  if (metric.sealed.empty()) Reject("provider");
}

std::optional<Condition> ConditionOf(const json::value& value) {
  const std::string text = TextOf(value);
  if (text.empty()) return std::nullopt;
  auto condition = Condition::Parse(text);
  if (!condition.ok()) Reject("condition " + text);
  return *std::move(condition);
}

Metric MetricOf(const json::object& in) {
  Metric metric;
  metric.name = TextOf(in.at("name"));
  if (!in.at("intervalMs").is_null()) metric.interval = Duration(in.at("intervalMs").to_number<int64_t>());
  metric.initial_delay = Duration(in.at("initialDelayMs").to_number<int64_t>());
  if (!in.at("count").is_null()) metric.count = in.at("count").to_number<uint32_t>();
  metric.failure_limit = in.at("failureLimit").to_number<int32_t>();
  metric.inconclusive_limit = in.at("inconclusiveLimit").to_number<int32_t>();
  metric.consecutive_error_limit = in.at("consecutiveErrorLimit").to_number<int32_t>();
  metric.consecutive_success_limit = in.at("consecutiveSuccessLimit").to_number<int32_t>();
  metric.success = ConditionOf(in.at("successCondition"));
  metric.failure = ConditionOf(in.at("failureCondition"));
  ReadProvider(in.at("provider").as_object(), metric);
  metric.dry_run = in.at("dryRun").as_bool();
  metric.kept = in.at("kept").to_number<uint32_t>();
  return metric;
}

MetricResult ResultOf(const json::object& in, const Metric& metric) {
  MetricResult result;
  result.phase = PhaseOf(in.at("phase"));
  result.message = TextOf(in.at("message"));
  result.successful = in.at("successful").to_number<uint32_t>();
  result.failed = in.at("failed").to_number<uint32_t>();
  result.inconclusive = in.at("inconclusive").to_number<uint32_t>();
  result.error = in.at("error").to_number<uint32_t>();
  result.consecutive_error = in.at("consecutiveError").to_number<uint32_t>();
  result.consecutive_success = in.at("consecutiveSuccess").to_number<uint32_t>();
  for (const json::value& value : in.at("measurements").as_array()) {
    const json::array& one = value.as_array();
    result.measurements.push_back(
        {TimeOf(one.at(0)), TimeOf(one.at(1)), PhaseOf(one.at(2)), TextOf(one.at(3)), TextOf(one.at(4))});
  }
  result.dropped = in.at("dropped").to_number<uint64_t>();
  result.in_flight = OptionalTimeOf(in.at("inFlightMs"));
  if (const auto* weir = std::get_if<WeirQuery>(&metric.provider)) {
    result.weir.emplace(*weir);
    if (!result.weir->Restore(in.at("weir"))) Reject("weir");
  }
  return result;
}

}  // namespace

std::string ToJson(const Run& run) {
  json::array metrics, results;
  for (const Metric& metric : run.metrics) metrics.push_back(MetricToJson(metric));
  for (const MetricResult& result : run.results) results.push_back(ResultToJson(result));
  return json::serialize(json::object{{"version", kVersion},
                                      {"id", Text(run.id)},
                                      {"metrics", std::move(metrics)},
                                      {"results", std::move(results)},
                                      {"phase", Text(PhaseName(run.phase))},
                                      {"message", Text(run.message)},
                                      {"startedMs", run.started.time_since_epoch().count()},
                                      {"finishedMs", OptionalTime(run.finished)},
                                      {"terminating", run.terminating}});
}

Result<Run> RunFromJson(std::string_view text) try {
  // A provider's words may be bytes that are no UTF-8.
  json::parse_options options;
  options.allow_invalid_utf8 = true;
  const json::value value = json::parse({text.data(), text.size()}, {}, options);
  const json::object& in = value.as_object();
  const auto version = in.at("version").to_number<uint64_t>();
  if (version != kVersion) {
    return Error(absl::StatusCode::kDataLoss,
                 "analysis run: version is {}, expected {}; use the controller that wrote it", version,
                 kVersion);
  }
  Run run;
  run.id = TextOf(in.at("id"));
  for (const json::value& metric : in.at("metrics").as_array())
    run.metrics.push_back(MetricOf(metric.as_object()));
  const json::array& results = in.at("results").as_array();
  if (results.size() != run.metrics.size()) Reject("results");
  for (size_t i = 0; i < results.size(); ++i)
    run.results.push_back(ResultOf(results[i].as_object(), run.metrics[i]));
  run.phase = PhaseOf(in.at("phase"));
  run.message = TextOf(in.at("message"));
  run.started = TimeOf(in.at("startedMs"));
  run.finished = OptionalTimeOf(in.at("finishedMs"));
  run.terminating = in.at("terminating").as_bool();
  return run;
} catch (const std::exception& error) {  // out of range, another type, not JSON
  return Error(absl::StatusCode::kDataLoss, "analysis run: {}", error.what());
}

void Reattach(Run& run, const std::vector<Metric>& resolved) {
  for (Metric& metric : run.metrics) {
    if (metric.sealed.empty()) continue;
    for (const Metric& now : resolved) {
      if (now.name != metric.name || Fingerprint(now.provider) != metric.sealed) continue;
      metric.provider = now.provider;
      metric.sealed.clear();
      break;
    }
  }
}

}  // namespace weir::analysis
