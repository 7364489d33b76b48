#include "controller/app/endings.h"

#include "tests/unit/controller/app/core_fixture.h"
#include "tests/unit/controller/dispatch/messages.h"

namespace weir::app {
namespace {

/// Passes what the dispatcher hears on, as App does.
class Observer final : public dispatch::Observer {
 public:
  Result<std::map<std::string, uint32_t>> NumberNodes(const std::vector<std::string>& names) override {
    std::map<std::string, uint32_t> numbers;
    for (const std::string& name : names) numbers[name] = next_++;
    return numbers;
  }
  void OnNodesChanged() override {}
  void OnTelemetry(const dispatch::Node&, const v1::Telemetry&) override {}
  void OnAgentAhead(uint64_t) override {}
  void OnEnded(const dispatch::Node& node, const v1::Ended& ended) override {
    endings->OnEnded(node.name, ended);
  }
  Endings* endings = nullptr;

 private:
  uint32_t next_ = 0;
};

/// An agent's end; keeps the orders it was sent.
class Agent final : public dispatch::Stream {
 public:
  Agent(dispatch::Dispatcher& dispatcher, const std::string& name, bool understands = true)
      : dispatcher_(dispatcher) {
    dispatcher_.OnOpened(this);
    v1::AgentMessage message;
    message.mutable_hello()->set_node_name(name);
    message.mutable_hello()->set_agent_version("0.1.0");
    if (understands) message.mutable_hello()->add_abilities("end_orders");
    dispatcher_.OnMessage(this, message);
    dispatcher_.WelcomePending();
    Drain();
  }
  ~Agent() override { dispatcher_.OnClosed(this); }
  void Write(const grpc::ByteBuffer& message) override {
    const v1::ControllerMessage parsed = dispatch::Parse(message);
    if (parsed.has_end_orders()) orders.push_back(parsed.end_orders());
    in_flight_ = true;
  }
  void Close(const grpc::Status&) override {}
  void Abort() override {}
  void Drain() {
    while (std::exchange(in_flight_, false)) dispatcher_.OnWritten(this);
  }
  void Answer(const std::string& id, uint64_t tcp, uint64_t udp = 0) {
    v1::AgentMessage message;
    message.mutable_ended()->set_id(id);
    message.mutable_ended()->set_tcp(tcp);
    message.mutable_ended()->set_udp(udp);
    dispatcher_.OnMessage(this, message);
  }

  std::vector<v1::EndOrders> orders;

 private:
  dispatch::Dispatcher& dispatcher_;
  bool in_flight_ = false;
};

class EndingsTest : public CoreTest {
 protected:
  void SetUp() override {
    CoreTest::SetUp();
    MakeEndings();
    Abort();
  }
  void MakeEndings() {
    dispatcher_ = std::make_unique<dispatch::Dispatcher>(dispatch::Dispatcher::Options{}, clock, observer_);
    endings_ = std::make_unique<Endings>(*core, *dispatcher_);
    endings_->Load();
    observer_.endings = endings_.get();
  }
  void Abort() {
    std::string rollout = RolloutYaml("v1");
    const std::string on_abort = "service: checkout, onAbort: reset,";
    const auto with = [&](std::string yaml) {
      yaml.replace(yaml.find("service: checkout,"), 18, on_abort);
      return yaml;
    };
    ASSERT_TRUE(
        Put({kServiceYaml, SliceYaml("v1", "127.0.1.1"), SliceYaml("v2", "127.0.1.2"), with(rollout)}).ok());
    ASSERT_TRUE(AckAll().ok());
    ASSERT_TRUE(Put({with(RolloutYaml("v2"))}).ok());
    ASSERT_TRUE(AckAll().ok());
    ASSERT_TRUE(core->Feed(kCheckout, engine::Abort{}).ok());
    ASSERT_TRUE(State().ending && State().ending->ordered);
    endings_->Changed(kCheckout);
  }
  /// As App does when it settles.
  void Settle() {
    for (const auto& [key, event] : endings_->News()) {
      ASSERT_TRUE(core->Feed(key, event).ok());
      endings_->Changed(key);
    }
    endings_->Look();
  }
  std::string Id() const { return EndOrderId(kCheckout, *State().ending); }

