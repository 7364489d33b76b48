// From templates and arguments to a run's metrics: Argo's merging, substitution, defaults and limits.
#include <gtest/gtest.h>

#include "controller/analysis/metric.h"

namespace weir::analysis {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

MetricTemplate Prometheus(std::string name, std::string condition = "result[0] >= 0.95") {
  MetricTemplate metric;
  metric.name = std::move(name);
  metric.success_condition = std::move(condition);
  metric.provider =
      PrometheusQuery{.address = "http://p:9090", .query = "up{service=\"{{args.service-name}}\"}"};
  return metric;
}

class Templates : public testing::Test {
 protected:
  void Add(Template added) { templates_.push_back(std::move(added)); }
  Result<std::vector<Metric>> Resolve(const RunRequest& request) {
    return ResolveRun(request, [this](std::string_view name) -> const Template* {
      const auto found = std::ranges::find(templates_, name, &Template::name);
      return found == templates_.end() ? nullptr : &*found;
    });
  }
  std::string Error(const RunRequest& request) {
    const auto metrics = Resolve(request);
    return metrics.ok() ? "" : Message(metrics.status());
  }

 private:
  std::vector<Template> templates_;
};

TEST_F(Templates, ArgumentsAreMergedAndPutIn) {
  MetricTemplate metric = Prometheus("rate", "result[0] >= {{ args.least }}");
  metric.count = "{{args.count}}";
  metric.interval = "{{args.interval}}";
  std::get<PrometheusQuery>(metric.provider).headers = {{"Authorization", "Bearer {{ args.token }}"}};
  std::get<PrometheusQuery>(metric.provider).range =
      RangeQuery{"now() - duration(\"{{args.interval}}\")", "now()", "1m"};
  Add({.name = "t",
       .args = {{.name = "service-name"},
                {.name = "least", .value = "0.9"},
                {.name = "count", .value = "3"},
                {.name = "interval", .value = "1m"},
                {.name = "token", .value = "none"},
                {.name = "hash"}},
       .metrics = {metric}});
  const RunRequest request{.templates = {"t"},
                           .args = {{.name = "service-name", .value = "shop"},
                                    {.name = "token", .value = "secret"},
                                    {.name = "hash", .from = Argument::From::kLatest}},
                           .stable = "v1",
                           .latest = "v2"};
  const auto metrics = Resolve(request);
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  const Metric& got = metrics->at(0);
  EXPECT_EQ(got.count, 3U);
  EXPECT_EQ(got.interval, minutes(1));
  EXPECT_EQ(got.success->text(), "result[0] >= 0.9");
  const auto& query = std::get<PrometheusQuery>(got.provider);
  EXPECT_EQ(query.query, "up{service=\"shop\"}");
  EXPECT_EQ(query.headers[0].value, "Bearer secret");
  EXPECT_EQ(query.range->start, "now() - duration(\"1m\")");
}

TEST_F(Templates, RevisionsAreArguments) {
  MetricTemplate metric = Prometheus("rate");
  std::get<PrometheusQuery>(metric.provider).query = "{{args.old}} {{args.new}}";
  Add({.name = "t",
       .args = {{.name = "old", .from = Argument::From::kStable},
                {.name = "new", .from = Argument::From::kLatest}},
       .metrics = {metric}});
  const auto metrics = Resolve({.templates = {"t"}, .stable = "v1", .latest = "v2"});
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  EXPECT_EQ(std::get<PrometheusQuery>(metrics->at(0).provider).query, "v1 v2");
}

TEST_F(Templates, ErrorsNameWhatIsMissing) {
  Add({.name = "t", .args = {{.name = "service-name"}}, .metrics = {Prometheus("rate")}});
  Add({.name = "undeclared", .metrics = {Prometheus("rate")}});
  Add({.name = "again", .args = {{.name = "service-name", .value = "x"}}, .metrics = {Prometheus("rate")}});
  Add({.name = "other", .args = {{.name = "service-name", .value = "y"}}, .metrics = {Prometheus("second")}});
  Add({.name = "circle", .templates = {"circle2"}});
  Add({.name = "circle2", .templates = {"circle"}});
  MetricTemplate bad = Prometheus("bad");
  bad.provider = PrometheusQuery{};
  bad.count = "{{args.n}}";
  Add({.name = "bad", .args = {{.name = "n", .value = "many"}}, .metrics = {bad}});
  MetricTemplate endless = Prometheus("endless");
  endless.provider = PrometheusQuery{};
  endless.interval = "1m";
  Add({.name = "endless", .metrics = {endless}});
  const Argument service{.name = "service-name", .value = "shop"};
  EXPECT_EQ(Error({}), "templates: found none, expected at least one");
  EXPECT_EQ(Error({.templates = {"t"}}),
            "args.service-name: found no value, expected one from the rollout or the template");
  EXPECT_EQ(Error({.templates = {"undeclared"}}),
            "metric rate: found no value of args.service-name, expected one");
  EXPECT_EQ(Error({.templates = {"none"}}),
            "templateName: found \"none\", expected an AnalysisTemplate that exists, or weir-success-rate, "
            "weir-latency, "
            "weir-connect");
  EXPECT_EQ(Error({.templates = {"t", "again"}, .args = {service}}),
            "AnalysisTemplate again: found the metric \"rate\" a second time, expected each name once");
  EXPECT_EQ(
      Error({.templates = {"again", "other"}}),
      "AnalysisTemplate other: found another value of args.service-name, expected the same in all templates");
  EXPECT_EQ(Error({.templates = {"circle"}}), "metrics: found none, expected at least one");
  EXPECT_EQ(Error({.templates = {"bad"}}),
            "metric bad: count: found \"many\", expected an integer from 0 to 1000000");
  EXPECT_EQ(Error({.templates = {"endless"}}),
            "metric endless: count: found none, expected one: as a step it would never end (or use it in the "
            "background)");
  EXPECT_EQ(Error({.templates = {"endless"}, .background = true}), "");
  EXPECT_EQ(Error({.templates = {"t"}, .args = {service}, .dry_run = {"none"}}),
            "dryRun: found \"none\", expected a pattern that matches a metric");
  EXPECT_EQ(Error({.templates = {"t"}, .args = {service}, .dry_run = {"("}}).substr(0, 19),
            "dryRun: found \"(\" (");
}

TEST_F(Templates, OthersAreAddedByName) {
  Add({.name = "all", .dry_run = {"sec.*"}, .retention = {{"*", 7}}});
  Add({.name = "both", .templates = {"one", "two"}, .dry_run = {"sec.*"}, .retention = {{"first", 7}}});
  Add({.name = "one", .args = {{.name = "service-name", .value = "x"}}, .metrics = {Prometheus("first")}});
  Add({.name = "two", .metrics = {Prometheus("second")}});
  const auto metrics = Resolve({.templates = {"both"}});
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  ASSERT_EQ(metrics->size(), 2U);
  EXPECT_FALSE(metrics->at(0).dry_run);
  EXPECT_TRUE(metrics->at(1).dry_run);
  EXPECT_EQ(metrics->at(0).kept, 7U);
  EXPECT_EQ(metrics->at(1).kept, kKeptMeasurements);
}

TEST_F(Templates, DefaultsAreArgos) {
  Add({.name = "t", .args = {{.name = "service-name", .value = "x"}}, .metrics = {Prometheus("rate")}});
  const auto metrics = Resolve({.templates = {"t"}});
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  const Metric& metric = metrics->at(0);
  EXPECT_EQ(metric.interval, std::nullopt);
  EXPECT_EQ(metric.count, 1U);
  EXPECT_EQ(metric.failure_limit, 0);
  EXPECT_EQ(metric.inconclusive_limit, 0);
  EXPECT_EQ(metric.consecutive_error_limit, 4);
  EXPECT_EQ(metric.consecutive_success_limit, 0);
  EXPECT_EQ(metric.initial_delay, Duration{0});
}

TEST_F(Templates, BuiltInOnesNeedNoFileAndShareTheChanceOfAFalseAlarm) {
  const auto step = Resolve({.templates = {"weir-success-rate", "weir-latency", "weir-connect"}});
  ASSERT_TRUE(step.ok()) << step.status();
  ASSERT_EQ(step->size(), 5U);
  for (const Metric& metric : *step) {
    EXPECT_DOUBLE_EQ(std::get<WeirQuery>(metric.provider).alpha, 0.01 / 5) << metric.name;
    EXPECT_EQ(*metric.interval * *metric.count, minutes(1)) << metric.name;
  }
  const auto background = Resolve({.templates = {"weir-connect"}, .background = true});
  ASSERT_TRUE(background.ok());
  EXPECT_EQ(background->at(0).count, std::nullopt);
  EXPECT_DOUBLE_EQ(std::get<WeirQuery>(background->at(0).provider).alpha, 0.01);
  const auto confident =
      Resolve({.templates = {"weir-connect"}, .until_confident = true, .limit = seconds(62)});
  ASSERT_TRUE(confident.ok());
  EXPECT_TRUE(std::get<WeirQuery>(confident->at(0).provider).until_confident);
  EXPECT_EQ(confident->at(0).count, 13U) << "the limit is reached, not cut short";
  const auto dry = Resolve({.templates = {"weir-success-rate"}, .dry_run = {"error-connections"}});
  ASSERT_TRUE(dry.ok());
  EXPECT_DOUBLE_EQ(std::get<WeirQuery>(dry->at(0).provider).alpha, 0.01) << "a dry run alarms nobody";
}

TEST(Metrics, WhatIsWrongIsFoundBeforeArgumentsAreKnown) {
  MetricTemplate metric = Prometheus("m", "result >");
  metric.failure_condition = "result > {{args.x}}";
  metric.count = "2";
  metric.failure_limit = "-2";
  metric.inconclusive_limit = "{{args.limit}}";
  metric.initial_delay = "5";
  const auto problems = CheckMetric(metric);
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"initialDelay", "found \"5\", expected a duration such as 10s, 5m or 1h30m"},
      {"failureLimit", "found \"-2\", expected an integer from -1 to 1000000"},
      {"interval", "found none, expected one when count is above 1"},
      {"successCondition", "column 9: found the end, expected a value"}};
  EXPECT_EQ(problems, expected);
}

