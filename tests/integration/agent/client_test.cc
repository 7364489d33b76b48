// The stream's client over real gRPC: what the controller sends, what comes in force, what is answered.
#include "agent/stream/client.h"

#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <thread>

#include "agent/datapath/fake_datapath.h"
#include "tests/integration/agent/fake_controller.h"

namespace weir::stream {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

/// Counts and lets tests wait for a count. Any thread.
class Counter {
 public:
  void Add() {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  bool WaitFor(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return count_ >= count; });
  }
  int count() {
    const std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

/// Every message that arrives asks for the time: with the client's thread held, the calls count what has
/// arrived.
class ArrivalClock final : public Clock {
 public:
  MonotonicTime Now() const override {
    calls.Add();
    return system_.Now();
  }
  WallTime WallNow() const override { return system_.WallNow(); }
  mutable Counter calls;

 private:
  SystemClock system_;
};

class Reports final : public Observer {
 public:
  void Connected(bool now) override { connected = now; }
  void Reconnecting(std::string_view why) override { ++reasons[std::string(why)]; }
  void Applied(std::chrono::nanoseconds, const Status& status) override {
    ++(status.ok() ? applied : failed);
  }
  void Nacked() override { ++nacks; }
  void FiguresUnreadable() override { ++unreadable; }
  bool connected = false;
  std::map<std::string, int> reasons;
  int applied = 0, failed = 0, nacks = 0, unreadable = 0;
};

v1::FrontendKey Key(int n) {
  v1::FrontendKey key;
  key.set_address(std::string("\x7f\x60\x00", 3) + static_cast<char>(n));
  key.set_port(80);
  key.set_protocol(v1::PROTOCOL_TCP);
  return key;
}

v1::Update MakeUpdate(uint64_t generation, bool full, std::initializer_list<int> upserts,
                      std::initializer_list<int> removals = {}) {
  v1::Update update;
  update.set_generation(generation);
  update.set_full(full);
  update.set_last(true);
  for (const int n : upserts) {
    v1::Frontend* frontend = update.add_upserts();
    *frontend->mutable_key() = Key(n);
    frontend->set_affinity_timeout_seconds(static_cast<uint32_t>(generation));  // which update it came with
    frontend->add_variants()->set_revision("v1");
  }
  for (const int n : removals) *update.add_removals() = Key(n);
  return update;
}
v1::Update Full(uint64_t generation, std::initializer_list<int> upserts) {
  return MakeUpdate(generation, true, upserts);
}
v1::Update Delta(uint64_t generation, std::initializer_list<int> upserts,
                 std::initializer_list<int> removals = {}) {
  return MakeUpdate(generation, false, upserts, removals);
}

class ClientTest : public testing::Test {
 protected:
  ClientTest() : controller_(std::make_unique<FakeController>()), port_(controller_->port()) {
    options_.node_name = "node-1";
    options_.instance = "instance-1";
    options_.kernel_release = "6.1";
    options_.backoff = {.initial = 10ms, .max = 20ms};
    options_.telemetry_interval = 20ms;
  }
  ~ClientTest() override {
    if (!thread_.joinable()) return;
    Stop();
    thread_.join();
  }

  void Start() {
    client_ = std::make_unique<Client>(
        context_, clock_, datapath_, reports_,
        [this]() -> Result<std::shared_ptr<grpc::Channel>> {
          grpc::ChannelArguments arguments;
          arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
          return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port_),
                                           grpc::InsecureChannelCredentials(), arguments);
        },
        [] { return 0.5; }, options_);
    boost::asio::post(context_, [this] { client_->Start(); });
    thread_ = std::thread([this] { context_.run(); });
  }
  void Stop() {
    std::promise<void> stopped;
    boost::asio::post(context_, [&] {
      client_->Stop([&] {
        client_.reset();
        work_.reset();
        stopped.set_value();
      });
    });
    stopped.get_future().wait();
  }
  /// Runs it on the client's thread.
  template <typename Look>
  auto On(Look look) {
    std::promise<decltype(look())> result;
    boost::asio::post(context_, [&] { result.set_value(look()); });
    return result.get_future().get();
  }
  /// A connected agent that holds generation 5 with frontends 1 and 2.
  std::shared_ptr<AgentStream> StartSynced() {
    Start();
    auto stream = controller_->NextAgent();
    if (!stream) return nullptr;
    stream->Welcome();
    stream->Send(Full(5, {1, 2}));
    EXPECT_EQ(stream->Answer(), "ack 5");
    return stream;
  }
  /// Frontend -> the generation it came with.
  std::map<int, uint64_t> Held() {
    return On([this] {
      std::map<int, uint64_t> held;
      for (const auto& [key, frontend] : datapath_.frontends) {
        held[key.address.address.mapped()[15]] = frontend.affinity_timeout_s;
      }
      return held;
    });
  }
  int Reason(std::string_view why) {
    return On([this, why] { return reports_.reasons[std::string(why)]; });
  }
  /// Holds the client's thread, sends what `send` sends (`messages` of them), and lets go when all have
  /// arrived.
  template <typename Send>
  void SendAtOnce(int messages, Send send) {
    std::promise<void> held, go;
    boost::asio::post(context_, [&] {
      held.set_value();
      go.get_future().wait();
    });
    held.get_future().wait();
    const int before = clock_.calls.count();
    send();
    EXPECT_TRUE(clock_.calls.WaitFor(before + messages));
    go.set_value();
  }
  using HeldMap = std::map<int, uint64_t>;

  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_ =
      boost::asio::make_work_guard(context_);
  ArrivalClock clock_;
  datapath::FakeDatapath datapath_;
  Reports reports_;
  Client::Options options_;
  std::unique_ptr<FakeController> controller_;
  int port_;
  std::unique_ptr<Client> client_;
  std::thread thread_;
};

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

