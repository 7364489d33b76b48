// The built-in test against seeded traffic: false alarms while the canary is as good as stable stay below
// alpha, and how long real trouble takes to be found. A naive z-test, as dashboards do it, stands beside it.
// The fast program runs with every change; WEIR_FULL_SIMULATION has the runs that figures are quoted from.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <random>

#include "controller/analysis/sequential.h"
#include "controller/analysis/weir_metric.h"

namespace weir::analysis {
namespace {

#ifdef WEIR_FULL_SIMULATION
constexpr int kRuns = 2000, kLatencyRuns = 200;
#else
constexpr int kRuns = 150, kLatencyRuns = 10;
#endif
constexpr int kSeconds = 1800;
constexpr double kAlpha = 0.01;

struct Traffic {
  const char* name;
  double stable, canary;  // rates of errors
  double rps = 100, share = 0.1;
  int clump = 1;  // errors come so many at a time
};

using Random = std::mt19937_64;

uint64_t Bad(Random& random, uint64_t total, double rate, int clump) {
  if (rate >= 1) return total;
  if (clump == 1)
    return static_cast<uint64_t>(
        std::binomial_distribution<int64_t>(static_cast<int64_t>(total), rate)(random));
  const double clumps = static_cast<double>(total) * rate / clump;
  return std::min(total, static_cast<uint64_t>(std::poisson_distribution<int>(clumps)(random) * clump));
}

/// Two proportions, pooled, one-sided p < 0.01, looked at every 5 s over all that has come.
bool ZTestAlarms(const Window& total) {
  const auto n_c = static_cast<double>(total.canary_total), n_s = static_cast<double>(total.stable_total);
  if (n_c == 0 || n_s == 0) return false;
  const auto k_c = static_cast<double>(total.canary_bad), k_s = static_cast<double>(total.stable_bad);
  const double pooled = (k_c + k_s) / (n_c + n_s);
  const double spread = std::sqrt(pooled * (1 - pooled) * (1 / n_c + 1 / n_s));
  return spread > 0 && (k_c / n_c - k_s / n_s) / spread > 2.326;
}

struct Outcome {
  int alarms = 0, naive_alarms = 0;
  std::vector<int> seconds;  // to each alarm
  int At(double quantile) {
    if (seconds.empty()) return 0;
    std::ranges::sort(seconds);
    return seconds[static_cast<size_t>(quantile * static_cast<double>(seconds.size() - 1))];
  }
};

Outcome Simulate(const Traffic& traffic, const SequentialOptions& options, int runs) {
  Random random(20240607);
  Outcome outcome;
  std::poisson_distribution<uint64_t> canary(traffic.rps * traffic.share),
      stable(traffic.rps * (1 - traffic.share));
  for (int run = 0; run < runs; ++run) {
    SequentialTest test(options);
    bool naive = false;
    for (int second = 1; second <= kSeconds; ++second) {
      Window window;
      window.canary_total = canary(random);
      window.stable_total = stable(random);
      window.canary_bad = Bad(random, window.canary_total, traffic.canary, traffic.clump);
      window.stable_bad = Bad(random, window.stable_total, traffic.stable, traffic.clump);
      const bool before = test.worse();
      test.Add(window);
      if (test.worse() && !before) outcome.seconds.push_back(second);
      naive = naive || (second % 5 == 0 && ZTestAlarms(test.total()));
      if (test.worse() && naive) break;
    }
    outcome.alarms += test.worse() ? 1 : 0;
    outcome.naive_alarms += naive ? 1 : 0;
  }
  return outcome;
}

/// Alarms that a rate of alpha may come to with so many runs: three standard deviations, and one for small
/// numbers.
int Allowed(double alpha, int runs) {
  return static_cast<int>(alpha * runs + 3 * std::sqrt(alpha * runs) + 1);
}

void Print(const char* name, const char* variant, Outcome& outcome, int runs) {
  std::printf("%-34s %-18s abort %5.1f%%  naive z %5.1f%%  median %4d s  p90 %4d s\n", name, variant,
              100.0 * outcome.alarms / runs, 100.0 * outcome.naive_alarms / runs, outcome.At(0.5),
              outcome.At(0.9));
}

TEST(Simulation, FalseAlarmsStayBelowAlpha) {
  const Traffic kNull[] = {
      {"as good, 1 %", 0.01, 0.01},
      {"as good, 0.1 %", 0.001, 0.001},
      {"as good, 0.01 %", 0.0001, 0.0001},
      {"as good, 20 %", 0.2, 0.2},
      {"as good, 1 %, half and half", 0.01, 0.01, 100, 0.5},
      {"as good, 1 %, clumps of 3", 0.01, 0.01, 100, 0.1, 3},
      {"as good, 1 %, clumps of 10", 0.01, 0.01, 100, 0.1, 10},
      {"as good, 0.1 %, clumps of 10", 0.001, 0.001, 100, 0.1, 10},
      {"as good, 1 %, clumps of 10, 50:50", 0.01, 0.01, 100, 0.5, 10},
      {"1.25 times, 1 %", 0.01, 0.0125},
  };
  for (const Traffic& traffic : kNull) {
    SCOPED_TRACE(traffic.name);
    Outcome outcome = Simulate(traffic, {}, kRuns);
    Print(traffic.name, "", outcome, kRuns);
    EXPECT_LE(outcome.alarms, Allowed(kAlpha, kRuns));
    if (traffic.clump > 1) continue;
    SequentialOptions plain;
    plain.dispersion = false;
    plain.min_bad = 0;
    plain.min_bad_windows = 0;
    Outcome theorem = Simulate(traffic, plain, kRuns);
    Print(traffic.name, "phi = 1, no rules", theorem, kRuns);
    EXPECT_LE(theorem.alarms, Allowed(kAlpha, kRuns)) << "this is a theorem";
  }
}

TEST(Simulation, TroubleIsFound) {
  const struct {
    Traffic traffic;
    int median;  // seconds, at most
  } kTrouble[] = {
      {{"1 % to 2 %", 0.01, 0.02}, 600},
      {{"1 % to 2 %, 1000 rps", 0.01, 0.02, 1000}, 60},
      {{"1 % to 5 %", 0.01, 0.05}, 60},
      {{"0.1 % to 1 %", 0.001, 0.01}, 180},
      {{"0 to 100 %, weight 1 %", 0, 1, 100, 0.01}, 10},
      {{"0 to 100 %, weight 10 %", 0, 1, 100, 0.1}, 3},
      {{"0 to 50 %, weight 10 %", 0, 0.5, 100, 0.1}, 5},
      {{"1 % to 5 %, clumps of 10", 0.01, 0.05, 100, 0.1, 10}, 500},
  };
  for (const auto& [traffic, median] : kTrouble) {
    SCOPED_TRACE(traffic.name);
    Outcome outcome = Simulate(traffic, {}, kRuns);
    Print(traffic.name, "", outcome, kRuns);
    EXPECT_GE(outcome.alarms, kRuns * 95 / 100);
    EXPECT_LE(outcome.At(0.5), median);
    SequentialOptions plain;
    plain.dispersion = false;
    Outcome theorem = Simulate(traffic, plain, kRuns);
    Print(traffic.name, "phi = 1", theorem, kRuns);
  }
}

TEST(Simulation, WhatTheRulesOnFewErrorsDo) {
  const Traffic kCases[] = {{"as good, 1 %, clumps of 10", 0.01, 0.01, 100, 0.1, 10},
                            {"0 to 100 %, weight 10 %", 0, 1, 100, 0.1},
                            {"0 to 100 %, weight 1 %", 0, 1, 100, 0.01}};
  for (const Traffic& traffic : kCases) {
    for (const uint32_t windows : {0U, 2U, 3U}) {
      SequentialOptions options;
      options.min_bad = windows == 0 ? 0 : 3;
      options.min_bad_windows = windows;
      Outcome outcome = Simulate(traffic, options, kRuns);
      const std::string variant = "bad windows >= " + std::to_string(windows);
      Print(traffic.name, variant.c_str(), outcome, kRuns);
      if (windows >= 2 && traffic.stable > 0) {
        EXPECT_LE(outcome.alarms, Allowed(kAlpha, kRuns));
      }
    }
  }
}

// ---- latency: lognormal, median 50 ms, p99 at 50 * e^(2.326 * 0.7) = 255 ms

class Latencies {
 public:
  /// `factor` times as slow; a share `tail` of responses ten times as slow.
  explicit Latencies(double factor, double tail = 0) {
    for (size_t i = 0; i < buckets_.size(); ++i) {
      const double u = (static_cast<double>(i) + 0.5) / static_cast<double>(buckets_.size());
      const bool slow = u < tail;
      const double v = slow ? u / tail : (u - tail) / (1 - tail);
      buckets_[i] = BucketOf(0.05 * factor * (slow ? 10 : 1) * std::exp(0.7 * Quantile(v)));
    }
  }
  void Draw(Random& random, uint64_t count, LatencyCounts& into) const {
    for (uint64_t i = 0; i < count; ++i) ++into[buckets_[random() & (buckets_.size() - 1)]];
  }

