// Whole analyses in accelerated time, from agents' reports to the verdict: how often a healthy revision is
// aborted, and how long a broken one goes on. Seeded; prints its figures.
//
// Three nodes report once a second, each at a moment of its own; 100 requests a second, a tenth of them to
// the canary; all that is built in watches, as in the quickstart.
#include <algorithm>
#include <random>

#include "controller/app/analysis_runner.h"
#include "tests/unit/controller/app/core_fixture.h"
#include "tests/unit/controller/telemetry/node_counts.h"

namespace weir::app {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr int kNodes = 3;
constexpr double kRequestsPerSecond = 100;
constexpr double kCanaryShare = 0.1;
constexpr milliseconds kStep{50};

class Simulation final : public AnalysisRunner::Host {
 public:
  explicit Simulation(uint32_t seed) : random_(seed) {
    model::Rollout rollout;
    rollout.key = kCheckout;
    rollout.service = "checkout";
    objects_.rollouts[kCheckout] = rollout;
    for (auto& due : report_due_) due = Elapsed(random_() % 1000);
    // Where counting begins.
    for (int node = 0; node < kNodes; ++node) Report(node);
    Pass(10s);
    engine::StartAnalysis start{.run_id = "r",
                                .where = engine::AnalysisWhere::kBackground,
                                .step = 0,
                                .analysis = {},
                                .stable = "v1",
                                .canary = "v2"};
    start.analysis.templates = {"weir-success-rate", "weir-latency", "weir-connect"};
    runner_.Start(kCheckout, start);
  }

  /// Time passes, unless the run ends.
  void Pass(milliseconds time) {
    const auto end = clock_.Now() + time;
    while (clock_.Now() < end && !told) {
      clock_.Advance(kStep);
      Serve();
      for (int node = 0; node < kNodes; ++node) {
        if (clock_.Now() < report_due_[node]) continue;
        Report(node);
        report_due_[node] += 1000ms;
      }
      if (++steps_ % (AnalysisRunner::kPace / kStep) == 0) runner_.Look();
      context_.restart();
      context_.poll();
    }
  }
  MonotonicTime now() const { return clock_.Now(); }

  double canary_errors = 0.01, stable_errors = 0.01;
  std::optional<MonotonicTime> first_error;  // of the canary, since it was set to nullopt
  std::optional<engine::AnalysisFinished> told;

  // AnalysisRunner::Host
  const model::ObjectSet& Objects() const override { return objects_; }
  Status OnFinished(const ObjectKey&, const engine::AnalysisFinished& event) override {
    told = event;
    return OkStatus();
  }
  void OnRunChanged(const ObjectKey&) override {}

 private:
  MonotonicTime Elapsed(uint64_t ms) const { return clock_.Now() + milliseconds(ms); }
  void Serve() {
    std::poisson_distribution<int> arrivals(kRequestsPerSecond * static_cast<double>(kStep.count()) / 1000);
    std::uniform_real_distribution<double> uniform;
    std::normal_distribution<double> latency(40, 4);  // buckets: a quarter of a doubling each
    const int requests = arrivals(random_);
    for (int i = 0; i < requests; ++i) {
      const bool canary = uniform(random_) < kCanaryShare;
      const bool error = uniform(random_) < (canary ? canary_errors : stable_errors);
      const auto bucket = static_cast<uint32_t>(std::clamp(latency(random_), 1.0, 100.0));
      nodes_[random_() % kNodes].Serve(canary ? "v2" : "v1", 1, error ? 1 : 0, bucket);
      if (canary && error && !first_error) first_error = clock_.Now();
    }
  }
  void Report(int node) {
    cluster_.Report(fmt::format("node-{}", node), MonotonicTime(1s), nodes_[node].Message(1000),
                    clock_.Now());
  }

  /// What is asked of it cannot come: nothing of this is a question.
  class NoProviders final : public Providers {
   public:
    void Ask(const analysis::Provider&, analysis::TimePoint, Done) override { ADD_FAILURE(); }
    void Stop() override {}
  };

  const ObjectKey kCheckout{"shop", "checkout"};
  std::mt19937 random_;
  boost::asio::io_context context_;
  FakeClock clock_;
  MemoryStore store_;
  model::ObjectSet objects_;
  telemetry::Cluster cluster_;
  NoProviders providers_;
  AnalysisRunner runner_{context_, clock_, store_, cluster_, providers_, *this};
  std::array<telemetry::NodeCounts, kNodes> nodes_{telemetry::NodeCounts{"a"}, telemetry::NodeCounts{"b"},
                                                   telemetry::NodeCounts{"c"}};
  std::array<MonotonicTime, kNodes> report_due_;
  int64_t steps_ = 0;
};

TEST(AcceleratedRollouts, AHealthyRevisionIsLeftAlone) {
  constexpr int kRollouts = 200;
  int aborts = 0;
  for (uint32_t seed = 1; seed <= kRollouts; ++seed) {
    Simulation simulation(seed);
    simulation.Pass(120s);
    if (simulation.told) {
      ++aborts;
      std::printf("seed %u: %s\n", seed, simulation.told->message.c_str());
    }
  }
  std::printf("%d of %d healthy rollouts aborted within 2 minutes\n", aborts, kRollouts);
  RecordProperty("false_aborts", aborts);
  // alpha is 1 %: of 200 more than 6 have a chance of 0.4 %.
  EXPECT_LE(aborts, 6);
}

TEST(AcceleratedRollouts, ABrokenRevisionIsFoundInSeconds) {
  constexpr int kRollouts = 50;
  struct Case {
    const char* name;
    double errors;
    milliseconds median;  // at most
  } const cases[] = {
      {"all of its answers are errors", 1, 2500ms}, {"half of them", 0.5, 4s}, {"one in ten", 0.1, 30s}};
  for (const Case& broken : cases) {
    std::vector<milliseconds> took;
    for (uint32_t seed = 1; seed <= kRollouts; ++seed) {
      Simulation simulation(1000 + seed);
      simulation.Pass(20s + milliseconds(37 * seed));  // at any moment between two reports
      ASSERT_FALSE(simulation.told) << simulation.told->message;
      simulation.canary_errors = broken.errors;
      simulation.first_error.reset();
      simulation.Pass(300s);
      ASSERT_TRUE(simulation.told) << broken.name;
      EXPECT_EQ(simulation.told->outcome, engine::Outcome::kFailed);
      took.push_back(std::chrono::duration_cast<milliseconds>(simulation.now() - *simulation.first_error));
    }
    std::ranges::sort(took);
    std::printf("%s: first error to verdict %.2f s median, %.2f s p90, %.2f s most\n", broken.name,
                static_cast<double>(took[kRollouts / 2].count()) / 1000,
                static_cast<double>(took[kRollouts * 9 / 10].count()) / 1000,
                static_cast<double>(took.back().count()) / 1000);
    EXPECT_LE(took[kRollouts / 2], broken.median) << broken.name;
  }
}

}  // namespace
}  // namespace weir::app