/// What a controller knows after the messages so far.
struct Known {
  std::string epoch;
  std::map<std::string, uint64_t> opened;  // revision -> connections

  void Hear(const v1::Telemetry& telemetry) {
    if (telemetry.series_epoch().empty()) return;  // says nothing of the figures
    if (telemetry.series_epoch() != epoch) opened.clear();
    epoch = telemetry.series_epoch();
    for (const v1::SeriesKey& key : telemetry.forgotten()) opened.erase(key.revision());
    for (const v1::Series& series : telemetry.series()) opened[series.key().revision()] = series.opened();
  }
  bool operator==(const Known&) const = default;
};

class FiguresTest : public ClientTest {
 protected:
  FiguresTest() { options_.telemetry_idle = 24h; }

  /// Revision -> connections opened, of shop/checkout.
  void Set(const std::string& epoch, const std::map<std::string, uint64_t>& opened) {
    datapath::Figures figures{.epoch = epoch};
    for (const auto& [revision, count] : opened) {
      datapath::Series series{.ns = "shop", .service = "checkout", .revision = revision, .in_force = true};
      series.opened = count;
      figures.series.push_back(series);
    }
    if (!thread_.joinable()) {
      datapath_.figures = std::move(figures);
      return;
    }
    On([&] {
      datapath_.figures = std::move(figures);
      return 0;
    });
  }
  /// Hears what comes until it knows `want`.
  static bool Learn(AgentStream& stream, Known& known, const Known& want) {
    while (known != want) {
      const auto message = stream.Next(v1::AgentMessage::kTelemetry);
      if (!message) return false;
      known.Hear(message->telemetry());
    }
    return true;
  }
  /// A split of shop/checkout at work: a rollout's.
  static v1::Update AtWork(uint64_t generation) {
    v1::Update update = Full(generation, {1});
    v1::Frontend& frontend = *update.mutable_upserts(0);
    frontend.set_namespace_("shop");
    frontend.set_service("checkout");
    frontend.mutable_variants(0)->set_role(v1::ROLE_STABLE);
    frontend.add_variants()->set_revision("v2");
    frontend.mutable_variants(1)->set_role(v1::ROLE_CANARY);
    return update;
  }
};

TEST_F(FiguresTest, ChangesAreToldAndWhatIsForgotten) {
  Set("e1", {{"v1", 10}, {"v2", 0}});
  const auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  stream->Send(AtWork(6));
  ASSERT_EQ(stream->Answer(), "ack 6");
  Known known;
  Set("e1", {{"v1", 12}, {"v2", 3}});
  EXPECT_TRUE(Learn(*stream, known, {"e1", {{"v1", 12}, {"v2", 3}}}));
  Set("e1", {{"v2", 4}});
  EXPECT_TRUE(Learn(*stream, known, {"e1", {{"v2", 4}}}));
  Set("e2", {{"v2", 1}});  // the maps were made anew
  EXPECT_TRUE(Learn(*stream, known, {"e2", {{"v2", 1}}}));
}

TEST_F(FiguresTest, ANewStreamIsToldEverything) {
  Set("e1", {{"v1", 10}, {"v2", 7}});
  Start();
  auto stream = controller_->NextAgent();
  ASSERT_NE(stream, nullptr);
  stream->Welcome();
  Known known;
  EXPECT_TRUE(Learn(*stream, known, {"e1", {{"v1", 10}, {"v2", 7}}}));
  stream->End();
  stream = controller_->NextAgent();
  ASSERT_NE(stream, nullptr);
  stream->Welcome();
  Known fresh;  // nothing is at work, nothing has changed and the idle time is long: all the same
  EXPECT_TRUE(Learn(*stream, fresh, known));
}

TEST_F(FiguresTest, AReportIsCutIntoMessages) {
  options_.telemetry_bytes = 1;  // one series a message
  std::map<std::string, uint64_t> many;
  for (uint64_t i = 0; i < 500; ++i) many["v" + std::to_string(i)] = i + 1;
  Set("e1", many);
  Start();
  const auto stream = controller_->NextAgent();
  ASSERT_NE(stream, nullptr);
  stream->Welcome();
  Known known;
  int messages = 0;
  while (known.opened != many) {
    const auto message = stream->Next(v1::AgentMessage::kTelemetry);
    ASSERT_TRUE(message) << known.opened.size();
    EXPECT_LE(message->telemetry().series_size(), 1);
    messages += message->telemetry().series_size();
    known.Hear(message->telemetry());
  }
  EXPECT_EQ(messages, 500);
}

TEST_F(FiguresTest, UnreadableFiguresAreCountedAndComeLater) {
  datapath_.read_error = Error(absl::StatusCode::kInternal, "map gone");
  const auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  stream->Send(AtWork(6));
  ASSERT_EQ(stream->Answer(), "ack 6");
  while (On([this] { return reports_.unreadable; }) == 0) std::this_thread::yield();
  Set("e1", {{"v1", 10}});
  On([this] {
    datapath_.read_error = OkStatus();
    return 0;
  });
  Known known;
  EXPECT_TRUE(Learn(*stream, known, {"e1", {{"v1", 10}}}));
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
