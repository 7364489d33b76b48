// What the node does by itself while a canary is exposed: the kernel gives stable all of the traffic once no
// controller was heard for too long, or once the canary's connects failed. Judged by what the servers
// counted.
#include <ctime>

#include "agent/datapath/revision_id.h"
#include "tests/kernel/harness/fixture.h"

namespace weir::kernel_test {
namespace {

using datapath::Cut;
using datapath::FailSafe;
using datapath::GuardState;
using std::chrono::nanoseconds;
using std::chrono::seconds;

nanoseconds Boottime() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
}

constexpr seconds kAfter{3600};  // never by chance, however slow the machine

class FailSafeTest : public NodeTest {
 protected:
  void Prepare() override {
    ASSERT_NO_FATAL_FAILURE(NodeTest::Prepare());
    for (int v = 0; v < 2; ++v) servers_.AddTcp(Endpoint(v), v);
  }

  Frontend Exposed(uint32_t stable, uint32_t canary) {
    Frontend frontend = MakeFrontend(vip_, {stable, canary}, {{Endpoint(0)}, {Endpoint(1)}});
    frontend.fail_safe = FailSafe{.stable = "v0", .after = kAfter, .trip_after = 3};
    return frontend;
  }
  void HeardNow() { node_->datapath().SetHeard(Boottime()); }
  void HeardLongAgo() { node_->datapath().SetHeard(Boottime() - 2 * kAfter); }

  /// Connects that may fail; how many did.
  int Try(int times) {
    const auto failed = node_->Run([&]() -> Result<std::string> {
      int count = 0;
      for (int i = 0; i < times; ++i) count += Fetch(vip_).ok() ? 0 : 1;
      return std::to_string(count);
    });
    EXPECT_OK(failed);
    return failed.ok() ? std::stoi(*failed) : -1;
  }
  /// All zero while the canary is treated like any variant.
  GuardState Guard() {
    const auto guards = node_->datapath().ReadGuards(Boottime());
    EXPECT_LE(guards.size(), 1U);
    return guards.empty() ? GuardState{} : guards.front();
  }
  std::string IdsOf(int times) {
    servers_.Forget();
    Dial(vip_, times);
    return servers_.Log();
  }

