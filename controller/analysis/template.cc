#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>

#include "controller/analysis/metric.h"

namespace weir::analysis {
namespace {

struct MeasureWord {
  Measure measure;
  std::string_view name;
};
constexpr MeasureWord kMeasures[] = {{Measure::kErrors, "errors"},
                                     {Measure::kErrorConnections, "errorConnections"},
                                     {Measure::kFailedConnects, "failedConnects"},
                                     {Measure::kLatencyP90, "latencyP90"},
                                     {Measure::kLatencyP99, "latencyP99"}};

constexpr int64_t kMaxCount = 1'000'000;
constexpr Duration kStepLength = std::chrono::minutes(1);  // of a `weir` metric without count, as a step
constexpr Duration kConfidentLimit = std::chrono::minutes(10);
constexpr Duration kWeirInterval = std::chrono::seconds(5);

bool HasPlaceholder(std::string_view text) { return text.find("{{") != std::string_view::npos; }

std::optional<int64_t> ParseInteger(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Reads one metric's texts; collects what is wrong. With `partly`, texts with placeholders are passed over.
class MetricReader {
 public:
  MetricReader(const MetricTemplate& from, bool partly) : from_(from), partly_(partly) {}

  Metric Read() {
    Metric metric;
    metric.name = from_.name;
    metric.provider = from_.provider;
    metric.interval = Length("interval", from_.interval);
    metric.initial_delay = Length("initialDelay", from_.initial_delay).value_or(Duration{0});
    const int64_t count = Integer("count", from_.count, 0, kMaxCount, 0);
    if (count > 0) {
      metric.count = static_cast<uint32_t>(count);
    } else if (from_.interval.empty()) {
      metric.count = 1;
    }
    const auto limit = [this](std::string_view field, const std::string& text, int64_t min,
                              int64_t otherwise) {
      return static_cast<int32_t>(Integer(field, text, min, kMaxCount, otherwise));
    };
    metric.failure_limit = limit("failureLimit", from_.failure_limit, -1, 0);
    metric.inconclusive_limit = limit("inconclusiveLimit", from_.inconclusive_limit, 0, 0);
    metric.consecutive_error_limit = limit("consecutiveErrorLimit", from_.consecutive_error_limit, 0, 4);
    metric.consecutive_success_limit =
        limit("consecutiveSuccessLimit", from_.consecutive_success_limit, 0, 0);
    if (count > 1 && from_.interval.empty() && !std::holds_alternative<WeirQuery>(from_.provider))
      Fail("interval", "found none, expected one when count is above 1");
    metric.success = ReadCondition("successCondition", from_.success_condition);
    metric.failure = ReadCondition("failureCondition", from_.failure_condition);
    return metric;
  }

  std::vector<std::pair<std::string, std::string>> problems;

 private:
  void Fail(std::string_view field, std::string problem) {
    problems.emplace_back(std::string(field), std::move(problem));
  }
  bool Absent(const std::string& text) const { return text.empty() || (partly_ && HasPlaceholder(text)); }

  std::optional<Duration> Length(std::string_view field, const std::string& text) {
    if (Absent(text)) return std::nullopt;
    const auto length = ParseGoDuration(text);
    const bool interval = field == "interval";
    if (!length || (interval && *length == Duration{0}))
      Fail(field, fmt::format("found {:?}, expected a duration{} such as 10s, 5m or 1h30m", text,
                              interval ? " above 0" : ""));
    return length;
  }
  int64_t Integer(std::string_view field, const std::string& text, int64_t min, int64_t max,
                  int64_t otherwise) {
    if (Absent(text)) return otherwise;
    const auto value = ParseInteger(text);
    if (value && *value >= min && *value <= max) return *value;
    Fail(field, fmt::format("found {:?}, expected an integer from {} to {}", text, min, max));
    return otherwise;
  }
  std::optional<Condition> ReadCondition(std::string_view field, const std::string& text) {
    if (Absent(text)) return std::nullopt;
    auto condition = Condition::Parse(text);
    if (condition.ok()) return *std::move(condition);
    Fail(field, Message(condition.status()));
    return std::nullopt;
  }

  const MetricTemplate& from_;
  bool partly_;
};

/// Applies `change` to every text of a metric that may hold placeholders.
template <typename Change>
Status ForEachText(MetricTemplate& metric, const Change& change) {
  for (std::string* text :
       {&metric.interval, &metric.initial_delay, &metric.count, &metric.failure_limit,
        &metric.inconclusive_limit, &metric.consecutive_error_limit, &metric.consecutive_success_limit,
        &metric.success_condition, &metric.failure_condition}) {
    RETURN_IF_ERROR(change(*text));
  }
  std::vector<std::string*> texts;
  if (auto* prometheus = std::get_if<PrometheusQuery>(&metric.provider)) {
    texts = {&prometheus->address, &prometheus->query, &prometheus->username, &prometheus->password,
             &prometheus->ca_cert};
    if (prometheus->range)
      texts.insert(texts.end(),
                   {&prometheus->range->start, &prometheus->range->end, &prometheus->range->step});
    for (Header& header : prometheus->headers) texts.insert(texts.end(), {&header.key, &header.value});
  } else if (auto* web = std::get_if<WebRequest>(&metric.provider)) {
    texts = {&web->method, &web->url, &web->body, &web->json_path};
    for (Header& header : web->headers) texts.insert(texts.end(), {&header.key, &header.value});
  }
  for (std::string* text : texts) RETURN_IF_ERROR(change(*text));
  return OkStatus();
}

/// Whether `pattern` matches somewhere in the name, as Go's regexp does; "*" matches all.
Result<bool> Matches(std::string_view field, const std::string& pattern, const std::string& name) {
  if (pattern == "*") return true;
  RE2::Options options;
  options.set_log_errors(false);
  const RE2 expression(pattern, options);
  if (!expression.ok()) {
    return InvalidArgument("{}: found {:?} ({:?}), expected a pattern of metric names", field, pattern,
                           expression.error());
  }
  return RE2::PartialMatch(name, expression);
}

class Resolver {
 public:
  Resolver(const RunRequest& request, const FindTemplate& find) : request_(request), find_(find) {}

  Result<std::vector<Metric>> Run() {
    if (request_.templates.empty()) return InvalidArgument("templates: found none, expected at least one");
    for (const std::string& name : request_.templates) RETURN_IF_ERROR(AddTemplate(name, 0));
    RETURN_IF_ERROR(AddRequested());
    std::vector<Metric> metrics;
    for (const MetricTemplate& metric : metrics_) {
      ASSIGN_OR_RETURN(Metric resolved, Resolve(metric));
      metrics.push_back(std::move(resolved));
    }
    if (metrics.empty()) return InvalidArgument("metrics: found none, expected at least one");
    RETURN_IF_ERROR(SetDryRun(metrics));
    RETURN_IF_ERROR(SetRetention(metrics));
    ShareAlpha(metrics);
    return metrics;
  }

 private:
  static constexpr size_t kMaxNesting = 8;

  Status AddTemplate(const std::string& name, size_t depth) {
    if (depth > kMaxNesting)
      return InvalidArgument(
          "AnalysisTemplate {}: found templates within templates {} deep, expected fewer (a circle?)", name,
          depth);
    const Template* found = BuiltinTemplate(name);
    if (found == nullptr) found = find_(name);
    if (found == nullptr) {
      return InvalidArgument("templateName: found {:?}, expected an AnalysisTemplate that exists, or {}",
                             name, fmt::join(BuiltinTemplateNames(), ", "));
    }
    if (std::ranges::find(added_, name) != added_.end()) return OkStatus();
    added_.push_back(name);
    for (const Argument& argument : found->args) RETURN_IF_ERROR(AddDeclared(name, argument));
    for (const MetricTemplate& metric : found->metrics) {
      if (std::ranges::find(metrics_, metric.name, &MetricTemplate::name) != metrics_.end()) {
        return InvalidArgument(
            "AnalysisTemplate {}: found the metric {:?} a second time, expected each name once", name,
            metric.name);
      }
      metrics_.push_back(metric);
    }
    dry_run_.insert(dry_run_.end(), found->dry_run.begin(), found->dry_run.end());
    retention_.insert(retention_.end(), found->retention.begin(), found->retention.end());
    for (const std::string& other : found->templates) RETURN_IF_ERROR(AddTemplate(other, depth + 1));
    return OkStatus();
  }

  Status AddDeclared(const std::string& template_name, const Argument& argument) {
    const std::optional<std::string> value = ValueOf(argument);
    auto [known, is_new] = declared_.emplace(argument.name, value);
    if (is_new) return OkStatus();
    if (known->second && value && *known->second != *value) {
      return InvalidArgument(
          "AnalysisTemplate {}: found another value of args.{}, expected the same in all templates",
          template_name, argument.name);
    }
    if (value) known->second = value;
    return OkStatus();
  }

  Status AddRequested() {
    for (const Argument& argument : request_.args) {
      const auto declared = declared_.find(argument.name);
      if (declared == declared_.end()) return Undeclared(argument.name);
      declared->second = ValueOf(argument);
    }
    for (const auto& [name, value] : declared_) {
      if (!value)
        return InvalidArgument("args.{}: found no value, expected one from the rollout or the template",
                               name);
    }
    dry_run_.insert(dry_run_.end(), request_.dry_run.begin(), request_.dry_run.end());
    retention_.insert(retention_.end(), request_.retention.begin(), request_.retention.end());
    return OkStatus();
  }

  Status Undeclared(const std::string& name) const {
    std::vector<std::string_view> names;
    for (const auto& [declared, value] : declared_) names.push_back(declared);
    return InvalidArgument("args.{}: found an argument of no template, expected {}{}", name,
                           names.empty() ? "none: they declare none" : "one of ", fmt::join(names, ", "));
  }

  std::optional<std::string> ValueOf(const Argument& argument) const {
    if (argument.from == Argument::From::kStable) return request_.stable;
    if (argument.from == Argument::From::kLatest) return request_.latest;
    return argument.value;
  }

  Result<Metric> Resolve(MetricTemplate metric) {
    const auto value = [this](std::string_view name) -> const std::string* {
      const auto found = declared_.find(std::string(name));
      return found == declared_.end() || !found->second ? nullptr : &*found->second;
    };
    const Status status = ForEachText(metric, [&](std::string& text) -> Status {
      if (!HasPlaceholder(text)) return OkStatus();
      ASSIGN_OR_RETURN(text, Substitute(text, value));
      return OkStatus();
    });
    if (!status.ok()) return Annotate(status, fmt::format("metric {}", metric.name));
    MetricReader reader(metric, false);
    Metric resolved = reader.Read();
    if (!reader.problems.empty()) {
      return InvalidArgument("metric {}: {}: {}", metric.name, reader.problems[0].first,
                             reader.problems[0].second);
    }
    if (auto* weir = std::get_if<WeirQuery>(&resolved.provider)) {
      SetWeirEnd(metric, *weir, resolved);
    } else if (!request_.background && !resolved.count) {
      return InvalidArgument(
          "metric {}: count: found none, expected one: as a step it would never end (or use it in the "
          "background)",
          metric.name);
    }
    return resolved;
  }

  void SetWeirEnd(const MetricTemplate& metric, WeirQuery& weir, Metric& resolved) const {
    if (metric.interval.empty()) resolved.interval = kWeirInterval;
    if (metric.count.empty() || metric.count == "0") resolved.count.reset();
    weir.until_confident = weir.until_confident || request_.until_confident;
    if (request_.limit && (weir.until_confident || !request_.background)) {
      resolved.count = CountFor(*request_.limit, *resolved.interval);
    } else if (!resolved.count && (weir.until_confident || !request_.background)) {
      resolved.count = CountFor(weir.until_confident ? kConfidentLimit : kStepLength, *resolved.interval);
    }
  }
  static uint32_t CountFor(Duration length, Duration interval) {
    return static_cast<uint32_t>(
        std::clamp<int64_t>((length + interval - Duration{1}) / interval, 1, kMaxCount));
  }

  Status SetDryRun(std::vector<Metric>& metrics) const {
    for (const std::string& pattern : dry_run_) {
      bool any = false;
      for (Metric& metric : metrics) {
        ASSIGN_OR_RETURN(const bool matches, Matches("dryRun", pattern, metric.name));
        any = any || matches;
        metric.dry_run = metric.dry_run || matches;
      }
      if (!any)
        return InvalidArgument("dryRun: found {:?}, expected a pattern that matches a metric", pattern);
    }
    return OkStatus();
  }

  Status SetRetention(std::vector<Metric>& metrics) const {
    for (const Retention& retention : retention_) {
      for (Metric& metric : metrics) {
        ASSIGN_OR_RETURN(const bool matches, Matches("measurementRetention", retention.metric, metric.name));
        if (matches) metric.kept = std::clamp<uint32_t>(retention.limit, 1, kMaxKeptMeasurements);
      }
    }
    return OkStatus();
  }

  /// The chance of a false alarm is the run's. Dry runs alarm nobody.
  static void ShareAlpha(std::vector<Metric>& metrics) {
    const auto tests = std::ranges::count_if(metrics, [](const Metric& metric) {
      return std::holds_alternative<WeirQuery>(metric.provider) && !metric.dry_run;
    });
    for (Metric& metric : metrics) {
      if (auto* weir = std::get_if<WeirQuery>(&metric.provider))
        weir->alpha /= static_cast<double>(std::max<int64_t>(tests, 1));
    }
  }

  const RunRequest& request_;
  const FindTemplate& find_;
  std::vector<std::string> added_;
  std::vector<MetricTemplate> metrics_;
  std::map<std::string, std::optional<std::string>> declared_;
  std::vector<std::string> dry_run_;
  std::vector<Retention> retention_;
};

MetricTemplate Builtin(std::string_view name, Measure measure) {
  MetricTemplate metric;
  metric.name = name;
  metric.provider = WeirQuery{.measure = measure};
  return metric;
}

const std::array<Template, 3>& Builtins() {
  static const std::array<Template, 3> all = {
      Template{.name = "weir-success-rate",
               .metrics = {Builtin("errors", Measure::kErrors),
                           Builtin("error-connections", Measure::kErrorConnections)}},
      Template{.name = "weir-latency",
               .metrics = {Builtin("latency-p90", Measure::kLatencyP90),
                           Builtin("latency-p99", Measure::kLatencyP99)}},
      Template{.name = "weir-connect", .metrics = {Builtin("failed-connects", Measure::kFailedConnects)}}};
  return all;
}

struct GoUnit {
  std::string_view name;
  double ms;
};
// A unit goes before its beginnings.
constexpr GoUnit kGoUnits[] = {{"ns", 1e-6}, {"us", 1e-3},   {"\xc2\xb5s", 1e-3}, {"\xce\xbcs", 1e-3},
                               {"ms", 1},    {"s", 1'000.0}, {"m", 60'000.0},     {"h", 3'600'000.0}};

}  // namespace

std::string_view MeasureName(Measure measure) {
  return std::ranges::find(kMeasures, measure, &MeasureWord::measure)->name;
}
std::optional<Measure> ParseMeasure(std::string_view name) {
  const auto found = std::ranges::find(kMeasures, name, &MeasureWord::name);
  if (found == std::end(kMeasures)) return std::nullopt;
  return found->measure;
}

const Template* BuiltinTemplate(std::string_view name) {
  const auto found = std::ranges::find(Builtins(), name, &Template::name);
  return found == Builtins().end() ? nullptr : &*found;
}
std::vector<std::string_view> BuiltinTemplateNames() {
  std::vector<std::string_view> names;
  for (const Template& builtin : Builtins()) names.emplace_back(builtin.name);
  return names;
}

std::optional<Duration> ParseGoDuration(std::string_view text) {
  constexpr double kLongestMs = 3.2e12;  // a century
  if (text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return Duration{0};
  if (text.empty()) return std::nullopt;
  double sum = 0;
  while (!text.empty()) {
    if (text[0] != '.' && (text[0] < '0' || text[0] > '9')) return std::nullopt;
    double number = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    const auto unit =
        std::ranges::find_if(kGoUnits, [&](const GoUnit& u) { return text.starts_with(u.name); });
    if (unit == std::end(kGoUnits)) return std::nullopt;
    text.remove_prefix(unit->name.size());
    sum += number * unit->ms;
    if (!(sum <= kLongestMs)) return std::nullopt;
  }
  return Duration(static_cast<int64_t>(sum + 1e-9));
}

namespace {

/// On one line, whatever is in it.
std::string Shown(std::string_view tag) {
  const bool plain =
      std::ranges::all_of(tag, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
  return plain ? std::string(tag) : fmt::format("{:?}", tag);
}

}  // namespace

Result<std::string> Substitute(std::string_view text,
                               const std::function<const std::string*(std::string_view)>& value) {
  constexpr std::string_view kSpace = " \t";
  std::string out;
  while (true) {
    const size_t open = text.find("{{");
    out += text.substr(0, open);
    if (open == std::string_view::npos) return out;
    const size_t close = text.find("}}", open);
    if (close == std::string_view::npos)
      return InvalidArgument("found {{{{ without end in {:?}, expected }}}}", text.substr(open, 64));
    std::string_view tag = text.substr(open + 2, close - open - 2);
    tag.remove_prefix(std::min(tag.find_first_not_of(kSpace), tag.size()));
    tag = tag.substr(0, tag.find_last_not_of(kSpace) + 1);
    if (!tag.starts_with("args."))
      return InvalidArgument("found {{{{{}}}}}, expected {{{{args.NAME}}}}", Shown(tag.substr(0, 64)));
    const std::string* const found = value(tag.substr(5));
    if (found == nullptr)
      return InvalidArgument("found no value of {}, expected one", Shown(tag.substr(0, 128)));
    out += *found;
    text.remove_prefix(close + 2);
  }
}

std::vector<std::pair<std::string, std::string>> CheckMetric(const MetricTemplate& metric) {
  MetricReader reader(metric, true);
  reader.Read();
  return std::move(reader.problems);
}

Result<std::vector<Metric>> ResolveRun(const RunRequest& request, const FindTemplate& find) {
  return Resolver(request, find).Run();
}

}  // namespace weir::analysis
