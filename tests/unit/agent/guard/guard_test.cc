#include "agent/guard/guard.h"

#include <gtest/gtest.h>

#include "agent/datapath/fake_datapath.h"

namespace weir::guard {
namespace {

using datapath::Change;
using datapath::Cut;
using datapath::Frontend;
using datapath::FrontendKey;
using std::chrono::seconds;

SocketAddress At(const char* address, uint16_t port) { return {*IpAddress::Parse(address), port}; }

const FrontendKey kHttp{At("127.96.0.1", 80), Protocol::kTcp}, kAdmin{At("127.96.0.1", 81), Protocol::kTcp};

/// v1 has 80, v2 has 20; the node goes back to v1 after 30 s, or 5 failures.
Frontend Exposed(const FrontendKey& key, uint32_t round = 0) {
  Frontend frontend;
  frontend.key = key;
  frontend.ns = "shop";
  frontend.service = "checkout";
  frontend.variants = {{"v1", 80, {At("127.0.0.1", 8080), At("127.0.0.3", 8080)}, datapath::Role::kStable},
                       {"v2", 20, {At("127.0.0.2", 8080)}, datapath::Role::kCanary}};
  frontend.fail_safe = {.stable = "v1", .after = seconds(30), .trip_after = 5, .round = round};
  return frontend;
}

class GuardTest : public testing::Test {
 protected:
  GuardTest() {
    guard_.emplace(kernel_, clock_, [this] { return boottime_; });
  }

  void Apply(std::vector<Frontend> frontends, bool full = false) {
    guard_->Heard();
    const Change change{
        ++generation_, "7b1c8d4e-0000-4000-8000-000000000001", full, std::move(frontends), {}};
    ASSERT_TRUE(guard_->Apply(change).ok());
    guard_->Heard();
  }
  void Pass(seconds time) {
    boottime_ += time;
    clock_.Advance(time);
    guard_->Poll();
  }
  /// A new process on the same kernel.
  void Restart() {
    guard_.emplace(kernel_, clock_, [this] { return boottime_; });
    guard_->Poll();
  }
  std::vector<uint32_t> Weights(const FrontendKey& key = kHttp) const {
    std::vector<uint32_t> weights;
    for (const auto& variant : kernel_.frontends.at(key).variants) weights.push_back(variant.weight);
    return weights;
  }
  using W = std::vector<uint32_t>;