  const SocketAddress vip_ = Address("127.96.0.1", 80);
};

TEST_F(FailSafeTest, CutOffAllGoesToStableAndBackOnceHeard) {
  ASSERT_OK(node_->Apply(Exposed(80, 20)));
  HeardNow();
  EXPECT_TRUE(IsExactAtEveryPrefix(IdsOf(50), {80, 20}, {0, 1}));
  EXPECT_EQ(Guard().decided, Cut::kNone);

  HeardLongAgo();
  EXPECT_EQ(IdsOf(50), std::string(50, 0));
  EXPECT_EQ(Guard().decided, Cut::kCutOff);
  EXPECT_EQ(Guard().diverted, 50U);

  HeardNow();  // the agent's rule not to do this is not the kernel's
  EXPECT_TRUE(IsExactAtEveryPrefix(IdsOf(50), {80, 20}, {0, 1})) << "the cursor stood still meanwhile";
}

TEST_F(FailSafeTest, NeverHeardIsCutOff) {
  ASSERT_OK(node_->Apply(Exposed(0, 100)));
  EXPECT_EQ(IdsOf(10), std::string(10, 0)) << "stable has no weight, but what a fail safe needs";
  HeardNow();
  EXPECT_EQ(IdsOf(10), std::string(10, 1));
}

TEST_F(FailSafeTest, HoldsWhileNoAgentRunsAndForTheNext) {
  ASSERT_OK(node_->Apply(Exposed(50, 50)));
  HeardLongAgo();
  node_->Close();
  EXPECT_EQ(IdsOf(20), std::string(20, 0)) << "nobody is there to do it but the kernel";
  ASSERT_OK(node_->Open());
  EXPECT_EQ(IdsOf(20), std::string(20, 0)) << "the time does not begin anew";
  EXPECT_EQ(Guard().decided, Cut::kCutOff);
  EXPECT_EQ(Guard().canary_id, datapath::RevisionId("v1"));
}

TEST_F(FailSafeTest, AfterZeroIsNever) {
  Frontend frontend = Exposed(50, 50);
  frontend.fail_safe->after = seconds(0);
  ASSERT_OK(node_->Apply(frontend));
  HeardLongAgo();
  EXPECT_TRUE(IsExactAtEveryPrefix(IdsOf(20), {50, 50}, {0, 1}));
}

TEST_F(FailSafeTest, WithoutAnEndpointOfStableThereIsNothingToFallBackOn) {
  Frontend frontend = Exposed(50, 50);
  frontend.variants[0].endpoints.clear();
  ASSERT_OK(node_->Apply(frontend));
  HeardLongAgo();
  EXPECT_EQ(IdsOf(10), std::string(10, 1));
  EXPECT_TRUE(node_->datapath().ReadGuards(Boottime()).empty());
}

TEST_F(FailSafeTest, EndpointsOfStableTakeTurnsWhenItIsCutOff) {
  servers_.AddTcp(Endpoint(0, 1), 2);
  Frontend frontend = Exposed(80, 20);
  frontend.variants[0].endpoints.push_back(Endpoint(0, 1));
  ASSERT_OK(node_->Apply(frontend));
  HeardLongAgo();
  EXPECT_TRUE(IsExactAtEveryPrefix(IdsOf(40), {1, 1}, {0, 0, 1}));
}

TEST_F(FailSafeTest, StickyClientsLeaveTheCanaryToo) {
  Frontend frontend = Exposed(0, 100);
  frontend.affinity_timeout_s = 3600;
  ASSERT_OK(node_->Apply(frontend));
  HeardNow();
  EXPECT_EQ(IdsOf(5), std::string(5, 1));
  HeardLongAgo();
  EXPECT_EQ(IdsOf(5), std::string(5, 0));
}

TEST_F(FailSafeTest, FlowsOfDatagramsLeaveTheCanaryToo) {
  for (int v = 0; v < 2; ++v) servers_.AddUdp(Endpoint(v), v);
  Frontend frontend = MakeFrontend(vip_, {0, 100}, {{Endpoint(0)}, {Endpoint(1)}}, Protocol::kUdp);
  frontend.fail_safe = FailSafe{.stable = "v0", .after = kAfter};
  ASSERT_OK(node_->Apply(frontend));
  HeardNow();
  const SockAddr address = ToSockAddr(vip_);
  Socket socket = node_->OpenSocket(AF_INET, SOCK_DGRAM);
  const auto ask = [&]() -> int {
    uint8_t answer[2] = {99};
    if (sendto(socket.fd(), "?", 1, 0, address.get(), address.length) != 1) return -1;
    return recv(socket.fd(), answer, sizeof answer, 0) > 0 ? answer[0] : -1;
  };
  EXPECT_EQ(ask(), 1);
  HeardLongAgo();
  EXPECT_EQ(ask(), 0);
}

TEST_F(FailSafeTest, ACutStaysAndItsCauseIsThereForTheNextAgent) {
  ASSERT_OK(node_->Apply(Exposed(80, 20)));
  Frontend cut = Exposed(100, 0);
  cut.cut = Cut::kTripped;
  ASSERT_OK(node_->Apply(cut));
  HeardNow();
  EXPECT_EQ(IdsOf(20), std::string(20, 0));
  node_->Close();
  ASSERT_OK(node_->Open());
  EXPECT_EQ(Guard().in_force, Cut::kTripped);
  EXPECT_EQ(Guard().canary_id, datapath::RevisionId("v1"));
  EXPECT_EQ(IdsOf(20), std::string(20, 0));
  ASSERT_OK(node_->Apply(Exposed(80, 20)));
  EXPECT_TRUE(IsExactAtEveryPrefix(IdsOf(20), {80, 20}, {0, 1})) << "its weights begin now";
}

TEST_F(FailSafeTest, TripsWhenTheCanaryRefusesAndStableAnswers) {
  ASSERT_OK(node_->Apply(Exposed(50, 50)));
  HeardNow();
  servers_.Remove(Endpoint(1));
  EXPECT_EQ(Try(6), 3) << "every second one";
  EXPECT_EQ(Guard().decided, Cut::kTripped) << "at the third, on the spot";
  servers_.AddTcp(Endpoint(1), 1);
  EXPECT_EQ(IdsOf(20), std::string(20, 0)) << "it stays that way";
  node_->Close();
  ASSERT_OK(node_->Open());
  EXPECT_EQ(Guard().decided, Cut::kTripped);
}

TEST_F(FailSafeTest, ASuccessOfTheCanaryEndsTheRow) {
  ASSERT_OK(node_->Apply(Exposed(50, 50)));
  HeardNow();
  for (int round = 0; round < 4; ++round) {
    servers_.Remove(Endpoint(1));
    EXPECT_EQ(Try(4), 2);
    servers_.AddTcp(Endpoint(1), 1);
    EXPECT_EQ(Try(2), 0);
  }
  EXPECT_EQ(Guard().decided, Cut::kNone);
}

TEST_F(FailSafeTest, NoTripWhenBothFailForTheNetworkIsToBlame) {
  ASSERT_OK(node_->Apply(Exposed(50, 50)));
  HeardNow();
  EXPECT_EQ(Try(10), 0);
  servers_.Remove(Endpoint(0));
  servers_.Remove(Endpoint(1));
  EXPECT_EQ(Try(20), 20);
  EXPECT_EQ(Guard().decided, Cut::kNone);
  servers_.AddTcp(Endpoint(0), 0);
  EXPECT_EQ(Try(2), 1);
  EXPECT_EQ(Guard().decided, Cut::kTripped) << "stable is back, the canary is not";
}

TEST_F(FailSafeTest, NoTripWithoutAWordOfStable) {
  ASSERT_OK(node_->Apply(Exposed(0, 100)));
  HeardNow();
  servers_.Remove(Endpoint(1));
  EXPECT_EQ(Try(20), 20);
  EXPECT_EQ(Guard().decided, Cut::kNone);
}

TEST_F(FailSafeTest, ClientsThatGiveUpAreNoFailures) {
  Frontend frontend = Exposed(50, 50);
  frontend.variants[1].endpoints = {Address("127.1.1.1", 9)};
  ASSERT_OK(node_->Apply(frontend));
  HeardNow();
  // A listener whose backlog is full does not answer.
  Socket listener = Socket::Open(AF_INET, SOCK_STREAM);
  const SockAddr address = ToSockAddr(Address("127.1.1.1", 9));
  ASSERT_EQ(bind(listener.fd(), address.get(), address.length), 0);
  ASSERT_EQ(listen(listener.fd(), 0), 0);
  std::vector<Socket> waiting;
  const auto dial = [&] {
    Socket socket = node_->OpenSocket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
    socket.Connect(ToSockAddr(vip_));
    return socket;
  };
  for (int i = 0; i < 8; ++i) waiting.push_back(dial());
  waiting.clear();
  for (int i = 0; i < 20; ++i) dial();
  EXPECT_EQ(Guard().decided, Cut::kNone);
}

TEST_F(FailSafeTest, AnotherCanaryBeginsWithNothingAgainstIt) {
  ASSERT_OK(node_->Apply(Exposed(50, 50)));
  HeardNow();
  servers_.Remove(Endpoint(1));
  EXPECT_EQ(Try(6), 3);
  ASSERT_EQ(Guard().decided, Cut::kTripped);
  servers_.AddTcp(Endpoint(2), 2);
  Frontend next = MakeFrontend(vip_, {50, 50}, {{Endpoint(0)}, {Endpoint(2)}});
  next.variants[1].revision = "v2";
  next.fail_safe = Exposed(50, 50).fail_safe;
  ASSERT_OK(node_->Apply(next));
  EXPECT_EQ(Guard().decided, Cut::kNone);
  EXPECT_TRUE(IsExactAtEveryPrefix(IdsOf(20), {50, 50}, {0, 0, 1}));
}

TEST_F(FailSafeTest, AnotherWeightOfTheSameCanaryForgetsNothing) {
  ASSERT_OK(node_->Apply(Exposed(50, 50)));
  HeardNow();
  servers_.Remove(Endpoint(1));
  EXPECT_EQ(Try(6), 3);
  ASSERT_OK(node_->Apply(Exposed(20, 80)));
  EXPECT_EQ(Guard().decided, Cut::kTripped);
}

TEST_F(FailSafeTest, FailingEndpointsAreKnownByTheirRows) {
  servers_.AddTcp(Endpoint(0, 1), 2);
  Frontend frontend = MakeFrontend(vip_, {1}, {{Endpoint(0), Endpoint(0, 1)}});
  frontend.health = datapath::PassiveHealth{.consecutive_failures = 3};
  ASSERT_OK(node_->Apply(frontend));
  EXPECT_EQ(Try(10), 0);
  const auto failures = [&] {
    auto read = node_->datapath().ReadFailures();
    EXPECT_OK(read);
    return *std::move(read);
  };
  EXPECT_TRUE(failures().empty());
  servers_.Remove(Endpoint(0, 1));
  EXPECT_EQ(Try(8), 4);
  ASSERT_EQ(failures().size(), 1U);
  EXPECT_EQ(failures()[0].endpoint, Endpoint(0, 1));
  EXPECT_EQ(failures()[0].key, frontend.key);
  EXPECT_EQ(failures()[0].in_row, 4U);
  EXPECT_EQ(failures()[0].answered, 0U);
  servers_.AddTcp(Endpoint(0, 1), 2);
  EXPECT_EQ(Try(4), 0);
  EXPECT_EQ(failures()[0].in_row, 0U);
  EXPECT_EQ(failures()[0].answered, 2U);
  ASSERT_OK(node_->datapath().ForgetFailures(frontend.key, Endpoint(0, 1)));
  EXPECT_TRUE(failures().empty());
}

TEST_F(FailSafeTest, UnwatchedEndpointsLeaveNothing) {
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {50, 50}, {{Endpoint(0)}, {Endpoint(1)}})));
  servers_.Remove(Endpoint(1));
  EXPECT_EQ(Try(8), 4);
  const auto failures = node_->datapath().ReadFailures();
  ASSERT_OK(failures);
  EXPECT_TRUE(failures->empty());
}

}  // namespace
}  // namespace weir::kernel_test
