// The stream's client over real gRPC: what the controller sends, what comes in force, what is answered.
#include "tests/integration/agent/client_fixture.h"

namespace weir::stream {
namespace {

TEST_F(ClientTest, HelloWelcomeSnapshotInPartsAck) {
  Start();
  v1::Hello hello;
  const auto stream = controller_->NextAgent(&hello);
  ASSERT_NE(stream, nullptr);
  EXPECT_EQ(hello.node_name(), "node-1");
  EXPECT_EQ(hello.agent_version(), WEIR_VERSION);
  EXPECT_EQ(hello.kernel_release(), "6.1");
  EXPECT_EQ(hello.instance(), "instance-1");
  EXPECT_EQ(hello.abilities_size(), 2);
  EXPECT_EQ(hello.generation_held(), 0u);
  EXPECT_EQ(hello.controller_id_held(), "");
  EXPECT_FALSE(On([this] { return client_->connected() || client_->synced(); }));

  stream->Welcome(30s, 42);
  v1::Update part = Full(7, {1, 2});
  part.set_last(false);
  stream->Send(part);
  stream->Send(Full(7, {3}));
  EXPECT_EQ(stream->Answer(), "ack 7");
  EXPECT_EQ(Held(), (HeldMap{{1, 7}, {2, 7}, {3, 7}}));
  EXPECT_TRUE(On([this] { return client_->connected() && client_->synced() && reports_.connected; }));
  EXPECT_EQ(On([this] { return datapath_.applied.size(); }), 1u);
  EXPECT_EQ(On([this] { return datapath_.node_number; }), 42u);
  EXPECT_EQ(On([this] { return datapath_.controller_id; }), kControllerId);
}

TEST_F(ClientTest, DeltasFollow) {
  const auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  stream->Send(Delta(6, {2, 3}));
  EXPECT_EQ(stream->Answer(), "ack 6");
  stream->Send(Delta(9, {}, {1}));
  EXPECT_EQ(stream->Answer(), "ack 9");
  EXPECT_EQ(Held(), (HeldMap{{2, 6}, {3, 6}}));
  stream->Send(Delta(9, {}));  // "you are up to date"
  EXPECT_EQ(stream->Answer(), "ack 9");
  EXPECT_EQ(On([this] { return datapath_.applied.size(); }), 3u);  // nothing to apply for that
}

TEST_F(ClientTest, WhatDoesNotFitIsNackedAndTheOldSplitStays) {
  const auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  On([this] {
    datapath_.capacity = 3;
    return 0;
  });
  stream->Send(Delta(6, {3, 4}));
  EXPECT_EQ(stream->Answer(), "nack 6: 4 frontends do not fit in 3: raise --max-services");
  EXPECT_EQ(Held(), (HeldMap{{1, 5}, {2, 5}}));
  EXPECT_EQ(On([this] { return datapath_.Generation(); }), 5u);
  EXPECT_EQ(On([this] { return reports_.nacks; }), 1);
  stream->Send(Delta(7, {}, {1}));  // makes room for what was refused
  EXPECT_EQ(stream->Answer(), "ack 7");
  EXPECT_EQ(Held(), (HeldMap{{2, 5}, {3, 6}, {4, 6}}));
  EXPECT_EQ(Reason(reason::kResync), 0);
}

TEST_F(ClientTest, BadContentIsNackedAndNothingApplied) {
  const auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  v1::Update bad = Delta(6, {3, 4});
  bad.mutable_upserts(1)->mutable_variants(0)->set_weight(1'000'001);
  stream->Send(bad);
  EXPECT_EQ(stream->Answer(),
            "nack 6: generation 6: frontend of / (TCP 127.96.0.4:80), variant \"v1\": weight: found 1000001, "
            "expected 0..1000000");
  EXPECT_EQ(Held(), (HeldMap{{1, 5}, {2, 5}}));
  v1::Update covers = Delta(7, {3});
  covers.set_base_generation(5);
  stream->Send(covers);
  EXPECT_EQ(stream->Answer(), "ack 7");
  EXPECT_EQ(Held(), (HeldMap{{1, 5}, {2, 5}, {3, 7}}));
}

TEST_F(ClientTest, AfterUnreadableContentADeltaThatMayBuildUponItMeansAFullSnapshot) {
  auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  stream->Send(Delta(6, {3, 3}));
  EXPECT_TRUE(stream->Answer().starts_with("nack 6: "));
  stream->Send(Delta(7, {4}));
  EXPECT_TRUE(stream->WaitForEnd());
  v1::Hello hello;
  stream = controller_->NextAgent(&hello);
  ASSERT_NE(stream, nullptr);
  EXPECT_EQ(hello.generation_held(), 5u);  // still in force
  EXPECT_EQ(hello.controller_id_held(), "");
  EXPECT_EQ(Reason(reason::kResync), 1);
}

TEST_F(ClientTest, WhatQueuedUpIsMergedAppliedOnceAndTheNewestAcked) {
  const auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  SendAtOnce(3, [&] {
    stream->Send(Delta(6, {3}, {1}));
    stream->Send(Delta(7, {1, 3}));
    stream->Send(Delta(8, {4}, {3}));
  });
  EXPECT_EQ(stream->Answer(), "ack 8");
  EXPECT_EQ(Held(), (HeldMap{{1, 7}, {2, 5}, {4, 8}}));
  EXPECT_EQ(On([this] { return datapath_.applied.size(); }), 2u);  // the snapshot, and all three at once
}

TEST_F(ClientTest, WhereTheMergedChangeFailsTheGoodOnesComeInForce) {
  const auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  On([this] {
    datapath_.capacity = 3;
    return 0;
  });
  SendAtOnce(3, [&] {
    stream->Send(Delta(6, {3}));
    stream->Send(Delta(7, {4}));
    stream->Send(Delta(8, {5}));
  });
  EXPECT_EQ(stream->Answer(), "ack 6");
  EXPECT_EQ(stream->Answer(), "nack 7: 4 frontends do not fit in 3: raise --max-services");
  EXPECT_EQ(stream->Answer(), "nack 8: 5 frontends do not fit in 3: raise --max-services");
  EXPECT_EQ(Held(), (HeldMap{{1, 5}, {2, 5}, {3, 6}}));
  EXPECT_EQ(On([this] { return datapath_.Generation(); }), 6u);
}

TEST_F(ClientTest, ABadUpdateAmongGoodOnesIsNackedInItsPlace) {
  const auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  SendAtOnce(3, [&] {
    stream->Send(Delta(6, {3}));
    stream->Send(Delta(7, {4, 4}));
    stream->Send(Full(8, {9}));
  });
  EXPECT_EQ(stream->Answer(), "ack 6");
  EXPECT_TRUE(stream->Answer().starts_with("nack 7: generation 7: TCP 127.96.0.4:80: found twice"));
  EXPECT_EQ(stream->Answer(), "ack 8");
  EXPECT_EQ(Held(), (HeldMap{{9, 8}}));
}

TEST_F(ClientTest, AFloodIsHeldBackByTheMailboxAndNothingIsLost) {
  const auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  constexpr int kUpdates = 1000;
  SendAtOnce(static_cast<int>(Connection::kMailboxSize), [&] {
    for (int i = 1; i <= kUpdates; ++i) stream->Send(Delta(5 + static_cast<uint64_t>(i), {i % 7 + 1}));
  });
  std::string answer;
  do {
    answer = stream->Answer();
    ASSERT_TRUE(answer.starts_with("ack ")) << answer;
  } while (answer != "ack " + std::to_string(5 + kUpdates));
  EXPECT_EQ(Held().size(), 7u);
  const size_t applies = On([this] { return datapath_.applied.size(); });
  EXPECT_LT(applies, static_cast<size_t>(kUpdates));
}

TEST_F(ClientTest, AControllerThatGoesAwayAndComesBack) {
  auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  stream.reset();
  controller_.reset();
  EXPECT_EQ(Held(), (HeldMap{{1, 5}, {2, 5}}));  // works on
  controller_ = std::make_unique<FakeController>(port_);
  v1::Hello hello;
  stream = controller_->NextAgent(&hello);
  ASSERT_NE(stream, nullptr);
  EXPECT_EQ(hello.generation_held(), 5u);
  EXPECT_EQ(hello.controller_id_held(), kControllerId);
  EXPECT_EQ(hello.instance(), "instance-1");
  EXPECT_GE(Reason(reason::kClosed), 1);
  stream->Welcome();
  stream->Send(Delta(6, {3}));  // the agent said what it holds
  EXPECT_EQ(stream->Answer(), "ack 6");
  EXPECT_EQ(Held(), (HeldMap{{1, 5}, {2, 5}, {3, 6}}));
}

TEST_F(ClientTest, AnotherControllerMustSendASnapshot) {
  auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  const std::string other = "00000000-0000-4000-8000-000000000002";
  stream->End();
  stream = controller_->NextAgent();
  ASSERT_NE(stream, nullptr);
  stream->Welcome(30s, 1, other);
  stream->Send(Delta(6, {3}));
  EXPECT_TRUE(stream->WaitForEnd());
  EXPECT_EQ(Held(), (HeldMap{{1, 5}, {2, 5}}));
  stream = controller_->NextAgent();
  ASSERT_NE(stream, nullptr);
  stream->Welcome(30s, 1, other);
  stream->Send(Full(2, {7}));  // its generations are its own
  EXPECT_EQ(stream->Answer(), "ack 2");
  EXPECT_EQ(Held(), (HeldMap{{7, 2}}));
  EXPECT_EQ(On([this] { return datapath_.controller_id; }), other);
}

TEST_F(ClientTest, AGapMeansAFullSnapshot) {
  auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  v1::Update gap = Delta(9, {3});
  gap.set_base_generation(8);
  stream->Send(gap);
  EXPECT_TRUE(stream->WaitForEnd());
  v1::Hello hello;
  stream = controller_->NextAgent(&hello);
  ASSERT_NE(stream, nullptr);
  EXPECT_EQ(hello.controller_id_held(), "");
  EXPECT_EQ(Reason(reason::kResync), 1);
  EXPECT_EQ(Held(), (HeldMap{{1, 5}, {2, 5}}));
  stream->Welcome();
  stream->Send(Full(9, {1, 2, 3}));
  EXPECT_EQ(stream->Answer(), "ack 9");
  stream->End();
  ASSERT_NE(controller_->NextAgent(&hello), nullptr);
  EXPECT_EQ(hello.controller_id_held(), kControllerId);  // asked for once only
  EXPECT_EQ(hello.generation_held(), 9u);
}

TEST_F(ClientTest, AnAdoptedSplitIsInForceButItsNamesAreAskedFor) {
  datapath_.generation = 17;
  datapath_.controller_id = kControllerId;
  Start();
  v1::Hello hello;
  const auto stream = controller_->NextAgent(&hello);
  ASSERT_NE(stream, nullptr);
  EXPECT_EQ(hello.generation_held(), 17u);
  EXPECT_EQ(hello.controller_id_held(), "");
  EXPECT_TRUE(On([this] { return client_->synced(); }));
  stream->Welcome();
  stream->Send(Full(17, {1}));
  EXPECT_EQ(stream->Answer(), "ack 17");
  EXPECT_EQ(Held(), (HeldMap{{1, 17}}));
}

TEST_F(ClientTest, SilenceEndsTheStream) {
  Start();
  const auto stream = controller_->NextAgent();
  ASSERT_NE(stream, nullptr);
  stream->Welcome(30ms);
  EXPECT_TRUE(stream->WaitForEnd());
  ASSERT_NE(controller_->NextAgent(), nullptr);
  EXPECT_EQ(Reason(reason::kSilence), 1);
}

TEST_F(ClientTest, HeartbeatsKeepTheStream) {
  Start();
  const auto stream = controller_->NextAgent();
  ASSERT_NE(stream, nullptr);
  stream->Welcome(300ms);  // a busy machine may hold an answer up for long
  uint64_t before = 0;
  for (int i = 0; i < 5; ++i) {  // longer than the three intervals that silence may last
    const auto beat = stream->Next(v1::AgentMessage::kHeartbeat);
    ASSERT_TRUE(beat) << i;
    EXPECT_GT(beat->heartbeat().sequence(), before);
    before = beat->heartbeat().sequence();
    stream->Heartbeat();
  }
  EXPECT_TRUE(On([this] { return reports_.connected && reports_.reasons.empty(); }));
}

TEST_F(ClientTest, WithoutAWelcomeItTriesAgain) {
  options_.welcome_timeout = 50ms;
  Start();
  const auto first = controller_->NextAgent();
  ASSERT_NE(first, nullptr);
  EXPECT_TRUE(first->WaitForEnd());
  ASSERT_NE(controller_->NextAgent(), nullptr);
  EXPECT_GE(Reason(reason::kConnect), 1);
}

TEST_F(ClientTest, WhatMustNotComeEndsTheStream) {
  Start();
  auto stream = controller_->NextAgent();
  ASSERT_NE(stream, nullptr);
  stream->Send(Full(5, {1}));  // before the welcome
  EXPECT_TRUE(stream->WaitForEnd());
  stream = controller_->NextAgent();
  ASSERT_NE(stream, nullptr);
  stream->Welcome(30s, 1, "");
  EXPECT_TRUE(stream->WaitForEnd());
  stream = controller_->NextAgent();
  ASSERT_NE(stream, nullptr);
  stream->Welcome();
  stream->Welcome();
  EXPECT_TRUE(stream->WaitForEnd());
  ASSERT_NE(controller_->NextAgent(), nullptr);
  EXPECT_EQ(Reason(reason::kProtocol), 3);
  EXPECT_EQ(Held(), HeldMap());
}

TEST_F(ClientTest, TheControllersReasonIsKept) {
  Start();
  const auto stream = controller_->NextAgent();
  ASSERT_NE(stream, nullptr);
  stream->End({grpc::StatusCode::ALREADY_EXISTS, "node-1 is connected from elsewhere"});
  ASSERT_NE(controller_->NextAgent(), nullptr);
  EXPECT_EQ(On([this] { return client_->last_error(); }), "node-1 is connected from elsewhere");
  EXPECT_GE(Reason(reason::kConnect), 1);
}

TEST_F(ClientTest, CountsAreReportedWhileTheyChange) {
  const auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  const auto count = [&](uint64_t stable, uint64_t canary) {
    return On([=, this] {
      datapath_.counts = {{{{*IpAddress::Parse("127.96.0.1"), 80}, Protocol::kTcp},
                           {{"v1", 80, stable}, {"v2", 20, canary}}}};
      return 0;
    });
  };
  count(8, 2);
  const auto last = [&](uint64_t connections) {
    while (const auto message = stream->Next(v1::AgentMessage::kTelemetry)) {
      EXPECT_EQ(message->telemetry().epoch(), "instance-1");
      if (message->telemetry().splits_size() == 0) continue;  // from before
      const auto& variants = message->telemetry().splits(0).variants();
      if (variants.size() == 2 && variants[1].connections() == connections) return true;
    }
    return false;
  };
  EXPECT_TRUE(last(2));
  count(16, 4);
  EXPECT_TRUE(last(4));
}

TEST_F(ClientTest, StopsWhileThereIsNoController) {
  controller_.reset();
  Start();
  EXPECT_TRUE(clock_.calls.WaitFor(3));
  Stop();
  thread_.join();
}

TEST_F(ClientTest, StopsDuringAStreamAndLeavesTheSplit) {
  const auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  Stop();
  thread_.join();
  EXPECT_TRUE(stream->WaitForEnd());
  EXPECT_EQ(datapath_.frontends.size(), 2u);
  EXPECT_FALSE(reports_.connected);
}

class FakeSafety final : public Safety {
 public:
  explicit FakeSafety(datapath::Datapath& datapath) : datapath_(datapath) {}
  void Heard() override { heard_at.push_back(datapath_.Generation()); }
  std::optional<v1::Safety> Report(bool anew) override {
    anew_ += anew ? 1 : 0;
    if (!anew && !changed) return std::nullopt;
    changed = false;
    v1::Safety report;
    report.add_taken_out()->set_revision(anew ? "anew" : "changed");
    return report;
  }
  std::vector<uint64_t> heard_at;  // generations in force then
  int anew_ = 0;
  bool changed = false;

