#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "controller/engine/engine_json.h"
#include "tests/unit/controller/engine/invariants.h"

namespace weir::engine {
namespace {

Source Seeded(uint32_t seed) {
  auto random = std::make_shared<std::mt19937>(seed);
  return [random](uint32_t bound) { return static_cast<uint32_t>((*random)() % bound); };
}

class Trial {
 public:
  explicit Trial(uint32_t seed, bool blue_green = false)
      : world_(
            Seeded(seed),
            [seed, this](const std::string& what) {
              ADD_FAILURE() << "seed " << seed << ", event " << event_ << ": " << what;
            },
            blue_green) {}
  World& world() { return world_; }
  void Happen(int events) {
    for (int i = 0; i < events && !testing::Test::HasFailure(); ++i, ++event_) world_.Happen();
  }

 private:
  int event_ = 0;
  World world_;
};

TEST(EnginePropertyTest, RandomEventsKeepTheInvariants) {
  uint32_t rollouts = 0, aborted = 0, weighted = 0, finished = 0, judged = 0, inconclusive = 0, ended = 0;
  for (uint32_t seed = 1; seed <= 3000 && !HasFailure(); ++seed) {
    Trial run(seed);
    for (int i = 0; i < 40; ++i) {
      run.Happen(5);
      const State& state = run.world().state();
      rollouts += !state.canary.empty();
      aborted += state.aborted;
      judged += state.aborted && !state.reason.empty();
      inconclusive += state.hold == Hold::kInconclusive;
      weighted += state.published_weight > 0;
      ended += state.ending && state.ending->ordered;
      finished += !state.history.empty();
    }
  }
  // The run has been where it matters.
  EXPECT_GT(rollouts, 10'000u);
  EXPECT_GT(aborted, 1'000u);
  EXPECT_GT(weighted, 2'000u);
  EXPECT_GT(finished, 1'000u);
  EXPECT_GT(judged, 200u);
  EXPECT_GT(inconclusive, 50u);
  EXPECT_GT(ended, 500u);
}

TEST(EnginePropertyTest, RandomEventsKeepTheInvariantsOfBlueGreen) {
  uint32_t kept = 0, undone = 0, aborted = 0;
  for (uint32_t seed = 1; seed <= 1500 && !HasFailure(); ++seed) {
    Trial run(seed, /*blue_green=*/true);
    for (int i = 0; i < 200; ++i) {
      const State before = run.world().state();
      run.Happen(1);
      const State& state = run.world().state();
      kept += !state.previous.empty();
      const bool back = !before.previous.empty() && state.stable == before.previous;
      undone += back && state.canary.empty();
      aborted += back && state.aborted;
    }
  }
  EXPECT_GT(kept, 3'000u);
  EXPECT_GT(undone, 50u);
  EXPECT_GT(aborted, 20u);
}

TEST(EnginePropertyTest, FromEveryStateCooperationEndsHealthy) {
  for (uint32_t seed = 1; seed <= 3000 && !HasFailure(); ++seed) {
    Trial run(seed);
    run.Happen(static_cast<int>(seed % 60));
    run.world().Cooperate();
  }
}

TEST(EnginePropertyTest, EveryReachableStateSurvivesItsText) {
  for (uint32_t seed = 1; seed <= 100; ++seed) {
    Trial run(seed);
    for (int i = 0; i < 50; ++i) {
      run.Happen(2);
      const Result<State> read = FromJson(ToJson(run.world().state()));
      ASSERT_TRUE(read.ok()) << read.status();
      ASSERT_TRUE(*read == run.world().state());
    }
  }
}

}  // namespace
}  // namespace weir::engine
