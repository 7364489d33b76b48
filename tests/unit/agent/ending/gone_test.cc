#include "agent/ending/gone.h"

#include <gtest/gtest.h>

#include "agent/datapath/fake_ending.h"

namespace weir::ending {
namespace {

using std::chrono::milliseconds;

SocketAddress At(const std::string& address, uint16_t port = 8080) {
  return {*IpAddress::Parse(address), port};
}
const datapath::FrontendKey kVip{At("127.96.0.1", 80), Protocol::kTcp};
const datapath::FrontendKey kOther{At("127.96.0.2", 80), Protocol::kTcp};
const SocketAddress kA = At("127.1.0.1"), kB = At("127.1.0.2"), kC = At("127.1.0.3");

datapath::Frontend Split(const datapath::FrontendKey& key, std::vector<SocketAddress> chosen,
                         std::vector<SocketAddress> lingering = {}, bool known = true) {
  datapath::Frontend frontend{.key = key, .ns = "shop", .service = "checkout"};
  frontend.variants = {{.revision = "v1", .weight = 1, .endpoints = std::move(chosen)}};
  frontend.lingering = std::move(lingering);
  frontend.endpoints_known = known;
  return frontend;
}

class GoneTest : public testing::Test {
 protected:
  GoneTest() { Start(); }
  void Start() {
    gone_ = std::make_unique<Gone>(context_, clock_, ending_, milliseconds(1),
                                   [this](const auto& ns, const auto& service, uint64_t ended) {
                                     told_.push_back(fmt::format("{}/{} {}", ns, service, ended));
                                   });
  }
  void Apply(bool full, std::vector<datapath::Frontend> upserts,
             std::vector<datapath::FrontendKey> removals = {}) {
    gone_->Applied({.full = full, .upserts = std::move(upserts), .removals = std::move(removals)});
  }
  /// Time passes and the looks that are due are made; the orders there are after that.
  std::map<std::string, std::vector<datapath::EndTarget>> Look() {
    clock_.Advance(milliseconds(10));
    context_.restart();
    context_.run();
    return ending_.orders;
  }

  boost::asio::io_context context_;
  FakeClock clock_;
  datapath::FakeEnding ending_;
  std::unique_ptr<Gone> gone_;
  std::vector<std::string> told_;
};

TEST_F(GoneTest, AnEndpointThatIsInNoListAnyMore) {
  Apply(true, {Split(kVip, {kA, kB})});
  ending_.living = {{kVip, kA}, {kVip, kB}};
  EXPECT_TRUE(Look().empty());
  Apply(false, {Split(kVip, {kA})});
  const auto orders = Look();
  ASSERT_EQ(orders.size(), 1U);
  EXPECT_EQ(orders.begin()->second, (std::vector<datapath::EndTarget>{{kVip, "", kB}}));
  EXPECT_EQ(gone_->names(), (std::set<std::string>{orders.begin()->first}));
  ending_.counts.begin()->second.tcp = 4;
  ending_.FinishSweep();
  EXPECT_TRUE(Look().empty()) << "void once it is done";
  EXPECT_EQ(told_, (std::vector<std::string>{"shop/checkout 4"}));
  EXPECT_TRUE(gone_->names().empty());
}

TEST_F(GoneTest, TerminatingOrUnreadyIsNotGone) {
  Apply(true, {Split(kVip, {kA, kB})});
  ending_.living = {{kVip, kA}, {kVip, kB}};
  Apply(false, {Split(kVip, {kA}, {kB})});
  EXPECT_TRUE(Look().empty());
}

TEST_F(GoneTest, OneThatComesBackInTimeIsNot) {
  Apply(true, {Split(kVip, {kA, kB})});
  ending_.living = {{kVip, kB}};
  Apply(false, {Split(kVip, {kA})});
  Apply(false, {Split(kVip, {kA, kB})});
  EXPECT_TRUE(Look().empty());
}

TEST_F(GoneTest, WhatWentWhileNoAgentRan) {
  ending_.living = {{kVip, kC}, {kOther, kA}};
  Apply(true, {Split(kVip, {kA})});
  const auto orders = Look();
  ASSERT_EQ(orders.size(), 1U);
  EXPECT_EQ(orders.begin()->second, (std::vector<datapath::EndTarget>{{kVip, "", kC}}))
      << "of the other frontend nothing is known";
}

TEST_F(GoneTest, WhereNotAllIsKnownNothingIs) {
  Apply(true, {Split(kVip, {kA, kB}), Split(kOther, {kA, kB})});
  ending_.living = {{kVip, kB}, {kOther, kB}};
  Apply(false, {Split(kVip, {kA}, {}, /*known=*/false)}, {kOther});
  EXPECT_TRUE(Look().empty());
}

TEST_F(GoneTest, ANodeThatCannotDoesNotLook) {
  ending_.able = FailedPrecondition("Linux 6.5");
  ending_.living = {{kVip, kC}};
  Apply(true, {Split(kVip, {kA})});
  EXPECT_TRUE(Look().empty());
}

}  // namespace
}  // namespace weir::ending