 private:
  /// Of the normal distribution, by bisection.
  static double Quantile(double p) {
    double low = -8, high = 8;
    for (int i = 0; i < 60; ++i) {
      const double middle = (low + high) / 2;
      (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
    }
    return low;
  }
  static uint8_t BucketOf(double seconds) {
    uint8_t bucket = 0;
    while (seconds > BucketEdge(bucket)) ++bucket;
    return bucket;
  }
  std::array<uint8_t, 4096> buckets_{};
};

Outcome SimulateLatency(const Latencies& stable, const Latencies& canary, int runs,
                        const Latencies* later = nullptr) {
  Random random(7);
  Outcome outcome;
  std::poisson_distribution<uint64_t> canary_count(10), stable_count(90);
  for (int run = 0; run < runs; ++run) {
    WeirMetric p90({.measure = Measure::kLatencyP90, .alpha = kAlpha / 2});
    WeirMetric p99({.measure = Measure::kLatencyP99, .alpha = kAlpha / 2});
    for (int second = 1; second <= kSeconds; ++second) {
      WindowFigures figures;
      const bool shifted = later != nullptr && second > kSeconds / 2;  // both drift
      (shifted ? *later : stable).Draw(random, stable_count(random), figures.stable.latency);
      (shifted ? *later : canary).Draw(random, canary_count(random), figures.canary.latency);
      p90.Add(figures);
      p99.Add(figures);
      if (p90.Decision() == Verdict::Kind::kWorse || p99.Decision() == Verdict::Kind::kWorse) {
        ++outcome.alarms;
        outcome.seconds.push_back(second);
        break;
      }
    }
  }
  return outcome;
}

TEST(Simulation, Latency) {
  const Latencies normal(1), twice(2), plus10(1.1), plus20(1.2), plus50(1.5), tail(1, 0.02);
  Outcome same = SimulateLatency(normal, normal, kLatencyRuns);
  Print("latency: as good", "", same, kLatencyRuns);
  EXPECT_LE(same.alarms, Allowed(kAlpha, kLatencyRuns));
  Outcome drift = SimulateLatency(normal, normal, kLatencyRuns, &twice);
  Print("latency: both drift to 2 times", "", drift, kLatencyRuns);
  EXPECT_LE(drift.alarms, Allowed(kAlpha, kLatencyRuns));
  Outcome slight = SimulateLatency(normal, plus10, kLatencyRuns);
  Print("latency: + 10 %", "", slight, kLatencyRuns);
  const struct {
    const char* name;
    const Latencies& canary;
    int median;
  } kSlow[] = {{"latency: + 20 %", plus20, 400},
               {"latency: + 50 %", plus50, 60},
               {"latency: 2 % ten times slower", tail, 200}};
  for (const auto& [name, canary, median] : kSlow) {
    Outcome outcome = SimulateLatency(normal, canary, kLatencyRuns);
    Print(name, "", outcome, kLatencyRuns);
    EXPECT_EQ(outcome.alarms, kLatencyRuns) << name;
    EXPECT_LE(outcome.At(0.5), median) << name;
  }
}

// ---- promotion by evidence

TEST(Simulation, TwiceAsBadIsRuledOut) {
  const struct {
    Traffic traffic;
    bool well;
  } kCases[] = {{{"as good, 1 %", 0.01, 0.01}, true},
                {{"better, 1 % to 0.5 %", 0.01, 0.005}, true},
                {{"nothing bad at all", 0, 0}, true},
                {{"as good, 1 %, 1000 rps", 0.01, 0.01, 1000}, true},
                {{"twice as bad, 1 %", 0.01, 0.02}, false},
                {{"twice as bad, 1 %, clumps of 10", 0.01, 0.02, 100, 0.1, 10}, false},
                {{"twice as bad, 0.1 %", 0.001, 0.002}, false}};
  for (const auto& [traffic, well] : kCases) {
    SCOPED_TRACE(traffic.name);
    Random random(99);
    std::poisson_distribution<uint64_t> canary(traffic.rps * traffic.share),
        stable(traffic.rps * (1 - traffic.share));
    Outcome outcome;
    for (int run = 0; run < kRuns; ++run) {
      SequentialTest test;
      for (int second = 1; second <= 3 * kSeconds; ++second) {
        Window window{0, canary(random), 0, stable(random)};
        window.canary_bad = Bad(random, window.canary_total, traffic.canary, traffic.clump);
        window.stable_bad = Bad(random, window.stable_total, traffic.stable, traffic.clump);
        test.Add(window);
        if (!test.confident() && !test.worse()) continue;
        outcome.alarms += test.confident() ? 1 : 0;
        if (test.confident()) outcome.seconds.push_back(second);
        break;
      }
    }
    std::printf("confident: %-34s %5.1f%%  median %4d s  p90 %4d s\n", traffic.name,
                100.0 * outcome.alarms / kRuns, outcome.At(0.5), outcome.At(0.9));
    if (well) {
      EXPECT_GE(outcome.alarms, kRuns * 90 / 100);
    } else {
      EXPECT_LE(outcome.alarms, Allowed(kAlpha, kRuns));
    }
  }
}

}  // namespace
}  // namespace weir::analysis
