#include "controller/prometheus/prometheus.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <charconv>
#include <limits>

#include "controller/analysis/time_expression.h"

namespace weir::prometheus {
namespace {

namespace json = boost::json;
using analysis::PrometheusQuery;
using analysis::TimePoint;

/// Up to this a question is a GET, which proxies that only read let pass; above it a POST.
constexpr size_t kMaxTarget = 4096;

std::string Seconds(std::chrono::milliseconds time) {
  return fmt::format("{}.{:03}", time.count() / 1000, time.count() % 1000);
}

std::string Base64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < text.size(); i += 3) {
    const auto byte = [&](size_t at) -> uint32_t {
      return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
    };
    const uint32_t bits = byte(i) << 16U | byte(i + 1) << 8U | byte(i + 2);
    out += kDigits[bits >> 18U & 63U];
    out += kDigits[bits >> 12U & 63U];
    out += i + 1 < text.size() ? kDigits[bits >> 6U & 63U] : '=';
    out += i + 2 < text.size() ? kDigits[bits & 63U] : '=';
  }
  return out;
}

Result<std::string> Parameters(const PrometheusQuery& query, TimePoint now) {
  std::string parameters = "query=" + EncodeQuery(query.query);
  if (!query.range) return parameters + "&time=" + Seconds(now.time_since_epoch());
  const auto start = analysis::EvaluateTime(query.range->start, now);
  if (!start.ok()) return Annotate(start.status(), "rangeQuery.start");
  const auto end = analysis::EvaluateTime(query.range->end, now);
  if (!end.ok()) return Annotate(end.status(), "rangeQuery.end");
  const auto step = analysis::ParseGoDuration(query.range->step);
  if (!step || *step == analysis::Duration{0})
    return InvalidArgument("rangeQuery.step: found {:?}, expected a duration above 0", query.range->step);
  if (*end < *start) return InvalidArgument("rangeQuery: found an end before the start, expected it after");
  return parameters + "&start=" + Seconds(start->time_since_epoch()) +
         "&end=" + Seconds(end->time_since_epoch()) + "&step=" + Seconds(*step);
}

Status Unreadable(std::string_view what) {
  return Error(absl::StatusCode::kUnavailable, "not an answer of Prometheus' API: {}", what);
}

/// The value of [time, "value"].
Result<double> Sample(const json::value& pair) {
  const json::array* const both = pair.if_array();
  if (both == nullptr || both->size() != 2 || !(*both)[1].is_string())
    return Unreadable("a sample is no [time, \"value\"]");
  const json::string& written = (*both)[1].get_string();
  std::string_view text(written.data(), written.size());
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "+Inf" || text == "Inf") return std::numeric_limits<double>::infinity();
  if (text == "-Inf") return -std::numeric_limits<double>::infinity();
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return Unreadable("a value is no number");
  return value;
}

Result<json::value> Values(const json::array& series, const char* member) {
  json::array values;
  for (const json::value& one : series) {
    const json::object* const object = one.if_object();
    if (object == nullptr) return Unreadable("a series is no object");
    if (object->contains("histogram") || object->contains("histograms"))
      return Error(absl::StatusCode::kUnavailable,
                   "the result is a histogram, expected numbers; use histogram_quantile()");
    const json::value* const samples = object->if_contains(member);
    if (samples == nullptr) return Unreadable("a series without samples");
    if (std::string_view(member) == "value") {
      ASSIGN_OR_RETURN(const double value, Sample(*samples));
      values.emplace_back(value);
      continue;
    }
    if (!samples->is_array()) return Unreadable("a series without samples");
    for (const json::value& sample : samples->get_array()) {
      ASSIGN_OR_RETURN(const double value, Sample(sample));
      values.emplace_back(value);
    }
  }
  return json::value(std::move(values));
}

std::string_view TextAt(const json::object& object, const char* name) {
  const json::value* const value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) return "";
  return {value->get_string().data(), value->get_string().size()};
}

Result<json::value> ReadData(const json::object& data) {
  const std::string_view type = TextAt(data, "resultType");
  const json::value* const result = data.if_contains("result");
  if (result == nullptr || !result->is_array()) return Unreadable("no result");
  if (type == "vector") return Values(result->get_array(), "value");
  if (type == "matrix") return Values(result->get_array(), "values");
  if (type != "scalar") {
    return Error(absl::StatusCode::kUnavailable,
                 "the result is of type {:?}, expected scalar, vector or matrix", type.substr(0, 32));
  }
  ASSIGN_OR_RETURN(const double value, Sample(*result));
  return json::value(value);
}

}  // namespace

Result<HttpCall> MakeCall(const PrometheusQuery& query, TimePoint now) {
  HttpCall call;
  auto url = ParseUrl(query.address);
  if (!url.ok()) return Annotate(url.status(), "address");
  call.url = *std::move(url);
  std::string path = call.url.target.substr(0, call.url.target.find('?'));
  while (path.ends_with('/')) path.pop_back();
  path += query.range ? "/api/v1/query_range" : "/api/v1/query";
  ASSIGN_OR_RETURN(std::string parameters, Parameters(query, now));
  if (path.size() + parameters.size() < kMaxTarget) {
    call.url.target = path + "?" + parameters;
  } else {
    call.method = "POST";
    call.url.target = std::move(path);
    call.headers.emplace_back("Content-Type", "application/x-www-form-urlencoded");
    call.body = std::move(parameters);
  }
  if (!query.username.empty())
    call.headers.emplace_back("Authorization", "Basic " + Base64(query.username + ":" + query.password));
  for (const analysis::Header& header : query.headers) call.headers.emplace_back(header.key, header.value);
  call.timeout = query.timeout;
  call.insecure = query.insecure;
  call.ca_pem = query.ca_cert;
  return call;
}

Result<json::value> ReadAnswer(const HttpAnswer& answer) {
  json::error_code error;
  const json::value body = json::parse(answer.body, error);
  const bool readable = !error && body.is_object();
  if (readable && TextAt(body.get_object(), "status") == "error") {
    return Error(absl::StatusCode::kUnavailable, "Prometheus: {}: {}",
                 TextAt(body.get_object(), "errorType").substr(0, 64),
                 TextAt(body.get_object(), "error").substr(0, 512));
  }
  if (answer.status < 200 || answer.status > 299)
    return Error(absl::StatusCode::kUnavailable, "found HTTP status {}, expected 2xx", answer.status);
  if (!readable) return Unreadable(error ? error.message() : "no object");
  const json::value* const data = body.get_object().if_contains("data");
  if (TextAt(body.get_object(), "status") != "success" || data == nullptr || !data->is_object())
    return Unreadable("no status success with data");
  return ReadData(data->get_object());
}

void Query(HttpClient& client, const PrometheusQuery& query, TimePoint now,
           std::function<void(Result<json::value>)> done) {
  auto call = MakeCall(query, now);
  if (!call.ok()) {
    // The client gives errors from the io_context's thread too.
    HttpCall impossible;
    impossible.method = "";
    client.Call(std::move(impossible), [done = std::move(done),
                                        status = call.status()](const Result<HttpAnswer>&) { done(status); });
    return;
  }
  client.Call(*std::move(call), [done = std::move(done)](Result<HttpAnswer> answer) {
    answer.ok() ? done(ReadAnswer(*answer)) : done(answer.status());
  });
}

}  // namespace weir::prometheus
