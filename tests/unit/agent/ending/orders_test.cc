#include "agent/ending/orders.h"

#include <gtest/gtest.h>

#include "agent/datapath/fake_datapath.h"
#include "agent/datapath/fake_ending.h"

namespace weir::ending {
namespace {

constexpr const char* kController = "c1";

v1::FrontendKey Key(uint16_t port = 80) {
  v1::FrontendKey key;
  key.set_address(IpAddress::Parse("127.96.0.1")->ToBytes());
  key.set_port(port);
  key.set_protocol(v1::PROTOCOL_TCP);
  return key;
}

v1::EndOrders Orders(std::initializer_list<std::pair<std::string, uint64_t>> orders) {
  v1::EndOrders message;
  for (const auto& [id, generation] : orders) {
    v1::EndOrder& order = *message.add_orders();
    order.set_id(id);
    order.set_generation(generation);
    order.set_namespace_("shop");
    order.set_service("checkout");
    order.set_revision("v2");
    *order.add_frontends() = Key();
  }
  return message;
}

class OrdersTest : public testing::Test {
 protected:
  OrdersTest() { Start(); }

  /// A new process of the agent; the kernel goes on.
  void Start() {
    orders_ = std::make_unique<ending::Orders>(context_, datapath_, ending_);
    Connect();
  }
  void Connect() {
    orders_->Welcomed(kController, [this](v1::AgentMessage message) { sent_.push_back(message.ended()); });
  }
  void Apply(uint64_t generation, uint32_t canary_weight) {
    datapath::Change change{.generation = generation, .controller_id = kController};
    datapath::Frontend& frontend = change.upserts.emplace_back();
    frontend.key = {{*IpAddress::Parse("127.96.0.1"), 80}, Protocol::kTcp};
    frontend.variants = {{.revision = "v1", .weight = 1}, {.revision = "v2", .weight = canary_weight}};
    orders_->BeforeApply(change);
    ASSERT_TRUE(datapath_.Apply(change).ok());
    orders_->AfterApply();
  }
  void Finish(const datapath::Swept& swept = {}) {
    ASSERT_FALSE(ending_.sweeps.empty());
    ending_.FinishSweep(swept);
    context_.restart();
    context_.run();
  }
  uint64_t Total() const {
    const auto found = orders_->ended().find({"shop", "checkout", "v2"});
    return found == orders_->ended().end() ? 0 : found->second;
  }