  Observer observer_;
  std::unique_ptr<dispatch::Dispatcher> dispatcher_;
  std::unique_ptr<Endings> endings_;
};

TEST_F(EndingsTest, ANodeIsToldWhatStandsUntilItsAnswerIsStored) {
  Agent agent(*dispatcher_, "node-1");
  endings_->Look();
  agent.Drain();
  ASSERT_EQ(agent.orders.size(), 1U);
  ASSERT_EQ(agent.orders[0].orders_size(), 1);
  const v1::EndOrder& order = agent.orders[0].orders(0);
  EXPECT_EQ(order.id(), Id());
  EXPECT_EQ(order.revision(), "v2");
  EXPECT_EQ(order.service(), "checkout");
  EXPECT_EQ(order.generation(), core->generation());
  ASSERT_EQ(order.frontends_size(), 1);
  EXPECT_EQ(order.frontends(0).port(), 80U);
  endings_->Look();
  EXPECT_EQ(agent.orders.size(), 1U) << "told once";

  agent.Answer(order.id(), 30, 7);
  store.refusing = true;
  for (const auto& [key, event] : endings_->News()) EXPECT_FALSE(core->Feed(key, event).ok());
  store.refusing = false;
  Settle();
  agent.Drain();
  EXPECT_EQ(State().ending->nodes.at("node-1").connections, 37U);
  ASSERT_EQ(agent.orders.size(), 2U);
  EXPECT_EQ(agent.orders[1].orders_size(), 0);
  EXPECT_TRUE(endings_->News().empty());
  EXPECT_EQ(endings_->totals().at({"shop", "checkout", "v2", "abort"}), 37U);
}

TEST_F(EndingsTest, ANodeThatComesBackIsToldAgain) {
  {
    Agent agent(*dispatcher_, "node-1");
    endings_->Look();
    EXPECT_EQ(agent.orders.size(), 1U);
  }
  clock.Advance(std::chrono::milliseconds(10));
  Agent agent(*dispatcher_, "node-1");
  endings_->Look();
  ASSERT_EQ(agent.orders.size(), 1U);
  EXPECT_EQ(agent.orders[0].orders_size(), 1);
}

TEST_F(EndingsTest, TheOrderStandsThroughARestart) {
  const std::string id = Id();
  Start();
  MakeEndings();
  EXPECT_EQ(Id(), id);
  Agent agent(*dispatcher_, "node-1");
  endings_->Look();
  ASSERT_EQ(agent.orders.size(), 1U);
  EXPECT_EQ(agent.orders[0].orders(0).id(), id);
  agent.Answer(id, 5);
  Settle();
  Start();
  MakeEndings();
  endings_->Changed(kCheckout);
  EXPECT_EQ(State().ending->nodes.at("node-1").connections, 5U);
  EXPECT_TRUE(endings_->totals().empty() || endings_->totals().begin()->second == 0)
      << "counted by the process before";
}

TEST_F(EndingsTest, RetryVoidsIt) {
  Agent agent(*dispatcher_, "node-1");
  endings_->Look();
  agent.Drain();
  const std::string id = Id();
  ASSERT_TRUE(core->Feed(kCheckout, engine::Retry{}).ok());
  endings_->Changed(kCheckout);
  agent.Drain();
  ASSERT_EQ(agent.orders.size(), 2U);
  EXPECT_EQ(agent.orders[1].orders_size(), 0);
  agent.Answer(id, 5);  // too late
  EXPECT_TRUE(endings_->News().empty());
}

TEST_F(EndingsTest, ANodeThatIsTooOldIsNamed) {
  Agent old(*dispatcher_, "node-1", /*understands=*/false);
  Settle();
  EXPECT_TRUE(old.orders.empty());
  EXPECT_EQ(State().ending->nodes.at("node-1").trouble,
            "weir-agent 0.1.0 cannot end connections: upgrade it");
}

TEST_F(EndingsTest, WithoutAnyOrderANewSessionIsToldSo) {
  ASSERT_TRUE(core->Feed(kCheckout, engine::Retry{}).ok());
  endings_->Changed(kCheckout);
  Agent agent(*dispatcher_, "node-1");
  endings_->Look();
  ASSERT_EQ(agent.orders.size(), 1U);
  EXPECT_EQ(agent.orders[0].orders_size(), 0);
}

}  // namespace
}  // namespace weir::app
