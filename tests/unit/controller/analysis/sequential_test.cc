// The built-in test on tables: E by the formula, its limits, words, and latency against stable's past.
#include "controller/analysis/sequential.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>

#include "controller/analysis/weir_metric.h"

namespace weir::analysis {
namespace {

SequentialOptions Plain() {
  SequentialOptions options;
  options.dispersion = false;
  return options;
}

/// The formula as DESIGN.md has it, term by term.
double LogEByTheFormula(const std::vector<Window>& windows) {
  double sum = 0;
  for (const double factor : {1.25, 1.6, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0}) {
    double l = 0;
    for (const Window& w : windows) {
      const auto theta = [&w](double r) {
        const double c = r * static_cast<double>(w.canary_total);
        return c / (c + static_cast<double>(w.stable_total));
      };
      const double r = 1.25 * factor;
      l += static_cast<double>(w.canary_bad) * std::log(theta(r) / theta(1.25)) +
           static_cast<double>(w.stable_bad) * std::log((1 - theta(r)) / (1 - theta(1.25)));
    }
    sum += std::exp(l);
  }
  return std::log(sum / 8);
}

TEST(Sequential, EIsWhatTheFormulaSays) {
  const std::vector<Window> windows = {
      {1, 10, 2, 90}, {0, 12, 0, 80}, {3, 9, 1, 95}, {2, 500, 7, 500}, {0, 1, 5, 99}};
  SequentialTest test(Plain());
  std::vector<Window> so_far;
  for (const Window& window : windows) {
    test.Add(window);
    so_far.push_back(window);
    EXPECT_NEAR(test.log_e(), LogEByTheFormula(so_far), 1e-9);
  }
  EXPECT_EQ(test.total(), (Window{6, 532, 15, 864}));
}

TEST(Sequential, NothingBadOrNothingToCompareSaysNothing) {
  SequentialTest test(Plain());
  test.Add({0, 0, 0, 0});
  test.Add({0, 100, 0, 900});
  test.Add({5, 5, 0, 0});     // stable had no traffic
  test.Add({0, 0, 50, 900});  // the canary had none
  EXPECT_DOUBLE_EQ(test.log_e(), 0);
  EXPECT_FALSE(test.worse());
  EXPECT_FALSE(test.confident());
}

TEST(Sequential, ABrokenCanaryIsWorseAfterTwoSeconds) {
  SequentialTest test;
  for (int i = 0; i < 30; ++i) test.Add({0, 10, 0, 90});
  test.Add({10, 10, 0, 90});
  EXPECT_FALSE(test.worse()) << "one clump is no alarm";
  test.Add({10, 10, 0, 90});
  EXPECT_TRUE(test.worse());
  for (int i = 0; i < 1000; ++i) test.Add({0, 10, 9, 90});
  EXPECT_TRUE(test.worse()) << "what was found stays found";
  EXPECT_FALSE(test.confident());
}

TEST(Sequential, AnOutageThatBothShareIsNoAlarm) {
  SequentialTest test(Plain());
  for (int i = 0; i < 300; ++i) test.Add({5, 10, 45, 90});
  EXPECT_FALSE(test.worse());
  EXPECT_LT(test.log_e(), 0);
}

TEST(Sequential, TheMirroredTestRulesTwiceAsBadOut) {
  SequentialTest same, twice, clean;
  int seconds = 0;
  for (; seconds < 3600 && !same.confident(); ++seconds)
    same.Add({seconds % 10 == 0 ? 1U : 0U, 10, seconds % 10 == 5 ? 9U : 0U, 90});
  EXPECT_TRUE(same.confident());
  for (int i = 0; i < 3600; ++i) twice.Add({i % 5 == 0 ? 1U : 0U, 10, i % 10 == 5 ? 9U : 0U, 90});
  EXPECT_FALSE(twice.confident());
  // Nothing is ever bad: a rate of 0.1 % is ruled out once 10 a second have made some 18,000 requests (phi is
  // 5 then).
  int clean_seconds = 0;
  for (; clean_seconds < 7200 && !clean.confident(); ++clean_seconds) clean.Add({0, 10, 0, 90});
  EXPECT_TRUE(clean.confident());
  EXPECT_GT(clean_seconds, 500);
  EXPECT_FALSE(clean.worse());
}

TEST(Sequential, OneBadRequestRefutesARateOfNone) {
  SequentialTest test(Plain());
  test.Add({1, 10, 0, 90});
  EXPECT_TRUE(std::isfinite(test.log_e_mirrored()));
  for (int i = 0; i < 100'000; ++i) test.Add({1, 1, 0, 90});
  EXPECT_TRUE(std::isfinite(test.log_e_mirrored()));
  EXPECT_TRUE(std::isfinite(test.log_e()));
  EXPECT_TRUE(test.worse());
}

TEST(Sequential, HugeCountsDoNotOverflow) {
  SequentialTest test(Plain());
  test.Add({1'000'000'000'000, 2'000'000'000'000, 1, 1'000'000'000'000});
  test.Add({1'000'000'000'000, 2'000'000'000'000, 1, 1'000'000'000'000});
  EXPECT_TRUE(std::isfinite(test.log_e()));
  EXPECT_TRUE(test.worse());
  EXPECT_TRUE(test.Reason("errors").ends_with("E = " + FormatE(test.log_e())));
}

TEST(Sequential, MoreBadThanTotalCountsAsTotal) {
  SequentialTest test(Plain());
  test.Add({20, 10, 200, 90});
  EXPECT_EQ(test.total(), (Window{10, 10, 90, 90}));
}

TEST(Sequential, ReasonsInWords) {
  SequentialTest test(Plain());
  EXPECT_EQ(test.Reason("errors"), "no traffic to compare: canary 0 in all, stable 0");
  test.Add({38, 400, 4, 1600});
  EXPECT_EQ(test.Reason("errors"),
            "canary 38 errors of 400, stable 4 of 1600: 38 times the rate, E = " + FormatE(test.log_e()));
  SequentialTest clean(Plain());
  clean.Add({3, 400, 0, 1600});
  EXPECT_EQ(clean.Reason("failed connects"),
            "canary 3 failed connects of 400, stable 0 of 1600: E = " + FormatE(clean.log_e()));
  SequentialTest less(Plain());
  less.Add({1, 400, 8, 1600});
  EXPECT_TRUE(
      less.Reason("errors").starts_with("canary 1 errors of 400, stable 8 of 1600: 0.5 times the rate"));
}

TEST(Sequential, EInWords) {
  EXPECT_EQ(FormatE(0), "1");
  EXPECT_EQ(FormatE(std::log(0.31)), "0.31");
  EXPECT_EQ(FormatE(std::log(57)), "57");
  EXPECT_EQ(FormatE(std::log(2.1e6)), "2.1e6");
  EXPECT_EQ(FormatE(std::log(9.99e6)), "1.0e7");
  EXPECT_EQ(FormatE(1e6), FormatE(1e6));
  EXPECT_TRUE(FormatE(1e6).ends_with("e434294")) << FormatE(1e6);
}

TEST(Dispersion, ClumpsRaisePhiAndEvenSpreadLowersIt) {
  EXPECT_DOUBLE_EQ(Phi(0, 0), 1 + (3 - 1) * 2.0);
  SequentialTest clumps, even;
  for (int i = 0; i < 400; ++i) {
    clumps.Add({0, 10, i % 10 == 0 ? 10U : 0U, 90});
    even.Add({0, 10, i % 2 == 0 ? 1U : 2U, 90});
  }
  EXPECT_GT(clumps.phi(), 9);
  EXPECT_LT(even.phi(), 1.05);
  SequentialTest endpoints;
  const EndpointCount one_bad[] = {{6, 30}, {0, 30}, {0, 30}};
  for (int i = 0; i < 100; ++i) endpoints.Add({0, 10, 6, 90}, one_bad);
  EXPECT_NEAR(endpoints.phi(), 6, 0.7);  // each window: chi2 = 12 with 2 degrees of freedom
}

// ---- the provider

WindowFigures Second(uint64_t canary_errors, uint64_t stable_errors) {
  WindowFigures figures;
  figures.canary.requests = 10;
  figures.canary.errors = canary_errors;
  figures.stable.requests = 90;
  figures.stable.errors = stable_errors;
  return figures;
}

TEST(WeirMetric, EachMeasureCountsItsOwn) {
  WindowFigures figures;
  figures.canary = {.requests = 10,
                    .errors = 1,
                    .connections = 5,
                    .error_connections = 2,
                    .connects = 6,
                    .failed_connects = 3};
  figures.stable = {.requests = 90,
                    .errors = 4,
                    .connections = 45,
                    .error_connections = 5,
                    .connects = 46,
                    .failed_connects = 6};
  const struct {
    Measure measure;
    Window total;
  } kCases[] = {{Measure::kErrors, {1, 10, 4, 90}},
                {Measure::kErrorConnections, {2, 5, 5, 45}},
                {Measure::kFailedConnects, {3, 6, 6, 46}}};
  for (const auto& [measure, total] : kCases) {
    WeirMetric metric({.measure = measure});
    metric.Add(figures);
    EXPECT_EQ(metric.test().total(), total) << MeasureName(measure);
    EXPECT_EQ(ParseMeasure(MeasureName(measure)), measure);
  }
}

TEST(WeirMetric, NoTrafficIsNoSuccess) {
  WeirMetric metric({});
  metric.Add({});
  EXPECT_EQ(metric.Decision(), Verdict::Kind::kNoTraffic);
  WindowFigures stable_only;
  stable_only.stable.requests = 90;
  metric.Add(stable_only);
  EXPECT_EQ(metric.Decision(), Verdict::Kind::kNoTraffic);
  EXPECT_EQ(metric.Read().reason, "no traffic to compare: canary 0 in all, stable 90");
  metric.Add(Second(0, 0));
  EXPECT_EQ(metric.Decision(), Verdict::Kind::kUndecided);
}

TEST(WeirMetric, BucketEdges) {
  EXPECT_DOUBLE_EQ(BucketEdge(0), std::exp2(-20));
  EXPECT_DOUBLE_EQ(BucketEdge(4), std::exp2(-19));
  EXPECT_DOUBLE_EQ(BucketEdge(80), 1.0);
  EXPECT_DOUBLE_EQ(BucketEdge(108), 128.0);
  EXPECT_TRUE(std::isinf(BucketEdge(109)));
}

TEST(WeirMetric, LatencyIsJudgedByStablesPast) {
  WeirMetric metric({.measure = Measure::kLatencyP90});
  WindowFigures figures;
  figures.stable.latency[40] = 88;
  figures.stable.latency[50] = 2;
  figures.canary.latency[40] = 10;
  metric.Add(figures);
  EXPECT_EQ(metric.Decision(), Verdict::Kind::kNoTraffic) << "90 past responses are too few: 100 are needed";
  metric.Add(figures);
  EXPECT_EQ(metric.test().total(), (Window{0, 0, 0, 0}));
  metric.Add(figures);
  EXPECT_EQ(metric.test().total(), (Window{0, 10, 2, 90})) << "above bucket 40";
  // Both slow down: no alarm. The threshold follows later.
  WindowFigures slow;
  slow.stable.latency[60] = 90;
  slow.canary.latency[60] = 10;
  for (int i = 0; i < 60; ++i) metric.Add(slow);
  EXPECT_EQ(metric.Decision(), Verdict::Kind::kUndecided);
  // The canary alone.
  WindowFigures worse = slow;
  worse.canary.latency[60] = 0;
  worse.canary.latency[70] = 10;
  for (int i = 0; i < 1000 && metric.Decision() != Verdict::Kind::kWorse; ++i) metric.Add(worse);
  EXPECT_EQ(metric.Decision(), Verdict::Kind::kWorse);
  EXPECT_NE(metric.Read().reason.find("responses slower than 31.2 ms of "), std::string::npos)
      << metric.Read().reason;
}

TEST(WeirMetric, GoesOnFromJsonAsIfNothingHadHappened) {
  for (const Measure measure : {Measure::kErrors, Measure::kLatencyP99}) {
    const WeirQuery query{.measure = measure, .until_confident = true};
    WeirMetric whole(query), first(query);
    for (int i = 0; i < 40; ++i) {
      WindowFigures figures = Second(static_cast<uint64_t>(i % 3), 2);
      figures.stable.latency[static_cast<size_t>(40 + i % 5)] = 90;
      figures.canary.latency[43] = 10;
      whole.Add(figures);
    }
    for (int i = 0; i < 40; ++i) {
      WindowFigures figures = Second(static_cast<uint64_t>(i % 3), 2);
      figures.stable.latency[static_cast<size_t>(40 + i % 5)] = 90;
      figures.canary.latency[43] = 10;
      first.Add(figures);
      if (i != 19) continue;  // between two pairs of windows: one that a restart cuts is left out of phi
      WeirMetric second(query);
      ASSERT_TRUE(second.Restore(boost::json::parse(boost::json::serialize(first.ToJson()))));
      first = second;
    }
    EXPECT_NEAR(first.test().log_e(), whole.test().log_e(), 1e-9);
    EXPECT_NEAR(first.test().log_e_mirrored(), whole.test().log_e_mirrored(), 1e-9);
    EXPECT_EQ(first.Read().reason, whole.Read().reason);
    WeirMetric other(query);
    EXPECT_FALSE(other.Restore(boost::json::parse("{}")));
    EXPECT_FALSE(other.Restore(boost::json::parse("[]")));
  }
}

}  // namespace
}  // namespace weir::analysis
