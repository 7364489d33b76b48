// One run's machine: schedules and limits as Argo's, the built-in test's verdicts, restarts in the middle.
#include "controller/analysis/run.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <limits>

namespace weir::analysis {
namespace {

namespace json = boost::json;
using std::chrono::seconds;

constexpr TimePoint kStart{seconds(1'700'000'000)};

Metric Prometheus(std::string name, std::optional<Duration> interval, std::optional<uint32_t> count) {
  Metric metric;
  metric.name = std::move(name);
  metric.interval = interval;
  metric.count = count;
  metric.success = *Condition::Parse("result[0] >= 0.9");
  metric.failure = *Condition::Parse("result[0] < 0.5");
  metric.provider = PrometheusQuery{};
  return metric;
}

constexpr double kGood = 0.95, kMiddling = 0.7, kBad = 0.1;

/// Drives a run: answers each measurement with the next of a metric's values, and jumps to each WakeAt.
class Driver {
 public:
  explicit Driver(std::vector<Metric> metrics)
      : run(StartRun("r", std::move(metrics), kStart)), answers(run.metrics.size()) {}

  /// Until it ends, or `until`.
  void Go(TimePoint until = kStart + std::chrono::hours(1)) {
    Handle(Advance(run, Tick{}, now));
    while (!end && wake && *wake <= until) {
      now = *wake;
      wake.reset();
      Handle(Advance(run, Tick{}, now));
    }
    if (!end) now = until;
  }
  void Feed(const RunEvent& event) { Handle(Advance(run, event, now)); }

  Run run;
  TimePoint now = kStart;
  std::vector<std::vector<std::variant<double, std::string>>> answers;  // the last is repeated
  std::vector<std::pair<int64_t, size_t>> asked;                        // seconds since the start, metric
  std::optional<Finished> end;
  std::optional<TimePoint> wake;

 private:
  void Handle(const std::vector<RunEffect>& effects) {
    for (const RunEffect& effect : effects) {  // before the answers, which come later
      if (const auto* at = std::get_if<WakeAt>(&effect)) wake = at->time;
      if (const auto* finished = std::get_if<Finished>(&effect)) end = *finished;
    }
    for (const RunEffect& effect : effects) {
      const auto* measure = std::get_if<TakeMeasurement>(&effect);
      if (measure == nullptr) continue;
      const size_t i = measure->metric;
      asked.emplace_back(std::chrono::duration_cast<seconds>(now - kStart).count(), i);
      if (answers[i].empty()) continue;  // stays under way
      const auto answer = answers[i].front();
      if (answers[i].size() > 1) answers[i].erase(answers[i].begin());
      Measured measured{i, {}};
      if (const auto* value = std::get_if<double>(&answer)) {
        measured.outcome = json::value(json::array{*value});
      } else {
        measured.outcome = std::get<std::string>(answer);
      }
      Handle(Advance(run, measured, now));
    }
  }
};

TEST(Run, OnceIsOnce) {
  Driver driver({Prometheus("m", std::nullopt, 1)});
  driver.answers = {{kGood}};
  driver.Go();
  ASSERT_TRUE(driver.end);
  EXPECT_EQ(*driver.end, (Finished{Phase::kSuccessful, ""}));
  EXPECT_EQ(driver.asked.size(), 1U);
  EXPECT_EQ(driver.run.results[0].measurements[0].value, "[0.95]");
  EXPECT_TRUE(Advance(driver.run, Tick{}, driver.now).empty());
  EXPECT_EQ(std::get<Finished>(Advance(driver.run, Restarted{}, driver.now).at(0)), *driver.end);
}

TEST(Run, IntervalCountAndInitialDelay) {
  Metric metric = Prometheus("m", seconds(30), 3);
  metric.initial_delay = seconds(7);
  Driver driver({metric});
  driver.answers = {{kGood}};
  driver.Go();
  ASSERT_TRUE(driver.end);
  const std::vector<std::pair<int64_t, size_t>> expected = {{7, 0}, {37, 0}, {67, 0}};
  EXPECT_EQ(driver.asked, expected);
}

struct LimitCase {
  std::string name;
  std::vector<std::variant<double, std::string>> answers;
  uint32_t count;
  int32_t failure_limit, inconclusive_limit, error_limit, success_limit;
  Phase phase;
  size_t measurements;
  std::string message;
};

TEST(Run, LimitsAsArgoHasThem) {
  const std::string e = "no answer";
  const LimitCase kCases[] = {
      {"all good", {kGood}, 3, 0, 0, 4, 0, Phase::kSuccessful, 3, ""},
      {"first failure",
       {kGood, kBad},
       3,
       0,
       0,
       4,
       0,
       Phase::kFailed,
       2,
       "metric m Failed: failed (1) > failureLimit (0), last value [0.1]"},
      {"failures within the limit", {kBad, kBad, kGood}, 3, 2, 0, 4, 0, Phase::kSuccessful, 3, ""},
      {"one failure more",
       {kBad},
       5,
       2,
       0,
       4,
       0,
       Phase::kFailed,
       3,
       "metric m Failed: failed (3) > failureLimit (2), last value [0.1]"},
      {"no limit of failures", {kBad}, 5, -1, 0, 4, 0, Phase::kSuccessful, 5, ""},
      {"inconclusive",
       {kMiddling},
       3,
       0,
       0,
       4,
       0,
       Phase::kInconclusive,
       1,
       "metric m Inconclusive: inconclusive (1) > inconclusiveLimit (0), last value [0.7]"},
      {"inconclusive within the limit", {kMiddling}, 3, 0, 3, 4, 0, Phase::kSuccessful, 3, ""},
      {"errors do not count", {e, e, e, e, kGood}, 1, 0, 0, 4, 0, Phase::kSuccessful, 5, ""},
      {"five errors in a row",
       {e},
       1,
       0,
       0,
       4,
       0,
       Phase::kError,
       5,
       "metric m Error: consecutiveErrors (5) > consecutiveErrorLimit (4), last no answer"},
      {"errors with a pause", {e, e, kGood, e, e, kGood}, 2, 0, 0, 2, 0, Phase::kSuccessful, 6, ""},
      {"one error is too many",
       {e},
       1,
       0,
       0,
       0,
       0,
       Phase::kError,
       1,
       "metric m Error: consecutiveErrors (1) > consecutiveErrorLimit (0), last no answer"},
      {"successes in a row", {kBad, kGood, kGood, kGood}, 10, 5, 0, 4, 3, Phase::kSuccessful, 4, ""},
      {"not enough in a row",
       {kGood, kBad, kGood, kBad},
       4,
       5,
       0,
       4,
       3,
       Phase::kInconclusive,
       4,
       "metric m Inconclusive: count (4) reached before consecutiveSuccessLimit (3), last value [0.1]"},
      {"a value that makes no sense",
       {std::numeric_limits<double>::quiet_NaN()},
       1,
       0,
       0,
       0,
       0,
       Phase::kInconclusive,
       1,
       "metric m Inconclusive: inconclusive (1) > inconclusiveLimit (0), last value [NaN]"},
  };
  for (const LimitCase& c : kCases) {
    SCOPED_TRACE(c.name);
    Metric metric = Prometheus("m", seconds(10), c.count);
    metric.failure_limit = c.failure_limit;
    metric.inconclusive_limit = c.inconclusive_limit;
    metric.consecutive_error_limit = c.error_limit;
    metric.consecutive_success_limit = c.success_limit;
    Driver driver({metric});
    driver.answers = {c.answers};
    driver.Go();
    ASSERT_TRUE(driver.end);
    EXPECT_EQ(PhaseName(driver.end->phase), PhaseName(c.phase));
    EXPECT_EQ(driver.end->message, c.message);
    EXPECT_EQ(driver.run.results[0].measurements.size(), c.measurements);
  }
}

TEST(Run, AnErrorWithoutIntervalIsTriedAgainAfterTenSeconds) {
  Driver driver({Prometheus("m", std::nullopt, 1)});
  driver.answers = {{"down", "down", kGood}};
  driver.Go();
  const std::vector<std::pair<int64_t, size_t>> expected = {{0, 0}, {10, 0}, {20, 0}};
  EXPECT_EQ(driver.asked, expected);
  EXPECT_EQ(driver.end->phase, Phase::kSuccessful);
}

TEST(Run, ConditionsAsArgoJudges) {
  const auto judge = [](std::string_view success, std::string_view failure, const std::string& value) {
    Metric metric;
    if (!success.empty()) metric.success = *Condition::Parse(success);
    if (!failure.empty()) metric.failure = *Condition::Parse(failure);
    return AssessValue(metric, json::parse(value));
  };
  EXPECT_EQ(judge("", "", "1").phase, Phase::kSuccessful);
  EXPECT_EQ(judge("result > 1", "", "2").phase, Phase::kSuccessful);
  EXPECT_EQ(judge("result > 1", "", "1").phase, Phase::kFailed);
  EXPECT_EQ(judge("", "result > 1", "2").phase, Phase::kFailed);
  EXPECT_EQ(judge("", "result > 1", "1").phase, Phase::kSuccessful);
  EXPECT_EQ(judge("result > 5", "result < 1", "3").phase, Phase::kInconclusive);
  EXPECT_EQ(judge("result > 1", "result > 2", "3").phase, Phase::kFailed) << "failure goes before success";
  const Assessment error = judge("result[0] > 1", "", "[]");
  EXPECT_EQ(error.phase, Phase::kError);
  EXPECT_EQ(error.message, "successCondition: column 7: index 0 out of range: the list has 0 values");
  EXPECT_EQ(judge("", "result", "1").message,
            "failureCondition: the condition is a number, expected true or false");
}

TEST(Run, TheWorstDecidesAndStopsTheOthers) {
  Driver driver(
      {Prometheus("slow", seconds(60), std::nullopt), Prometheus("bad", seconds(10), std::nullopt)});
  driver.answers = {{kGood}, {kGood, kGood, kBad}};
  driver.Go();
  ASSERT_TRUE(driver.end);
  EXPECT_EQ(driver.end->phase, Phase::kFailed);
  EXPECT_EQ(driver.now, kStart + seconds(20));
  EXPECT_EQ(driver.run.results[0].phase, Phase::kSuccessful);
}

TEST(Run, FailedIsWorseThanErrorThanInconclusive) {
  Driver driver(
      {Prometheus("a", std::nullopt, 1), Prometheus("b", std::nullopt, 1), Prometheus("c", std::nullopt, 1)});
  for (Metric& metric : driver.run.metrics) metric.consecutive_error_limit = 0;
  driver.answers = {{}, {}, {}};
  driver.Feed(Tick{});
  ASSERT_EQ(driver.asked.size(), 3U);
  driver.Feed(Measured{0, json::value(json::array{kMiddling})});
  ASSERT_TRUE(driver.end) << "an end stops what is under way";
  EXPECT_EQ(driver.end->phase, Phase::kInconclusive);
  EXPECT_LT(Phase::kInconclusive, Phase::kError);
  EXPECT_LT(Phase::kError, Phase::kFailed);
}

TEST(Run, DryRunsOnlyReport) {
  Driver driver({Prometheus("dry", seconds(10), 3), Prometheus("real", seconds(10), 5)});
  driver.run.metrics[0].dry_run = true;
  driver.answers = {{kBad}, {kGood}};
  driver.Go();
  ASSERT_TRUE(driver.end);
  EXPECT_EQ(*driver.end, (Finished{Phase::kSuccessful, ""}));
  EXPECT_EQ(driver.run.results[0].phase, Phase::kFailed);
  EXPECT_EQ(driver.run.results[0].message, "failed (1) > failureLimit (0)");
  EXPECT_EQ(driver.run.results[1].measurements.size(), 5U);
  Driver alone({Prometheus("dry", std::nullopt, 1)});
  alone.run.metrics[0].dry_run = true;
  alone.answers = {{kBad}};
  alone.Go();
  EXPECT_EQ(alone.end->phase, Phase::kSuccessful);
}

TEST(Run, TerminateEndsItAsItStands) {
  Driver driver({Prometheus("m", seconds(10), std::nullopt)});
  driver.answers = {{kGood}};
  driver.Go(kStart + seconds(95));
  ASSERT_FALSE(driver.end);
  EXPECT_EQ(driver.asked.size(), 10U);
  driver.Feed(Terminate{});
  EXPECT_EQ(driver.end->phase, Phase::kSuccessful);
  Driver unanswered({Prometheus("m", seconds(10), std::nullopt)});
  unanswered.Feed(Tick{});
  unanswered.Feed(Terminate{});
  EXPECT_EQ(unanswered.end->phase, Phase::kSuccessful);
  unanswered.Feed(Measured{0, json::value(json::array{kBad})});
  EXPECT_TRUE(unanswered.run.results[0].measurements.empty()) << "too late";
}

TEST(Run, MeasurementsAreBoundedAndTheRestCounted) {
  Metric metric = Prometheus("m", seconds(1), std::nullopt);
  metric.kept = 5;
  Driver driver({metric});
  driver.answers = {{std::string(5000, 'x'), kGood}};
  driver.Go(kStart + seconds(3));
  EXPECT_EQ(driver.run.results[0].measurements[0].message.size(), 1027U);
  driver.Go(kStart + seconds(99));
  const MetricResult& result = driver.run.results[0];
  EXPECT_EQ(result.measurements.size(), 5U);
  EXPECT_EQ(result.dropped, 95U);
  EXPECT_EQ(result.successful, 99U);
  EXPECT_EQ(result.measurements.back().finished, kStart + seconds(99));
}

TEST(Run, AnAnswerGivenTwiceCountsOnce) {
  Driver driver({Prometheus("m", seconds(10), 2)});
  driver.Feed(Tick{});
  driver.Feed(Measured{0, json::value(json::array{kGood})});
  driver.Feed(Measured{0, json::value(json::array{kBad})});
  driver.Feed(Measured{7, std::string("no such metric")});
  EXPECT_EQ(driver.run.results[0].count(), 1U);
  EXPECT_FALSE(driver.end);
}

// ---- the built-in test

Metric Weir(std::optional<uint32_t> count, bool until_confident = false) {
  Metric metric;
  metric.name = "errors";
  metric.interval = seconds(5);
  metric.count = count;
  metric.provider = WeirQuery{.until_confident = until_confident};
  return metric;
}
WindowFigures Second(uint64_t canary, uint64_t canary_errors, uint64_t stable, uint64_t stable_errors) {
  WindowFigures figures;
  figures.canary.requests = canary;
  figures.canary.errors = canary_errors;
  figures.stable.requests = stable;
  figures.stable.errors = stable_errors;
  return figures;
}
/// A window a second, and the wake-ups between.
void Feed(Driver& driver, int count, const WindowFigures& figures) {
  for (int i = 0; i < count && !driver.end; ++i) {
    driver.now += seconds(1);
    driver.Feed(WindowObserved{figures});
  }
}

TEST(WeirRun, AbortsAtOnceAndSaysWhy) {
  Driver driver({Weir(std::nullopt)});
  driver.Feed(Tick{});
  EXPECT_TRUE(driver.asked.empty()) << "nobody is asked";
  Feed(driver, 21, Second(10, 0, 90, 0));
  EXPECT_EQ(driver.run.results[0].measurements.size(), 4U);
  Feed(driver, 10, Second(10, 10, 90, 0));
  ASSERT_TRUE(driver.end);
  EXPECT_EQ(driver.now, kStart + seconds(23)) << "two bad seconds, not the next interval";
  EXPECT_EQ(driver.end->phase, Phase::kFailed);
  EXPECT_TRUE(driver.end->message.starts_with(
      "metric errors Failed: canary 20 errors of 230, stable 0 of 2070: E = "))
      << driver.end->message;
}

TEST(WeirRun, AHealthyStepEndsWithItsTime) {
  Driver driver({Weir(12)});
  driver.Feed(Tick{});
  Feed(driver, 100, Second(10, 0, 90, 1));
  ASSERT_TRUE(driver.end);
  EXPECT_EQ(driver.end->phase, Phase::kSuccessful);
  EXPECT_EQ(driver.now, kStart + seconds(60));
}

TEST(WeirRun, NoTrafficIsInconclusiveNeverSuccess) {
  Driver silent({Weir(12)});
  silent.Go();  // no window at all
  ASSERT_TRUE(silent.end);
  EXPECT_EQ(*silent.end,
            (Finished{Phase::kInconclusive,
                      "metric errors Inconclusive: no traffic to compare: canary 0 in all, stable 0"}));
  EXPECT_EQ(silent.now, kStart + seconds(60));
  Driver unseen({Weir(12)});
  unseen.Feed(Tick{});
  Feed(unseen, 100, Second(0, 0, 90, 1));
  EXPECT_EQ(unseen.end->phase, Phase::kInconclusive);
  Driver late({Weir(12)});
  late.Feed(Tick{});
  Feed(late, 30, Second(0, 0, 90, 1));
  Feed(late, 60, Second(10, 0, 90, 1));
  EXPECT_EQ(late.end->phase, Phase::kSuccessful) << "a quiet beginning is no end";
  Driver stopped({Weir(std::nullopt)});
  stopped.Feed(Tick{});
  stopped.Feed(Terminate{});
  EXPECT_EQ(stopped.end->phase, Phase::kInconclusive);
}

TEST(WeirRun, UntilConfidentEndsWithTheEvidenceOrItsLimit) {
  Driver confident({Weir(10'000, true)});
  confident.Feed(Tick{});
  for (int i = 0; i < 10'000 && !confident.end; ++i) {
    Feed(confident, 1, Second(10, i % 10 == 0 ? 1 : 0, 90, 1));
  }
  ASSERT_TRUE(confident.end);
  EXPECT_EQ(confident.end->phase, Phase::kSuccessful);
  EXPECT_LT(confident.now, kStart + std::chrono::hours(1));
  EXPECT_NE(confident.run.results[0].measurements.back().message.find("at least twice as bad: ruled out"),
            std::string::npos);
  Driver limit({Weir(3, true)});
  limit.Feed(Tick{});
  Feed(limit, 100, Second(10, 0, 90, 1));
  ASSERT_TRUE(limit.end);
  EXPECT_EQ(limit.end->phase, Phase::kInconclusive);
  EXPECT_EQ(limit.now, kStart + seconds(15));
  EXPECT_NE(limit.end->message.find("at least twice as bad: not ruled out"), std::string::npos)
      << limit.end->message;
}

TEST(WeirRun, NothingIsCountedBeforeTheInitialDelay) {
  Metric metric = Weir(std::nullopt);
  metric.initial_delay = seconds(30);
  Driver driver({metric});
  driver.Feed(Tick{});
  Feed(driver, 29, Second(10, 10, 90, 0));
  EXPECT_FALSE(driver.end);
  Feed(driver, 5, Second(10, 10, 90, 0));
  EXPECT_EQ(driver.now, kStart + seconds(31));
  EXPECT_EQ(driver.end->phase, Phase::kFailed);
}

// ---- the store

TEST(RunJson, GoesOnAfterARestart) {
  Metric web = Prometheus("web", seconds(10), 4);
  web.provider = WebRequest{.url = "http://x", .headers = {{"a", "b"}}, .json_path = "{$.ok}"};
  Metric range = Prometheus("range", seconds(10), 4);
  range.provider = PrometheusQuery{.address = "http://p",
                                   .query = "up",
                                   .range = RangeQuery{"now()", "now()", "1m"},
                                   .headers = {{"h", "v"}},
                                   .username = "u",
                                   .insecure = true};
  Driver driver({web, range, Weir(12)});
  driver.answers = {{kGood, "down", kGood}, {}, {}};
  driver.Feed(Tick{});
  Feed(driver, 12, Second(10, 1, 90, 2));
  const std::string text = ToJson(driver.run);
  auto read = RunFromJson(text);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(ToJson(*read), text);
  driver.run = *std::move(read);
  driver.asked.clear();
  driver.answers[1] = {kGood};
  driver.Feed(Restarted{});
  ASSERT_EQ(driver.asked.size(), 1U) << "what was under way is asked for anew";
  EXPECT_EQ(driver.asked[0].second, 1U);
  driver.Go();
  ASSERT_TRUE(driver.end);
  EXPECT_EQ(driver.end->phase, Phase::kSuccessful) << driver.end->message;
  EXPECT_EQ(ToJson(*RunFromJson(ToJson(driver.run))), ToJson(driver.run));
}

TEST(RunJson, DamageIsAnErrorNotACrash) {
  Driver driver({Prometheus("m", seconds(10), 3), Weir(3)});
  driver.answers = {{kGood}, {}};
  driver.Feed(Tick{});
  const std::string text = ToJson(driver.run);
  for (size_t i = 0; i < text.size(); i += 3) EXPECT_FALSE(RunFromJson(text.substr(0, i)).ok()) << i;
  json::value value = json::parse(text);
  for (const auto& member : value.get_object()) {
    json::object without = value.get_object();
    without.erase(member.key());
    EXPECT_EQ(RunFromJson(json::serialize(without)).status().code(), absl::StatusCode::kDataLoss)
        << member.key();
    json::object other = value.get_object();
    other[member.key()] = json::object{{"x", 1}};
    EXPECT_FALSE(RunFromJson(json::serialize(other)).ok()) << member.key();
  }
  json::object later = value.get_object();
  later["version"] = 2;
  EXPECT_EQ(Message(RunFromJson(json::serialize(later)).status()),
            "analysis run: version is 2, expected 1; use the controller that wrote it");
}

TEST(ValueText, AsArgoWritesValues) {
  json::array special{std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), -0.5,
                      1e21};
  EXPECT_EQ(ValueText(special), "[NaN,+Inf,-0.5,1000000000000000000000]");
  EXPECT_EQ(ValueText(json::parse(R"({"a": [1, "x"], "b": null})")), R"({"a":[1,"x"],"b":null})");
  EXPECT_EQ(ValueText(json::array()), "[]");
  EXPECT_EQ(ValueText(0.95), "0.95");
}

}  // namespace
}  // namespace weir::analysis