TEST(GoDuration, AsGoWritesThem) {
  const struct {
    std::string_view text;
    std::optional<int64_t> ms;
  } kCases[] = {{"10s", 10'000},
                {"1h30m", 5'400'000},
                {"1.5h", 5'400'000},
                {"250ms", 250},
                {"1m0.5s", 60'500},
                {"0", 0},
                {"1500us", 1},
                {"5", {}},
                {"", {}},
                {"-5s", {}},
                {"5d", {}},
                {"s", {}},
                {"1e3s", {}},
                {".5s", 500},
                {"99999999h", {}},
                {"5s ", {}},
                {"nans", {}},
                {"infs", {}}};
  for (const auto& [text, ms] : kCases) {
    const auto parsed = ParseGoDuration(text);
    ASSERT_EQ(parsed.has_value(), ms.has_value()) << text;
    if (ms) {
      EXPECT_EQ(parsed->count(), *ms) << text;
    }
  }
}

TEST(Substitution, OnlyArgumentsStandInBraces) {
  const std::string value = "V{{args.x}}";
  const auto one = [&value](std::string_view name) { return name == "x" ? &value : nullptr; };
  EXPECT_EQ(*Substitute("a {{args.x}} {{ args.x }}b", one), "a V{{args.x}} V{{args.x}}b")
      << "not put in twice";
  EXPECT_EQ(*Substitute("no { braces }", one), "no { braces }");
  EXPECT_EQ(Message(Substitute("{{args.y}}", one).status()), "found no value of args.y, expected one");
  EXPECT_EQ(Message(Substitute("{{x}}", one).status()), "found {{x}}, expected {{args.NAME}}");
  EXPECT_EQ(Message(Substitute("{{x\ny}}", one).status()), "found {{\"x\\ny\"}}, expected {{args.NAME}}");
  EXPECT_EQ(Message(Substitute("{{args.x\ny}}", one).status()),
            "found no value of \"args.x\\ny\", expected one");
  EXPECT_EQ(Message(Substitute("a {{args.x", one).status()),
            "found {{ without end in \"{{args.x\", expected }}");
}

}  // namespace
}  // namespace weir::analysis
