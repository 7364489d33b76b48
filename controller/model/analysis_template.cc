// argoproj.io/v1alpha1 AnalysisTemplate: what Weir carries out of it, and every other field and provider of
// Argo's refused by name with the reason. Texts with {{args...}} are looked at once their values are known.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <set>

#include "common/url.h"
#include "controller/analysis/json_path.h"
#include "controller/analysis/time_expression.h"
#include "controller/model/analysis_fields.h"
#include "controller/model/kinds.h"

namespace weir::model {
namespace {

using analysis::Argument;
using analysis::MetricTemplate;

constexpr std::string_view kOtherProvider = "Weir asks Prometheus, the web and its own kernel figures";
constexpr std::string_view kUsePrometheus = "use prometheus, web or weir";
constexpr std::string_view kHeader = "give an Authorization header in headers";

// Argo Rollouts' providers, as of v1.10.
constexpr Refusal kProviderRefused[] = {
    {"job", "Weir does not run Jobs", "use web and let the job be asked over HTTP"},
    {"kayenta", kOtherProvider, "use weir, which compares canary and stable itself"},
    {"datadog", kOtherProvider, kUsePrometheus},
    {"newRelic", kOtherProvider, kUsePrometheus},
    {"wavefront", kOtherProvider, kUsePrometheus},
    {"cloudWatch", kOtherProvider, kUsePrometheus},
    {"graphite", kOtherProvider, kUsePrometheus},
    {"influxdb", kOtherProvider, kUsePrometheus},
    {"skywalking", kOtherProvider, kUsePrometheus},
    {"plugin", "Weir does not run Argo's metric plugins", kUsePrometheus},
};
constexpr Refusal kAuthenticationRefused[] = {
    {"sigv4", "Weir does not sign for AWS", "put a signing proxy before it"},
    {"oauth2", "Weir does not fetch tokens", kHeader},
};
constexpr Refusal kWebRefused[] = {
    {"authentication", "Weir does not fetch tokens", kHeader},
};
bool HasPlaceholder(std::string_view text) { return text.find("{{") != std::string_view::npos; }

/// A string, or an integer as Argo's int-or-string fields may be; "" if absent or after a complaint.
std::string TextAt(const Cursor& map, std::string_view key, bool or_integer = false) {
  const auto field = map.Find(key);
  if (!field) return "";
  const YamlNode& node = field->node();
  const bool integer =
      node.kind == YamlNode::Kind::kScalar && node.plain && TypeOfPlain(node.text) == PlainType::kInteger;
  if (or_integer && integer) return node.text;
  return field->String().value_or("");
}

boost::json::value JsonOf(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return nullptr;
    case YamlNode::Kind::kSequence: {
      boost::json::array list;
      for (const YamlPtr& item : node.items) list.push_back(JsonOf(*item));
      return list;
    }
    case YamlNode::Kind::kMap: {
      boost::json::object map;
      for (const YamlEntry& entry : node.entries) map[entry.key] = JsonOf(*entry.value);
      return map;
    }
    case YamlNode::Kind::kScalar:
      break;
  }
  const PlainType type = node.plain ? TypeOfPlain(node.text) : PlainType::kString;
  const char *begin = node.text.data(), *end = begin + node.text.size();
  if (type == PlainType::kBoolean) return node.text == "true" || node.text == "True" || node.text == "TRUE";
  int64_t integer = 0;
  if (type == PlainType::kInteger && std::from_chars(begin, end, integer).ptr == end) return integer;
  double number = 0;
  if (type != PlainType::kString && std::from_chars(begin, end, number).ptr == end) return number;
  return boost::json::string(node.text);
}

void CheckUrl(const Cursor& map, std::string_view key, const std::string& text) {
  const auto field = map.Find(key);
  if (!field || text.empty() || HasPlaceholder(text)) return;
  if (const auto url = ParseUrl(text); !url.ok()) field->FailText(Message(url.status()));
}

std::vector<analysis::Header> ReadHeaders(const Cursor& map) {
  std::vector<analysis::Header> headers;
  const auto list = map.Find("headers");
  if (!list) return headers;
  const auto items = list->Items();
  for (const Cursor& item : items) {
    if (!item.ExpectMap({"key", "value"})) continue;
    analysis::Header header{item.RequireString("key", "the name of a header").value_or(""),
                            TextAt(item, "value")};
    const auto bad = [](char c) { return c == '\r' || c == '\n' || c == '\0'; };
    if (std::ranges::any_of(header.key, [](char c) { return c <= ' ' || c == ':' || c == 0x7f; }))
      item.Find("key")->Fail("the name of a header, without spaces and colons");
    if (std::ranges::any_of(header.value, bad)) item.Find("value")->Fail("a header's value in one line");
    headers.push_back(std::move(header));
  }
  return headers;
}

void ReadRange(const Cursor& field, analysis::PrometheusQuery& query) {
  if (!field.ExpectMap({"start", "end", "step"})) return;
  analysis::RangeQuery range;
  range.start = field.RequireString("start", "a time", "such as now() - duration(\"5m\")").value_or("");
  range.end = field.RequireString("end", "a time", "such as now()").value_or("");
  range.step = field.RequireString("step", "a duration", "such as 1m").value_or("");
  for (const auto& [key, text] : {std::pair("start", &range.start), std::pair("end", &range.end)}) {
    if (text->empty() || HasPlaceholder(*text)) continue;
    if (const auto time = analysis::EvaluateTime(*text, {}); !time.ok())
      field.Find(key)->FailText(Message(time.status()));
  }
  if (!range.step.empty() && !HasPlaceholder(range.step)) {
    const auto step = analysis::ParseGoDuration(range.step);
    if (!step || *step == analysis::Duration{0}) field.Find("step")->Fail("a duration above 0", "such as 1m");
  }
  query.range = std::move(range);
}

analysis::PrometheusQuery ReadPrometheus(const Cursor& map) {
  analysis::PrometheusQuery query;
  if (!map.ExpectMap(
          {"address", "query", "rangeQuery", "headers", "timeout", "insecure", "caCert", "authentication"}))
    return query;
  query.address =
      map.RequireString("address", "the URL of a Prometheus", "such as http://prometheus:9090").value_or("");
  CheckUrl(map, "address", query.address);
  query.query = map.RequireString("query", "a query in PromQL").value_or("");
  if (const auto range = map.Find("rangeQuery")) ReadRange(*range, query);
  query.headers = ReadHeaders(map);
  if (const auto timeout = map.Find("timeout"))
    query.timeout = std::chrono::seconds(timeout->Integer(1, 3600).value_or(query.timeout.count()));
  query.insecure = map.BooleanAt("insecure").value_or(false);
  query.ca_cert = TextAt(map, "caCert");
  const auto authentication = map.Find("authentication");
  if (!authentication || !authentication->ExpectMap({"basicAuth"}, kAuthenticationRefused)) return query;
  if (const auto basic = authentication->Find("basicAuth");
      basic && basic->ExpectMap({"username", "password"})) {
    query.username = basic->RequireString("username", "a user's name").value_or("");
    query.password = basic->RequireString("password", "a password").value_or("");
  }
  return query;
}

analysis::WebRequest ReadWeb(const Cursor& map) {
  analysis::WebRequest web;
  if (!map.ExpectMap(
          {"url", "method", "headers", "body", "jsonBody", "timeoutSeconds", "jsonPath", "insecure"},
          kWebRefused)) {
    return web;
  }
  web.url = map.RequireString("url", "a URL").value_or("");
  CheckUrl(map, "url", web.url);
  if (const auto method = map.Find("method"))
    web.method = method->OneOf({"GET", "POST", "PUT"}).value_or(web.method);
  web.headers = ReadHeaders(map);
  web.body = TextAt(map, "body");
  if (const auto body = map.Find("jsonBody")) {
    if (!web.body.empty()) body->FailText(Complaint("body and jsonBody", "one of them", "remove one"));
    web.body = boost::json::serialize(JsonOf(body->node()));
    web.json_body = true;
  }
  if (web.method == "GET" && !web.body.empty())
    map.FailText(Complaint("a body of a GET", "none", "give method: POST or PUT"));
  if (const auto timeout = map.Find("timeoutSeconds"))
    web.timeout = std::chrono::seconds(timeout->Integer(1, 3600).value_or(web.timeout.count()));
  web.insecure = map.BooleanAt("insecure").value_or(false);
  web.json_path = TextAt(map, "jsonPath");
  if (!HasPlaceholder(web.json_path)) {
    if (const auto path = analysis::JsonPath::Parse(web.json_path); !path.ok())
      map.Find("jsonPath")->FailText(Message(path.status()));
  }
  return web;
}

/// A number above `min`, at most `max`.
double ReadNumber(const Cursor& map, std::string_view key, double min, double max, double otherwise) {
  const auto field = map.Find(key);
  if (!field) return otherwise;
  const YamlNode& node = field->node();
  double value = 0;
  const char* const end = node.text.data() + node.text.size();
  const bool number = node.kind == YamlNode::Kind::kScalar && node.plain &&
                      std::from_chars(node.text.data(), end, value).ptr == end && !node.text.empty();
  if (number && value > min && value <= max) return value;
  field->Fail(fmt::format("a number above {} and at most {}", min, max));
  return otherwise;
}

analysis::WeirQuery ReadWeir(const Cursor& map) {
  analysis::WeirQuery query;
  if (!map.ExpectMap({"measure", "alpha", "tolerance", "untilConfident"})) return query;
  if (const auto measure = map.Require("measure", "what is counted as bad", "such as errors")) {
    const auto name =
        measure->OneOf({"errors", "errorConnections", "failedConnects", "latencyP90", "latencyP99"});
    if (name) query.measure = *analysis::ParseMeasure(*name);
  }
  query.alpha = ReadNumber(map, "alpha", 0, 0.5, query.alpha);
  query.tolerance = ReadNumber(map, "tolerance", 0, 100, query.tolerance);
  query.until_confident = map.BooleanAt("untilConfident").value_or(false);
  return query;
}

void ReadProvider(const Cursor& metric, MetricTemplate& read) {
  constexpr std::string_view kRule = "exactly one of prometheus, web, weir";
  const auto provider = metric.Require("provider", kRule);
  if (!provider || !provider->ExpectMap({"prometheus", "web", "weir"}, kProviderRefused)) return;
  const auto& entries = provider->node().entries;
  if (entries.size() != 1) {
    provider->FailText(Complaint(fmt::format("{} providers", entries.size()), kRule, ""));
    return;
  }
  if (const auto prometheus = provider->Find("prometheus")) {
    read.provider = ReadPrometheus(*prometheus);
  } else if (const auto web = provider->Find("web")) {
    read.provider = ReadWeb(*web);
  } else if (const auto weir = provider->Find("weir")) {
    read.provider = ReadWeir(*weir);
    for (const std::string_view key : {"successCondition", "failureCondition"}) {
      if (const auto condition = metric.Find(key))
        condition->FailText(Complaint(key, "none with the provider weir, whose test decides", "remove it"));
    }
  } else if (provider->node().entries[0].value->kind == YamlNode::Kind::kNull) {
    provider->FailText(Complaint("a provider without fields", kRule, ""));
  }
}

MetricTemplate ReadMetric(const Cursor& metric) {
  MetricTemplate read;
  if (!metric.ExpectMap({"name", "interval", "initialDelay", "count", "successCondition", "failureCondition",
                         "failureLimit", "inconclusiveLimit", "consecutiveErrorLimit",
                         "consecutiveSuccessLimit", "provider"})) {
    return read;
  }
  read.name = metric.RequireString("name", "the name of the metric").value_or("");
  read.interval = TextAt(metric, "interval");
  read.initial_delay = TextAt(metric, "initialDelay");
  read.count = TextAt(metric, "count", true);
  read.failure_limit = TextAt(metric, "failureLimit", true);
  read.inconclusive_limit = TextAt(metric, "inconclusiveLimit", true);
  read.consecutive_error_limit = TextAt(metric, "consecutiveErrorLimit", true);
  read.consecutive_success_limit = TextAt(metric, "consecutiveSuccessLimit", true);
  read.success_condition = TextAt(metric, "successCondition");
  read.failure_condition = TextAt(metric, "failureCondition");
  ReadProvider(metric, read);
  for (const auto& [field, problem] : analysis::CheckMetric(read)) {
    const auto at = metric.Find(field);
    if (at) {
      at->FailText(problem);
    } else {
      metric.FailText(fmt::format("{}: {}", field, problem));
    }
  }
  return read;
}

void ReadMetrics(const Cursor& spec, analysis::Template& read) {
  const auto metrics = spec.Find("metrics");
  if (!metrics) {
    if (!spec.Find("templates")) spec.Require("metrics", "a list of metrics");
    return;
  }
  const auto items = metrics->Items();
  if (metrics->node().kind == YamlNode::Kind::kSequence && items.empty())
    metrics->Fail("at least one metric");
  std::set<std::string> names;
  for (const Cursor& item : items) {
    MetricTemplate metric = ReadMetric(item);
    if (!metric.name.empty() && !names.insert(metric.name).second) item.Find("name")->Fail("each name once");
    read.metrics.push_back(std::move(metric));
  }
}

std::vector<std::string> ReadTemplateNames(const Cursor& list) {
  std::vector<std::string> names;
  const auto items = list.Items();
  for (const Cursor& item : items) {
    if (!item.ExpectMap({"templateName", "clusterScope"})) continue;
    if (auto name = item.RequireString("templateName", "the name of an AnalysisTemplate"))
      names.push_back(*std::move(name));
    if (item.BooleanAt("clusterScope").value_or(false)) {
      item.Find("clusterScope")
          ->FailText(Complaint("clusterScope", "it left out: Weir's templates belong to a namespace",
                               "put an AnalysisTemplate beside the Rollout"));
    }
  }
  return names;
}

}  // namespace

AnalysisTemplate ReadAnalysisTemplate(const Cursor& document, const Metadata& metadata) {
  AnalysisTemplate read;
  read.key = metadata.key;
  read.spec.name = metadata.key.name;
  document.ExpectMap({"apiVersion", "kind", "metadata", "spec", "status"});
  if (analysis::BuiltinTemplate(metadata.key.name) != nullptr) {
    document.FailText(Complaint(fmt::format("the name {}", Quote(metadata.key.name)),
                                "another: it is built in", "rename the template"));
  }
  const auto spec = document.Require("spec", "a map with metrics");
  if (!spec || !spec->ExpectMap({"args", "metrics", "templates", "dryRun", "measurementRetention"}))
    return read;
  if (const auto args = spec->Find("args")) read.spec.args = ReadArguments(*args, ArgumentsOf::kTemplate);
  if (const auto templates = spec->Find("templates")) read.spec.templates = ReadTemplateNames(*templates);
  if (const auto dry_run = spec->Find("dryRun")) read.spec.dry_run = ReadDryRun(*dry_run);
  if (const auto retention = spec->Find("measurementRetention"))
    read.spec.retention = ReadRetention(*retention);
  ReadMetrics(*spec, read.spec);
  return read;
}

}  // namespace weir::model
