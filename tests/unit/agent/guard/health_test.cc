#include "agent/guard/health.h"

#include <gtest/gtest.h>

namespace weir::guard {
namespace {

using datapath::EndpointFailures;
using datapath::Frontend;
using datapath::FrontendKey;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

SocketAddress At(const char* address) { return {*IpAddress::Parse(address), 8080}; }

const FrontendKey kKey{{*IpAddress::Parse("127.96.0.1"), 80}, Protocol::kTcp};
const SocketAddress kA = At("127.0.0.1"), kB = At("127.0.0.2"), kC = At("127.0.0.3"), kD = At("127.0.0.4");

/// Stable has A and B, the canary C and D; three failures in a row, 1 s at first, 5 min at most.
class HealthTest : public testing::Test {
 protected:
  HealthTest() {
    Frontend frontend;
    frontend.key = kKey;
    frontend.variants = {{"v1", 80, {kA, kB}}, {"v2", 20, {kC, kD}}};
    frontend.health = datapath::PassiveHealth{.consecutive_failures = 3};
    wanted_[kKey] = frontend;
  }
  /// What the kernel would do.
  void Fail(const SocketAddress& endpoint, uint32_t times) {
    failures_[endpoint].key = kKey;
    failures_[endpoint].endpoint = endpoint;
    failures_[endpoint].in_row += times;
  }
  void Answer(const SocketAddress& endpoint) {
    const auto found = failures_.find(endpoint);
    if (found == failures_.end()) return;
    found->second.in_row = 0;
    ++found->second.answered;
  }
  Health::Outcome Look() {
    std::vector<EndpointFailures> list;
    for (const auto& [endpoint, failure] : failures_) list.push_back(failure);
    const Health::Outcome outcome = health_.Look(wanted_, list, now_);
    for (const auto& [key, endpoint] : outcome.forget) failures_.erase(endpoint);
    for (const auto& [key, endpoint] : outcome.expect)
      failures_[endpoint] = {.key = key, .endpoint = endpoint};
    return outcome;
  }
  std::vector<std::vector<SocketAddress>> Rest() const {
    Frontend frontend = wanted_.at(kKey);
    health_.Filter(frontend);
    std::vector<std::vector<SocketAddress>> rest;
    for (const auto& variant : frontend.variants) rest.push_back(variant.endpoints);
    return rest;
  }
  using Lists = std::vector<std::vector<SocketAddress>>;
  const Lists all_{{kA, kB}, {kC, kD}};

  Health health_;
  Health::Wanted wanted_;
  std::map<SocketAddress, EndpointFailures> failures_;
  MonotonicTime now_{std::chrono::hours(1)};
};

TEST_F(HealthTest, LeftOutAtTheThirdInARow) {
  Fail(kA, 2);
  EXPECT_TRUE(Look().changed.empty());
  EXPECT_EQ(Rest(), all_);
  Fail(kA, 1);
  EXPECT_TRUE(Look().changed.contains(kKey));
  EXPECT_EQ(Rest(), (Lists{{kB}, {kC, kD}}));
  EXPECT_TRUE(Look().changed.empty()) << "once is enough";
}

TEST_F(HealthTest, ASuccessInBetweenBeginsTheRowAnew) {
  Fail(kA, 2);
  Look();
  Answer(kA);
  Fail(kA, 2);
  EXPECT_TRUE(Look().changed.empty());
  Fail(kA, 1);
  EXPECT_FALSE(Look().changed.empty());
}

TEST_F(HealthTest, TheTimeDoublesUpToItsBoundAndOneFailureAfterTheReturnIsEnough) {
  Fail(kA, 3);
  Look();
  seconds expected{1};
  for (int round = 0; round < 12; ++round) {
    ASSERT_EQ(Rest(), (Lists{{kB}, {kC, kD}})) << round;
    now_ += expected - milliseconds(1);
    Look();
    ASSERT_EQ(Rest(), (Lists{{kB}, {kC, kD}})) << round;
    now_ += milliseconds(1);
    Look();
    ASSERT_EQ(Rest(), all_) << round;
    Fail(kA, 1);
    Look();
    expected = std::min<seconds>(expected * 2, minutes(5));
  }
  EXPECT_EQ(expected, minutes(5));
  EXPECT_EQ(health_.times_left_out(), 13U);
}

TEST_F(HealthTest, OneSuccessAfterTheReturnMakesItWhole) {
  Fail(kA, 3);
  Look();
  now_ += seconds(1);
  Look();
  Answer(kA);
  Look();
  EXPECT_TRUE(failures_.empty()) << "nothing more is to be known of it";
  Fail(kA, 2);
  Look();
  EXPECT_EQ(Rest(), all_);
  Fail(kA, 1);
  Look();
  EXPECT_EQ(health_.left_out().at({kKey, kA}).until, now_ + seconds(1)) << "not two";
}

TEST_F(HealthTest, FailuresFromBeforeTheReturnAreOfNoAccount) {
  Fail(kA, 3);
  Look();
  Fail(kA, 2);  // connects that were under way
  now_ += seconds(1);
  Look();
  Look();
  EXPECT_EQ(Rest(), all_);
}

TEST_F(HealthTest, AnAnswerToAConnectThatWasUnderWayBringsItBackAtOnce) {
  Fail(kA, 3);
  Look();
  Answer(kA);
  EXPECT_TRUE(Look().changed.contains(kKey));
  EXPECT_EQ(Rest(), all_);
}

TEST_F(HealthTest, NeverTheLastOfItsVariant) {
  for (const SocketAddress& endpoint : {kA, kB, kC, kD}) Fail(endpoint, 9);
  Look();
  EXPECT_EQ(Rest(), (Lists{{kB}, {kD}})) << "each variant keeps one, so no weight moves";
  now_ += seconds(1);
  Look();  // A and C are back: now B and D may go
  Look();
  EXPECT_EQ(Rest(), (Lists{{kA}, {kC}}));
}

TEST_F(HealthTest, TheOnlyOneStays) {
  wanted_[kKey].variants = {{"v1", 1, {kA}}};
  Fail(kA, 100);
  EXPECT_TRUE(Look().changed.empty());
  EXPECT_EQ(Rest(), (Lists{{kA}}));
}

TEST_F(HealthTest, WhenTheOthersGoTheLastIsBack) {
  Fail(kA, 3);
  Look();
  wanted_[kKey].variants[0].endpoints = {kA};
  EXPECT_EQ(Rest(), (Lists{{kA}, {kC, kD}}));
}

TEST_F(HealthTest, EndpointsThatAreGoneAreForgotten) {
  Fail(kA, 3);
  Look();
  wanted_[kKey].variants[0].endpoints = {kB};
  Look();
  EXPECT_TRUE(failures_.empty());
  wanted_[kKey].variants[0].endpoints = {kA, kB};
  EXPECT_EQ(Rest(), all_) << "a new one of the same address begins with nothing against it";
}

TEST_F(HealthTest, NothingIsLeftOutWhereNobodyAskedForIt) {
  wanted_[kKey].health.reset();
  Fail(kA, 100);
  Look();
  EXPECT_EQ(Rest(), all_);
  EXPECT_TRUE(failures_.empty());
}

}  // namespace
}  // namespace weir::guard