 private:
  datapath::Datapath& datapath_;
};

TEST_F(ClientTest, SignsOfLifeAreHeardAroundWhatTheySay) {
  FakeSafety safety(datapath_);
  options_.safety = &safety;
  Start();
  auto stream = controller_->NextAgent();
  ASSERT_TRUE(stream);
  EXPECT_TRUE(On([&] { return safety.heard_at.empty(); })) << "a stream that is open is no controller yet";
  stream->Welcome();
  auto told = stream->Next(v1::AgentMessage::kSafety);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->safety().taken_out(0).revision(), "anew");
  stream->Send(Full(5, {1}));
  EXPECT_EQ(stream->Answer(), "ack 5");
  const auto heard = On([&] { return safety.heard_at; });
  EXPECT_NE(std::count(heard.begin(), heard.end(), 0U), 0) << "before";
  EXPECT_EQ(heard.back(), 5U) << "and after";

  On([&] { return safety.changed = true; });
  told = stream->Next(v1::AgentMessage::kSafety);
  ASSERT_TRUE(told) << "without a word of the controller's";
  EXPECT_EQ(told->safety().taken_out(0).revision(), "changed");
  stream->End();
  stream = controller_->NextAgent();
  ASSERT_TRUE(stream);
  stream->Welcome();
  told = stream->Next(v1::AgentMessage::kSafety);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->safety().taken_out(0).revision(), "anew");
  EXPECT_EQ(On([&] { return safety.anew_; }), 2);
  Stop();
  thread_.join();
}

}  // namespace
}  // namespace weir::stream