  datapath::FakeDatapath kernel_;
  FakeClock clock_;
  std::chrono::nanoseconds boottime_ = seconds(1000);
  uint64_t generation_ = 0;
  std::optional<Guard> guard_;
};

TEST_F(GuardTest, CutOffGoesToStableUnderTheGenerationHeld) {
  Apply({Exposed(kHttp)});
  Pass(seconds(29));
  EXPECT_EQ(Weights(), (W{80, 20}));
  Pass(seconds(2));
  EXPECT_EQ(Weights(), (W{100, 0}));
  EXPECT_EQ(kernel_.frontends.at(kHttp).cut, Cut::kCutOff);
  EXPECT_EQ(kernel_.generation, 1U);
  EXPECT_EQ(guard_->times_cut_off(), 1U);
  const size_t applied = kernel_.applied.size();
  Pass(seconds(60));
  EXPECT_EQ(kernel_.applied.size(), applied) << "once is enough";
}

TEST_F(GuardTest, EverySignOfLifeBeginsTheTimeAnew) {
  Apply({Exposed(kHttp)});
  for (int i = 0; i < 5; ++i) {
    Pass(seconds(25));
    guard_->Heard();
  }
  EXPECT_EQ(Weights(), (W{80, 20}));
}

TEST_F(GuardTest, ASignOfLifeAfterwardsRestoresNothing) {
  Apply({Exposed(kHttp)});
  boottime_ += seconds(31);  // stopped meanwhile: nobody polled
  guard_->Heard();
  EXPECT_EQ(Weights(), (W{100, 0}));
  EXPECT_EQ(kernel_.heard, boottime_) << "it is kept now, so the time may go on";
  Pass(seconds(1));
  EXPECT_EQ(Weights(), (W{100, 0}));
}

TEST_F(GuardTest, ToldWithEveryStreamAndWhenItChanges) {
  Apply({Exposed(kHttp, 7)});
  EXPECT_TRUE(guard_->Report(true)) << "that there is nothing is told as well";
  EXPECT_FALSE(guard_->Report(false));
  Pass(seconds(31));
  auto report = guard_->Report(false);
  ASSERT_TRUE(report);
  ASSERT_EQ(report->taken_out_size(), 1);
  const v1::TakenOut taken = report->taken_out(0);
  EXPECT_EQ(taken.service(), "checkout");
  EXPECT_EQ(taken.revision(), "v2");
  EXPECT_EQ(taken.reason(), v1::TakenOut::REASON_CUT_OFF);
  EXPECT_EQ(taken.round(), 7U);
  EXPECT_FALSE(guard_->Report(false));
  Pass(seconds(16));
  report = guard_->Report(false);
  ASSERT_TRUE(report) << "again from time to time";
  EXPECT_EQ(report->taken_out(0).for_ms(), 16'000U);
  EXPECT_TRUE(guard_->Report(true));
}

TEST_F(GuardTest, HoldsThroughOtherWeightsAndEndpointsOfTheSameRound) {
  Apply({Exposed(kHttp)});
  Pass(seconds(31));
  Frontend raised = Exposed(kHttp);
  raised.variants[0].weight = 50;
  raised.variants[1].weight = 50;
  Apply({raised});
  EXPECT_EQ(Weights(), (W{100, 0}));
  EXPECT_EQ(kernel_.generation, 2U);
}

TEST_F(GuardTest, AnotherRoundIsTheOrderToGoOn) {
  Apply({Exposed(kHttp)});
  Pass(seconds(31));
  Apply({Exposed(kHttp, 1)});
  EXPECT_EQ(Weights(), (W{80, 20}));
  EXPECT_TRUE(guard_->taken_out().empty());
  const auto report = guard_->Report(false);
  ASSERT_FALSE(report && report->taken_out_size() > 0);
  Pass(seconds(31));
  EXPECT_EQ(Weights(), (W{100, 0})) << "and may be taken out again";
}

TEST_F(GuardTest, OverWithTheCanary) {
  Apply({Exposed(kHttp)});
  Pass(seconds(31));
  Frontend aborted = Exposed(kHttp);
  aborted.variants[0].weight = 100;
  aborted.variants[1].weight = 0;
  aborted.fail_safe.reset();
  Apply({aborted});
  EXPECT_TRUE(guard_->taken_out().empty());
  EXPECT_EQ(kernel_.frontends.at(kHttp), aborted);
  Frontend next = Exposed(kHttp);
  next.variants[1].revision = "v3";
  Apply({next});
  EXPECT_EQ(Weights(), (W{80, 20}));
}

TEST_F(GuardTest, ATripOfOnePortIsTheServices) {
  Apply({Exposed(kHttp), Exposed(kAdmin)});
  kernel_.tripped.insert(kAdmin);
  guard_->Poll();
  EXPECT_EQ(Weights(kHttp), (W{100, 0}));
  EXPECT_EQ(Weights(kAdmin), (W{100, 0}));
  EXPECT_EQ(guard_->Report(false)->taken_out(0).reason(), v1::TakenOut::REASON_TRIPPED);
  EXPECT_EQ(guard_->times_tripped(), 1U);
}

TEST_F(GuardTest, ANewProcessThatIsCutOffKeepsSilentUntilItKnowsTheNames) {
  Apply({Exposed(kHttp)});
  boottime_ += seconds(20);
  Restart();
  boottime_ += seconds(20);  // 40 s in all: the kernel has decided
  guard_->Poll();
  const auto heard = kernel_.heard;
  guard_->Heard();  // a welcome
  EXPECT_EQ(kernel_.heard, heard) << "a sign of life would expose the canary again, and nobody would know";
  Apply({Exposed(kHttp, 3)}, true);
  EXPECT_EQ(Weights(), (W{100, 0}));
  EXPECT_EQ(kernel_.heard, boottime_);
  EXPECT_EQ(guard_->taken_out().begin()->second.round, 3U);
}

TEST_F(GuardTest, WhatWasInForceHoldsOverARestart) {
  Apply({Exposed(kHttp)});
  kernel_.tripped.insert(kHttp);
  guard_->Poll();
  kernel_.tripped.clear();
  Restart();
  EXPECT_EQ(Weights(), (W{100, 0}));
  guard_->Heard();
  Apply({Exposed(kHttp)}, true);
  EXPECT_EQ(Weights(), (W{100, 0}));
  ASSERT_EQ(guard_->Report(false)->taken_out_size(), 1);
  EXPECT_EQ(guard_->taken_out().begin()->second.cut, Cut::kTripped);
}

TEST_F(GuardTest, ANewProcessTakesOverNothingOfAnotherCanary) {
  Apply({Exposed(kHttp)});
  Pass(seconds(31));
  Restart();
  Frontend next = Exposed(kHttp);
  next.variants[1].revision = "v3";
  Apply({next}, true);
  EXPECT_EQ(Weights(), (W{80, 20}));
}

TEST_F(GuardTest, WhatCannotBePutInForceIsTriedAgainAndNoSignOfLifePassedOn) {
  Apply({Exposed(kHttp)});
  kernel_.fail_next = {Error(absl::StatusCode::kResourceExhausted, "full"),
                       Error(absl::StatusCode::kResourceExhausted, "full")};
  const auto heard = kernel_.heard;
  Pass(seconds(31));
  guard_->Heard();
  EXPECT_EQ(kernel_.heard, heard);
  guard_->Heard();
  EXPECT_EQ(Weights(), (W{100, 0}));
  EXPECT_EQ(kernel_.heard, boottime_);
}

TEST_F(GuardTest, ARefusedChangeChangesNothing) {
  Apply({Exposed(kHttp)});
  Pass(seconds(31));
  kernel_.fail_next = {Error(absl::StatusCode::kResourceExhausted, "full")};
  EXPECT_FALSE(guard_->Apply({9, kernel_.controller_id, false, {Exposed(kHttp, 1)}, {}}).ok());
  EXPECT_EQ(guard_->taken_out().size(), 1U);
  EXPECT_EQ(Weights(), (W{100, 0}));
}

TEST_F(GuardTest, WithoutAnEndpointOfStableThereIsNothingToFallBackOn) {
  Frontend frontend = Exposed(kHttp);
  frontend.variants[0].endpoints.clear();
  Apply({frontend});
  Pass(seconds(31));
  EXPECT_EQ(Weights(), (W{80, 20}));
  EXPECT_TRUE(guard_->taken_out().empty());
}

TEST_F(GuardTest, FrontendsWithoutInstructionsPassUnchanged) {
  Frontend plain = Exposed(kHttp);
  plain.fail_safe.reset();
  Apply({plain});
  EXPECT_EQ(kernel_.frontends.at(kHttp), plain);
  Pass(seconds(1000));
  EXPECT_EQ(kernel_.frontends.at(kHttp), plain);
}

TEST_F(GuardTest, EndpointsThatFailAreLeftOutAndComeBack) {
  Frontend frontend = Exposed(kHttp);
  frontend.health = datapath::PassiveHealth{.consecutive_failures = 3};
  Apply({frontend});
  const SocketAddress dead = At("127.0.0.3", 8080);
  kernel_.failures[{kHttp, dead}] = {.key = kHttp, .endpoint = dead, .in_row = 3};
  guard_->Poll();
  EXPECT_EQ(kernel_.frontends.at(kHttp).variants[0].endpoints, std::vector{At("127.0.0.1", 8080)});
  EXPECT_EQ(Weights(), (W{80, 20}));
  EXPECT_EQ(kernel_.generation, 1U);
  const auto report = guard_->Report(false);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->left_out(0).revision(), "v1");
  EXPECT_EQ(report->left_out(0).times(), 1U);
  guard_->Heard();
  Pass(seconds(1));
  EXPECT_EQ(kernel_.frontends.at(kHttp), frontend);
}

}  // namespace
}  // namespace weir::guard
