#include "controller/dispatch/dispatcher.h"

#include <gtest/gtest.h>

#include "tests/unit/controller/dispatch/messages.h"

namespace weir::dispatch {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class FakeStream final : public Stream {
 public:
  explicit FakeStream(Dispatcher& dispatcher) : dispatcher_(dispatcher) { dispatcher_.OnOpened(this); }
  ~FakeStream() override { Gone(); }

  void Write(const grpc::ByteBuffer& message) override {
    EXPECT_FALSE(in_flight_) << "two writes in flight";
    in_flight_ = true;
    messages.push_back(Parse(message));
  }
  void Close(const grpc::Status& status) override { closed = status; }
  void Abort() override { aborted = true; }

  /// Lets every write complete until nothing is left to write.
  void Drain() {
    while (WriteOne()) {
    }
  }
  bool WriteOne() { return std::exchange(in_flight_, false) ? (dispatcher_.OnWritten(this), true) : false; }

  void Hello(const std::string& name, uint64_t held = 0, const std::string& controller = "c1") {
    v1::AgentMessage message;
    message.mutable_hello()->set_node_name(name);
    message.mutable_hello()->set_generation_held(held);
    message.mutable_hello()->set_controller_id_held(controller);
    message.mutable_hello()->set_instance("of " + name);
    dispatcher_.OnMessage(this, message);
    dispatcher_.WelcomePending();
  }
  void Ack(uint64_t generation) {
    v1::AgentMessage message;
    message.mutable_ack()->set_generation(generation);
    dispatcher_.OnMessage(this, message);
  }
  void Nack(uint64_t generation, const std::string& reason) {
    v1::AgentMessage message;
    message.mutable_nack()->set_generation(generation);
    message.mutable_nack()->set_reason(reason);
    dispatcher_.OnMessage(this, message);
  }
  void Heartbeat() {
    v1::AgentMessage message;
    message.mutable_heartbeat();
    dispatcher_.OnMessage(this, message);
  }
  void Gone() {
    if (!std::exchange(gone_, true)) dispatcher_.OnClosed(this);
  }

  std::vector<v1::Update> Updates() const {
    std::vector<v1::Update> updates;
    for (const auto& message : messages) {
      if (message.has_update()) updates.push_back(message.update());
    }
    return updates;
  }

  std::vector<v1::ControllerMessage> messages;
  std::optional<grpc::Status> closed;
  bool aborted = false;

 private:
  Dispatcher& dispatcher_;
  bool in_flight_ = false, gone_ = false;
};

class FakeObserver final : public Observer {
 public:
  Result<std::map<std::string, uint32_t>> NumberNodes(const std::vector<std::string>& names) override {
    if (!numbering.ok()) return numbering;
    transactions.push_back(names);
    std::map<std::string, uint32_t> numbers;
    for (const auto& name : names) numbers[name] = next_number++;
    return numbers;
  }
  void OnNodesChanged() override { ++changes; }
  void OnTelemetry(const Node&, const v1::Telemetry&) override {}
  void OnAgentAhead(uint64_t held) override { ahead = held; }
  std::vector<v1::ControllerMessage> OnWelcome(const Node&) override { return first; }

  Status numbering;
  std::vector<std::vector<std::string>> transactions;
  uint32_t next_number = 0;
  int changes = 0;
  uint64_t ahead = 0;
  std::vector<v1::ControllerMessage> first;
};

class DispatcherTest : public testing::Test {
 protected:
  DispatcherTest() { dispatcher_.Reset(10, {MakeFrontend(1, 0), MakeFrontend(2, 0)}); }

  const Node& NodeOf(const std::string& name) { return dispatcher_.nodes().at(name); }
  void Interval() {
    clock_.Advance(seconds(3));
    for (int i = 0; i < Dispatcher::kTicksPerInterval; ++i) dispatcher_.Tick();
  }