  boost::asio::io_context context_;
  datapath::FakeDatapath datapath_;
  datapath::FakeEnding ending_;
  std::unique_ptr<ending::Orders> orders_;
  std::vector<v1::Ended> sent_;
};

TEST_F(OrdersTest, IsCarriedOutAndAnsweredOnce) {
  Apply(5, 0);
  orders_->OnEndOrders(Orders({{"a", 5}}));
  ASSERT_EQ(ending_.orders.at("a").size(), 1U);
  EXPECT_EQ(ending_.orders["a"][0].revision, "v2");
  EXPECT_EQ(ending_.orders["a"][0].frontend.address.port, 80);
  EXPECT_TRUE(sent_.empty());
  ending_.counts["a"] = {.tcp = 30, .udp = 7};
  datapath::Swept swept;
  swept.orders["a"] = {.namespaces = {1, 2}, .left = 0, .multipath = 0};
  Finish(swept);
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_EQ(sent_[0].id(), "a");
  EXPECT_EQ(sent_[0].tcp(), 30U);
  EXPECT_EQ(sent_[0].udp(), 7U);
  EXPECT_EQ(sent_[0].namespaces(), 2U);
  EXPECT_EQ(sent_[0].trouble(), "");
  EXPECT_EQ(Total(), 37U);
  Apply(6, 0);
  EXPECT_TRUE(ending_.sweeps.empty()) << "once";
  EXPECT_EQ(sent_.size(), 1U);
}

TEST_F(OrdersTest, WaitsForItsGeneration) {
  Apply(4, 20);
  orders_->OnEndOrders(Orders({{"a", 5}}));
  EXPECT_TRUE(ending_.orders.empty());
  Apply(5, 0);
  EXPECT_EQ(ending_.orders.count("a"), 1U);
  EXPECT_EQ(ending_.sweeps.size(), 1U);
}

TEST_F(OrdersTest, AGenerationOfAnotherControllersSaysNothing) {
  datapath_.generation = 99;
  datapath_.controller_id = "another";
  orders_->OnEndOrders(Orders({{"a", 5}}));
  EXPECT_TRUE(ending_.orders.empty());
  Apply(5, 0);
  EXPECT_EQ(ending_.orders.count("a"), 1U);
}

TEST_F(OrdersTest, AnOrderThatIsNotNamedAnyMoreIsVoid) {
  Apply(5, 0);
  orders_->OnEndOrders(Orders({{"a", 5}, {"b", 5}}));
  orders_->OnEndOrders(Orders({{"b", 5}}));
  EXPECT_EQ(ending_.orders.count("a"), 0U);
  EXPECT_EQ(ending_.orders.count("b"), 1U);
  Finish();
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_EQ(sent_[0].id(), "b");
}

TEST_F(OrdersTest, WeightForTheRevisionVoidsItBeforeTheChangeIsInForce) {
  Apply(5, 0);
  orders_->OnEndOrders(Orders({{"a", 5}}));
  datapath_.on_apply = [this](const datapath::Change&) { EXPECT_TRUE(ending_.orders.empty()); };
  Apply(6, 20);
  Finish();
  EXPECT_TRUE(sent_.empty());
}

TEST_F(OrdersTest, WhatDidNotArriveIsSaidAgain) {
  Apply(5, 0);
  orders_->OnEndOrders(Orders({{"a", 5}}));
  orders_->Gone();
  ending_.counts["a"] = {.tcp = 3};
  Finish();
  EXPECT_TRUE(sent_.empty());
  Connect();
  orders_->OnEndOrders(Orders({{"a", 5}}));
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_EQ(sent_[0].tcp(), 3U);
  EXPECT_TRUE(ending_.sweeps.empty()) << "not carried out again";
}

TEST_F(OrdersTest, ASuccessorAnswersWhatTheKilledOneDid) {
  Apply(5, 0);
  orders_->OnEndOrders(Orders({{"a", 5}}));
  ending_.counts["a"] = {.tcp = 12};
  ending_.sweeps.clear();  // killed before it could tell
  Start();
  orders_->OnEndOrders(Orders({{"a", 5}}));
  ending_.counts["a"].tcp += 1;  // one that the first did not come to
  Finish();
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_EQ(sent_[0].tcp(), 13U);
  EXPECT_EQ(Total(), 1U) << "a process counts what it ended itself";
}

TEST_F(OrdersTest, ANodeThatCannotSaysWhy) {
  ending_.able = FailedPrecondition("end connections (Linux 6.5 or later is needed)");
  Apply(5, 0);
  EXPECT_EQ(orders_->Abilities(), (std::vector<std::string>{"end_orders"}));
  orders_->OnEndOrders(Orders({{"a", 5}}));
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_EQ(sent_[0].trouble(), "end connections (Linux 6.5 or later is needed)");
  ending_.able = OkStatus();
  EXPECT_EQ(orders_->Abilities(), (std::vector<std::string>{"end_orders", "sock_destroy"}));
}

TEST_F(OrdersTest, WhatIsLeftIsSaidWithTheReason) {
  Apply(5, 0);
  orders_->OnEndOrders(Orders({{"a", 5}}));
  datapath::Swept swept{.orders = {}, .failures = {"network namespace 7: cannot be entered"}};
  swept.orders["a"] = {.namespaces = {1}, .left = 3, .multipath = 1};
  Finish(swept);
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_EQ(sent_[0].left(), 3U);
  EXPECT_EQ(sent_[0].trouble(),
            "1 MPTCP connections cannot be ended; network namespace 7: cannot be entered");
}

TEST_F(OrdersTest, APassThatEndsAfterItsAgentIsNothing) {
  Apply(5, 0);
  orders_->OnEndOrders(Orders({{"a", 5}}));
  orders_.reset();
  Finish();
  EXPECT_TRUE(sent_.empty());
}

}  // namespace
}  // namespace weir::ending