  FakeClock clock_;
  FakeObserver observer_;
  Dispatcher dispatcher_{
      {.controller_id = "c1", .retry_interval = std::chrono::seconds(10), .journal = {}}, clock_, observer_};
};

TEST_F(DispatcherTest, ANewAgentIsWelcomedAndGetsASnapshot) {
  FakeStream stream(dispatcher_);
  stream.Hello("a");
  stream.Drain();
  ASSERT_EQ(stream.messages.size(), 2u);
  const v1::Welcome& welcome = stream.messages[0].welcome();
  EXPECT_EQ(welcome.controller_id(), "c1");
  EXPECT_EQ(welcome.node_number(), 0u);
  EXPECT_EQ(welcome.heartbeat_interval().milliseconds(), 3000u);
  const v1::Update& update = stream.messages[1].update();
  EXPECT_TRUE(update.full());
  EXPECT_EQ(update.generation(), 10u);
  EXPECT_EQ(update.upserts_size(), 2);
  EXPECT_EQ(NodeOf("a").generation_sent, 10u);
  EXPECT_EQ(NodeOf("a").generation_acked, 0u);
  clock_.Advance(milliseconds(4));
  stream.Ack(10);
  EXPECT_EQ(NodeOf("a").generation_acked, 10u);
  EXPECT_EQ(dispatcher_.counters().latency_buckets[2], 1u) << "4 ms";
}

TEST_F(DispatcherTest, WhatAnAgentIsToldFirstComesBeforeItsFirstUpdate) {
  observer_.first.emplace_back().mutable_consumers()->add_pods()->set_uid("a pod");
  FakeStream stream(dispatcher_);
  stream.Hello("a");
  stream.Drain();
  ASSERT_EQ(stream.messages.size(), 3u);
  EXPECT_TRUE(stream.messages[0].has_welcome());
  EXPECT_TRUE(stream.messages[1].has_consumers());
  EXPECT_TRUE(stream.messages[2].has_update());
  stream.Ack(10);
  // What it is told later comes before what is published later, on a slow stream too.
  v1::ControllerMessage told;
  told.mutable_consumers();
  dispatcher_.Tell("a", told);
  dispatcher_.Publish(11, {MakeFrontend(1, 11)}, {});
  stream.Drain();
  ASSERT_EQ(stream.messages.size(), 5u);
  EXPECT_TRUE(stream.messages[3].has_consumers());
  EXPECT_EQ(stream.messages[4].update().generation(), 11u);
}

TEST_F(DispatcherTest, NewNodesAreNumberedInOneTransaction) {
  FakeStream a(dispatcher_), b(dispatcher_);
  v1::AgentMessage hello;
  hello.mutable_hello()->set_node_name("b");
  dispatcher_.OnMessage(&b, hello);
  a.Hello("a");
  ASSERT_EQ(observer_.transactions.size(), 1u);
  EXPECT_EQ(observer_.transactions[0], (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(NodeOf("b").connected);
}

TEST_F(DispatcherTest, WithoutANumberThereIsNoWelcome) {
  observer_.numbering = Error(absl::StatusCode::kResourceExhausted, "disk full");
  FakeStream stream(dispatcher_);
  stream.Hello("a");
  EXPECT_TRUE(stream.messages.empty());
  ASSERT_TRUE(stream.closed);
  EXPECT_EQ(stream.closed->error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_NE(stream.closed->error_message().find("disk full"), std::string::npos);
}

TEST_F(DispatcherTest, AnAgentThatHoldsTheGenerationIsSentNothing) {
  FakeStream stream(dispatcher_);
  stream.Hello("a", 10);
  stream.Drain();
  EXPECT_TRUE(stream.Updates().empty());
  EXPECT_EQ(NodeOf("a").generation_acked, 10u);
  dispatcher_.Publish(11, {MakeFrontend(1, 20)}, {});
  stream.Drain();
  ASSERT_EQ(stream.Updates().size(), 1u);
  EXPECT_FALSE(stream.Updates()[0].full());
}

TEST_F(DispatcherTest, AReturningAgentGetsADelta) {
  dispatcher_.Publish(11, {MakeFrontend(1, 20)}, {});
  dispatcher_.Publish(12, {MakeFrontend(1, 50)}, {});
  FakeStream stream(dispatcher_);
  stream.Hello("a", 11);
  stream.Drain();
  ASSERT_EQ(stream.Updates().size(), 1u);
  EXPECT_FALSE(stream.Updates()[0].full());
  EXPECT_EQ(stream.Updates()[0].base_generation(), 11u);
  EXPECT_EQ(stream.Updates()[0].upserts_size(), 1);
}

TEST_F(DispatcherTest, AGenerationOfAnotherControllerCountsForNothing) {
  FakeStream stream(dispatcher_);
  stream.Hello("a", 10, "another");
  stream.Drain();
  ASSERT_EQ(stream.Updates().size(), 1u);
  EXPECT_TRUE(stream.Updates()[0].full());
  EXPECT_EQ(NodeOf("a").generation_acked, 0u);
}

TEST_F(DispatcherTest, AGenerationFromTheFutureIsReported) {
  FakeStream stream(dispatcher_);
  stream.Hello("a", 99);
  stream.Drain();
  EXPECT_EQ(observer_.ahead, 99u);
  EXPECT_TRUE(stream.Updates().at(0).full());
}

TEST_F(DispatcherTest, ASlowStreamGetsTheNewestStateOnly) {
  FakeStream slow(dispatcher_);
  slow.Hello("a", 10);
  slow.Drain();
  for (uint64_t g = 11; g <= 60; ++g) dispatcher_.Publish(g, {MakeFrontend(1, g)}, {});
  slow.Drain();
  auto updates = slow.Updates();
  ASSERT_EQ(updates.size(), 2u) << "one in flight, one for all that came meanwhile";
  EXPECT_EQ(updates[0].generation(), 11u);
  EXPECT_EQ(updates[1].generation(), 60u);
  EXPECT_EQ(updates[1].upserts(0).variants(1).weight(), 60u);
}

TEST_F(DispatcherTest, ALoweringDoesNotWaitForAnAckOfTheRaise) {
  FakeStream stream(dispatcher_);
  stream.Hello("a", 10);
  stream.Drain();
  dispatcher_.Publish(11, {MakeFrontend(1, 50)}, {});
  stream.Drain();
  dispatcher_.Publish(12, {MakeFrontend(1, 0)}, {});
  stream.Drain();
  ASSERT_EQ(stream.Updates().size(), 2u);
  EXPECT_EQ(stream.Updates()[1].base_generation(), 11u) << "what was sent before, whatever becomes of it";
}

TEST_F(DispatcherTest, AfterARefusalTheNextDeltaCoversTheRefusedOne) {
  FakeStream stream(dispatcher_);
  stream.Hello("a", 10);
  dispatcher_.Publish(11, {MakeFrontend(1, 20)}, {});
  stream.Drain();
  stream.Nack(11, "map full");
  EXPECT_EQ(NodeOf("a").nack_reason, "map full");
  EXPECT_EQ(NodeOf("a").generation_nacked, 11u);
  EXPECT_EQ(NodeOf("a").generation_acked, 10u);
  dispatcher_.Publish(12, {MakeFrontend(2, 20)}, {});
  stream.Drain();
  EXPECT_EQ(stream.Updates().back().upserts_size(), 2);
  stream.Ack(12);
  EXPECT_EQ(NodeOf("a").nack_reason, "");
}

TEST_F(DispatcherTest, ARefusedGenerationIsOfferedAgainLater) {
  FakeStream stream(dispatcher_);
  stream.Hello("a", 10);
  dispatcher_.Publish(11, {MakeFrontend(1, 20)}, {});
  stream.Drain();
  stream.Nack(11, "map full");
  for (int i = 0; i < 3; ++i) {
    Interval();
    stream.Heartbeat();
    stream.Drain();
    EXPECT_EQ(stream.Updates().size(), 1u);
  }
  Interval();
  stream.Drain();
  ASSERT_EQ(stream.Updates().size(), 2u);
  EXPECT_EQ(stream.Updates()[1].generation(), 11u);
  stream.Ack(11);
  EXPECT_EQ(NodeOf("a").generation_acked, 11u);
  EXPECT_EQ(NodeOf("a").nack_reason, "");
}

TEST_F(DispatcherTest, ARefusedSnapshotIsFollowedByASnapshot) {
  FakeStream stream(dispatcher_);
  stream.Hello("a");
  stream.Drain();
  stream.Nack(10, "map full");
  dispatcher_.Publish(11, {MakeFrontend(1, 20)}, {});
  stream.Drain();
  ASSERT_EQ(stream.Updates().size(), 2u);
  EXPECT_TRUE(stream.Updates()[1].full());
  EXPECT_EQ(stream.Updates()[1].generation(), 11u);
}

// Two updates were on their way when the first was refused: the agent carries the first along; once it
// refused both, the next starts from what it holds.
TEST_F(DispatcherTest, RefusalsOfUpdatesOnTheirWay) {
  FakeStream stream(dispatcher_);
  stream.Hello("a", 10);
  stream.Drain();
  dispatcher_.Publish(11, {MakeFrontend(1, 20)}, {});
  stream.Drain();
  dispatcher_.Publish(12, {MakeFrontend(2, 20)}, {});
  stream.Drain();
  stream.Nack(11, "map full");
  dispatcher_.Publish(13, {MakeFrontend(3, 20)}, {});
  stream.Drain();
  EXPECT_EQ(stream.Updates().back().base_generation(), 12u);
  stream.Nack(12, "map full");
  stream.Nack(13, "map full");
  dispatcher_.Publish(14, {MakeFrontend(4, 20)}, {});
  stream.Drain();
  EXPECT_EQ(stream.Updates().back().base_generation(), 10u);
  EXPECT_EQ(stream.Updates().back().upserts_size(), 4);
}

TEST_F(DispatcherTest, TheNewerConnectionOfANodeNameWins) {
  FakeStream older(dispatcher_), newer(dispatcher_);
  older.Hello("a");
  older.Drain();
  newer.Hello("a");
  newer.Drain();
  ASSERT_TRUE(older.closed);
  EXPECT_EQ(older.closed->error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_NE(older.closed->error_message().find("node name a"), std::string::npos);
  older.Ack(10);
  EXPECT_EQ(NodeOf("a").generation_acked, 0u) << "the older one no longer speaks for the node";
  older.Gone();
  EXPECT_TRUE(NodeOf("a").connected);
  newer.Ack(10);
  EXPECT_EQ(NodeOf("a").generation_acked, 10u);
  EXPECT_EQ(dispatcher_.connected(), 1u);
}

TEST_F(DispatcherTest, ThreeMissedHeartbeatsEndTheSession) {
  FakeStream silent(dispatcher_), alive(dispatcher_), mute(dispatcher_);
  silent.Hello("silent");
  alive.Hello("alive");
  for (auto* stream : {&silent, &alive}) stream->Drain();
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(silent.closed);
    alive.Heartbeat();
    Interval();
    silent.Drain();
    alive.Drain();
  }
  EXPECT_TRUE(silent.closed);
  EXPECT_TRUE(mute.closed) << "never said hello";
  EXPECT_FALSE(alive.closed);
  EXPECT_TRUE(alive.messages.back().has_heartbeat());
  Interval();
  EXPECT_TRUE(silent.aborted) << "when closing hangs as well";
  silent.Gone();
  EXPECT_FALSE(NodeOf("silent").connected);
  EXPECT_EQ(NodeOf("silent").away_since, clock_.Now());
}

TEST_F(DispatcherTest, BreachesOfTheProtocolEndTheSession) {
  struct Case {
    std::string what;
    void (*act)(FakeStream&);
  };
  for (const Case& test :
       {Case{"no hello", [](FakeStream& s) { s.Heartbeat(); }},
        Case{"no name", [](FakeStream& s) { s.Hello(""); }},
        Case{"a path as name", [](FakeStream& s) { s.Hello("../a"); }},
        Case{"a long name", [](FakeStream& s) { s.Hello(std::string(254, 'a')); }},
        Case{"two hellos", [](FakeStream& s) { s.Hello("a"), s.Hello("a"); }},
        Case{"ack of the future", [](FakeStream& s) { s.Hello("a"), s.Ack(11); }},
        Case{"ack of nothing", [](FakeStream& s) { s.Hello("a"), s.Ack(0); }},
        Case{"nack of the future", [](FakeStream& s) { s.Hello("a"), s.Nack(11, "x"); }}}) {
    FakeStream stream(dispatcher_);
    test.act(stream);
    ASSERT_TRUE(stream.closed) << test.what;
    EXPECT_EQ(stream.closed->error_code(), grpc::StatusCode::INVALID_ARGUMENT) << test.what;
  }
}

TEST_F(DispatcherTest, NodesAreRememberedAndForgotten) {
  dispatcher_.RestoreNodes({{"a", 3}});
  EXPECT_FALSE(NodeOf("a").connected);
  FakeStream stream(dispatcher_);
  stream.Hello("a");
  EXPECT_EQ(NodeOf("a").number, 3u);
  EXPECT_TRUE(observer_.transactions.empty());
  EXPECT_EQ(dispatcher_.ForgetNode("a").code(), absl::StatusCode::kFailedPrecondition);
  stream.Gone();
  EXPECT_TRUE(dispatcher_.ForgetNode("a").ok());
  EXPECT_EQ(dispatcher_.ForgetNode("a").code(), absl::StatusCode::kNotFound);
}

TEST_F(DispatcherTest, ShutdownClosesOldAndNewStreams) {
  FakeStream stream(dispatcher_);
  stream.Hello("a");
  dispatcher_.Shutdown({grpc::StatusCode::UNAVAILABLE, "shutting down"});
  FakeStream late(dispatcher_);
  EXPECT_TRUE(stream.closed);
  EXPECT_TRUE(late.closed);
}

}  // namespace
}  // namespace weir::dispatch
