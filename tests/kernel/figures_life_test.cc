// Figures outlive agents, changes of size and revisions: for as long as they must, and no longer.
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <iostream>

#include "tests/kernel/harness/figures.h"
#include "tests/kernel/harness/fixture.h"
#include "tests/kernel/harness/load.h"
#include "tests/kernel/harness/pair.h"
#include "tests/kernel/harness/programs.h"

namespace weir::kernel_test {
namespace {

using datapath::Figures;
using datapath::Series;

class FiguresLifeTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) return;
    node_ = std::make_unique<TestNode>();
    node_->options().clock = &clock_;
    node_->options().series_grace = std::chrono::seconds(300);
    ASSERT_OK(node_->Open());
    for (int v = 0; v < 3; ++v) servers_.AddTcp(Endpoint(v), v);
    ASSERT_OK(node_->Apply(Split({0, 1})));
  }

  static SocketAddress Endpoint(int variant) { return Address(fmt::format("127.1.{}.1", variant), 8080); }
  /// Equal shares for these variants.
  Frontend Split(const std::vector<int>& variants) {
    Frontend frontend = Named(MakeFrontend(vip_, {}));
    for (const int v : variants) frontend.variants.push_back({"v" + std::to_string(v), 1, {Endpoint(v)}});
    return frontend;
  }
  void Dial(int times) {
    ASSERT_OK(node_->Run([&] { return FetchMany(vip_, times); }));
  }
  Series Read(int variant) { return ReadSeries(*node_, "checkout", "v" + std::to_string(variant)); }
  bool Has(int variant) { return HasSeries(*node_, "checkout", "v" + std::to_string(variant)); }
  std::string Epoch() {
    const auto figures = node_->datapath().ReadFigures();
    EXPECT_OK(figures);
    return figures.ok() ? figures->epoch : "";
  }

  const SocketAddress vip_ = Address("127.96.0.1", 80);
  FakeClock clock_;
  Servers servers_;
  std::unique_ptr<TestNode> node_;
};

TEST_F(FiguresLifeTest, ThousandsOfConnectionsThroughRestarts) {
  std::vector<Socket> held;
  for (int i = 0; i < 100; ++i) {
    held.push_back(OpenOrderly(*node_, AF_INET));
    ASSERT_EQ(held.back().Connect(vip_), 0);
  }
  const std::string epoch = Epoch();
  uint64_t opened_before = 0, received_before = 0;
  Load load({node_->cgroup()}, vip_, 4);
  for (int round = 0; round < 5; ++round) {
    ASSERT_OK(load.WaitChecked(100));
    if (round == 2) node_->options().max_endpoints = 8192;  // other maps
    ASSERT_OK(node_->Open());
    if (round % 2 == 0) ASSERT_OK(node_->ApplyFull({Split({0, 1})}));
    uint64_t opened = 0, received = 0;
    for (const int v : {0, 1}) {
      const Series series = Read(v);
      EXPECT_GE(series.opened, series.closed + 50) << "half of those held are open";
      EXPECT_LE(series.opened, series.closed + 50 + 4) << "and at most one per thread";
      opened += series.opened;
      received += series.bytes_received;
    }
    EXPECT_GE(opened, opened_before);
    EXPECT_GE(received, received_before);
    opened_before = opened;
    received_before = received;
  }
  ASSERT_OK(load.Stop());
  EXPECT_EQ(Epoch(), epoch);
  for (const int v : {0, 1}) {
    const Series series = Read(v);
    EXPECT_EQ(series.opened, servers_.Count(v));
    EXPECT_EQ(series.closed + 50, series.opened);
    EXPECT_EQ(series.connect.count(), series.opened);
    EXPECT_EQ(series.bytes_received, series.opened) << "each server sends its id, held connections too";
    EXPECT_EQ(Failed(series), 0U);
  }
  EXPECT_GT(servers_.Total(), 1000U);
  std::cout << servers_.Total() << " connections, 5 restarts\n";
  held.clear();
  for (const int v : {0, 1}) {
    EXPECT_TRUE(Eventually([&] {
      const Series series = Read(v);
      return series.opened == series.closed;
    }));
  }
}

TEST_F(FiguresLifeTest, BytesOfAConnectionThatLivesThroughRestarts) {
  Listener listener(Address("127.1.7.1", 8080));
  ASSERT_OK(node_->Apply(Named(MakeFrontend(vip_, {1}, {{Address("127.1.7.1", 8080)}}))));
  Pair pair = Connect(*node_, vip_, listener);
  for (uint64_t round = 1; round <= 3; ++round) {
    Transfer(pair.client, pair.server, 1000);
    Transfer(pair.server, pair.client, 10000);
    if (round % 2 == 0) {
      EXPECT_EQ(Read(0).bytes_sent, 1000 * round) << "counted by one agent";
    }
    ASSERT_OK(node_->Open());
    EXPECT_EQ(Read(0).bytes_sent, 1000 * round) << "by the next";
    EXPECT_EQ(Read(0).bytes_received, 10000 * round);
  }
  // Closed while no agent runs.
  Transfer(pair.client, pair.server, 77);
  node_->Close();
  pair.client.Close();
  pair.server.Close();
  ASSERT_OK(node_->Open());
  EXPECT_EQ(Read(0).bytes_sent, 3077U);
  EXPECT_EQ(Read(0).bytes_received, 30000U);
  EXPECT_EQ(Read(0).opened, Read(0).closed);
}

TEST_F(FiguresLifeTest, RevisionThatWentIsKeptThenForgotten) {
  Dial(10);
  ASSERT_OK(node_->Apply(Split({0, 2})));
  clock_.Advance(std::chrono::seconds(299));
  EXPECT_EQ(Read(1).opened, 5U);
  EXPECT_FALSE(Read(1).in_force);
  EXPECT_TRUE(Read(2).in_force);
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_FALSE(Has(1));
  EXPECT_TRUE(Has(0)) << "one that is in force does not age";
  // Later under its name again: a new series.
  ASSERT_OK(node_->Apply(Split({0, 1})));
  EXPECT_EQ(Read(1).opened, 0U);
  Dial(10);
  EXPECT_EQ(Read(1).opened, 5U);
  EXPECT_EQ(Read(0).opened, 10U);
}

TEST_F(FiguresLifeTest, RevisionThatComesBackInTimeGoesOn) {
  Dial(10);
  ASSERT_OK(node_->Apply(Split({0})));
  clock_.Advance(std::chrono::seconds(299));
  ASSERT_OK(node_->Open());  // nobody knows for how long it had been gone: the time starts anew
  clock_.Advance(std::chrono::seconds(299));
  EXPECT_EQ(Read(1).opened, 5U);
  ASSERT_OK(node_->Apply(Split({0, 1})));
  clock_.Advance(std::chrono::seconds(1000));
  Dial(10);
  EXPECT_EQ(Read(1).opened, 10U);
  EXPECT_TRUE(Read(1).in_force);
}

TEST_F(FiguresLifeTest, RevisionWithAnOpenConnectionIsKept) {
  Listener listener(Address("127.1.7.1", 8080));
  ASSERT_OK(node_->Apply(Named(MakeFrontend(vip_, {1}, {{Address("127.1.7.1", 8080)}}))));
  Pair pair = Connect(*node_, vip_, listener);
  ASSERT_OK(node_->ApplyFull({}));
  for (int i = 0; i < 3; ++i) {
    clock_.Advance(std::chrono::seconds(1000));
    Transfer(pair.client, pair.server, 9);
    EXPECT_EQ(Read(0).bytes_sent, 9U * (i + 1));
  }
  pair.client.Close();
  pair.server.Close();
  ASSERT_TRUE(Eventually([&] { return Read(0).closed == 1; }));
  clock_.Advance(std::chrono::seconds(299));
  EXPECT_TRUE(Has(0)) << "the time begins when the last connection is seen to be gone";
  clock_.Advance(std::chrono::seconds(2));
  EXPECT_FALSE(Has(0));
  EXPECT_TRUE(node_->datapath().ReadFigures()->series.empty());
}

TEST_F(FiguresLifeTest, VariantOfWeightZeroHasASeries) {
  Frontend frontend = Split({0, 1});
  frontend.variants[1].weight = 0;
  ASSERT_OK(node_->Apply(frontend));
  clock_.Advance(std::chrono::seconds(1000));
  EXPECT_TRUE(Read(1).in_force);
}

TEST_F(FiguresLifeTest, PortsOfAServiceShareASeries) {
  Frontend other = Split({0, 1});
  other.key.address = Address("127.96.0.1", 81);
  ASSERT_OK(node_->Apply(other));
  Dial(10);
  ASSERT_OK(node_->Run([&] { return FetchMany(other.key.address, 10); }));
  EXPECT_EQ(Read(0).opened, 10U);
  ASSERT_OK(node_->Apply({}, {other.key}));
  EXPECT_TRUE(Read(0).in_force);
}

TEST_F(FiguresLifeTest, FiguresAreSorted) {
  Frontend first = Split({2, 0, 1});
  first.service = "apples";
  first.key.address = Address("127.96.0.3", 80);
  ASSERT_OK(node_->Apply({first}));
  const auto figures = node_->datapath().ReadFigures();
  ASSERT_OK(figures);
  std::string names;
  for (const Series& series : figures->series) names += series.service + "/" + series.revision + " ";
  EXPECT_EQ(names, "apples/v0 apples/v1 apples/v2 checkout/v0 checkout/v1 ");
  EXPECT_EQ(figures->epoch.size(), 36U);
  EXPECT_EQ(figures->epoch[14], '4') << "a random UUID";
}

TEST_F(FiguresLifeTest, NameThatDoesNotFitIsDividedButNotMeasured) {
  Frontend frontend = Split({0, 1});
  frontend.variants[1].revision = std::string(64, 'r');
  ASSERT_OK(node_->Apply(frontend));
  Dial(10);
  EXPECT_EQ(servers_.Count(1), 5U);
  EXPECT_EQ(Read(0).opened, 5U);
  const auto stats = node_->datapath().ReadStats();
  ASSERT_OK(stats);
  for (const auto& counter : stats->counters) {
    if (!counter.is_error) continue;
    EXPECT_EQ(counter.count, counter.name == "series_full" ? 1U : 0U) << counter.name;
  }
  frontend.variants[1].revision = std::string(63, 'r');
  ASSERT_OK(node_->Apply(frontend));
  Dial(10);
  EXPECT_EQ(ReadSeries(*node_, "checkout", std::string(63, 'r')).opened, 5U);
}

TEST_F(FiguresLifeTest, AgentsOfTwoCgroupsDoNotSeeEachOthers) {
  TestNode other;
  ASSERT_OK(other.Open());
  ASSERT_OK(other.Apply(Split({0, 1})));
  Dial(10);
  ASSERT_OK(other.Run([&] { return FetchMany(vip_, 4); }));
  EXPECT_EQ(Read(0).opened, 5U);
  EXPECT_EQ(ReadSeries(other, "checkout", "v0").opened, 2U);
  const auto theirs = other.datapath().ReadFigures();
  ASSERT_OK(theirs);
  EXPECT_NE(theirs->epoch, Epoch());
}

TEST_F(FiguresLifeTest, DetachEndsMeasuringAndTheNextAgentBeginsAtZero) {
  Dial(10);
  Frontend udp =
      Named(MakeFrontend(Address("127.96.0.1", 53), {1}, {{Address("127.1.0.1", 53)}}, Protocol::kUdp));
  ASSERT_OK(node_->Apply(udp));
  const std::string epoch = Epoch();
  const PinnedObjects ours = FindPinned(node_->bpffs());
  EXPECT_EQ(ours.links.size(), LinkCount() + 2) << "packets in both directions";
  node_->Close();
  ASSERT_OK(datapath::KernelDatapath::Detach(node_->bpffs()));
  const PinnedObjects left = StillThere(ours);
  EXPECT_TRUE(left.programs.empty());
  EXPECT_TRUE(left.maps.empty());
  EXPECT_TRUE(left.links.empty());
  ASSERT_OK(node_->Open());
  ASSERT_OK(node_->Apply(Split({0, 1})));
  EXPECT_NE(Epoch(), epoch);
  EXPECT_EQ(Read(0).opened, 0U);
}

TEST_F(FiguresLifeTest, CheckNoticesATracepointThatIsGone) {
  EXPECT_OK(node_->datapath().CheckAttached());
  ASSERT_EQ(unlink((node_->bpffs() + "/link_state_change").c_str()), 0);
  EXPECT_FALSE(node_->datapath().CheckAttached().ok());
  ASSERT_OK(node_->Open());
  EXPECT_OK(node_->datapath().CheckAttached());
  Dial(10);
  EXPECT_EQ(Read(0).opened, 5U);
}

/// Reads the figures and says what that took, of the clock and of the processor.
Figures ReadAndTime(TestNode& node) {
  const auto processor = [] {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1'000'000 + now.tv_nsec / 1000;
  };
  const auto begin = std::chrono::steady_clock::now();
  const auto used_before = processor();
  const auto figures = node.datapath().ReadFigures();
  const auto used = processor() - used_before;
  const auto took =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  EXPECT_OK(figures);
  std::cout << "ReadFigures: " << took.count() << " us, of them " << used << " us of CPU\n";
  return figures.ok() ? *figures : Figures{};
}

TEST_F(FiguresLifeTest, TenThousandOpenConnections) {
  constexpr int kConnections = 10000;
  int done[2], hold[2];  // the client says when all are open; then it waits until we hang up
  ASSERT_EQ(pipe2(done, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(hold, O_CLOEXEC), 0);
  ClientProcess client(node_->cgroup(), [&]() -> Result<std::string> {
    close(hold[1]);
    std::vector<Socket> sockets;
    for (int i = 0; i < kConnections; ++i) {
      sockets.push_back(Socket::Open(AF_INET, SOCK_STREAM));
      if (const int error = sockets.back().Connect(vip_); error != 0) return ErrnoStatus(error, "connect");
      RETURN_IF_ERROR(sockets.back().Receive().status());
    }
    char byte = 0;
    if (write(done[1], &byte, 1) != 1 || read(hold[0], &byte, 1) != 0) return ErrnoStatus(errno, "pipe");
    return std::string();
  });
  close(done[1]);
  char byte = 0;
  EXPECT_EQ(read(done[0], &byte, 1), 1) << "the client could not open all of them";
  for (int round = 0; round < 5; ++round) {
    const Figures figures = ReadAndTime(*node_);
    ASSERT_EQ(figures.series.size(), 2U);
    EXPECT_EQ(figures.series[0].opened + figures.series[1].opened, uint64_t{kConnections});
    EXPECT_EQ(figures.series[0].closed + figures.series[1].closed, 0U);
    EXPECT_EQ(figures.series[0].bytes_received + figures.series[1].bytes_received, uint64_t{kConnections});
  }
  for (const int fd : {done[0], hold[0], hold[1]}) close(fd);
  EXPECT_OK(client.Wait());
}

TEST_F(FiguresLifeTest, AThousandServices) {
  TestNode big(1024, 4096);
  ASSERT_OK(big.Open());
  std::vector<Frontend> frontends;
  for (int i = 0; i < 1000; ++i) {
    Frontend frontend = Split({0, 1});
    frontend.service = fmt::format("service-{:04}", i);
    frontend.key.address = Address(fmt::format("127.97.{}.{}", i / 250, i % 250 + 1), 80);
    frontends.push_back(frontend);
  }
  ASSERT_OK(big.ApplyFull(frontends));
  ASSERT_OK(big.Run([&]() -> Result<std::string> {
    for (const Frontend& frontend : frontends) RETURN_IF_ERROR(FetchMany(frontend.key.address, 2).status());
    return std::string();
  }));
  for (int round = 0; round < 5; ++round) {
    const Figures figures = ReadAndTime(big);
    ASSERT_EQ(figures.series.size(), 2000U);
    for (const Series& series : figures.series) ASSERT_EQ(series.opened, 1U) << series.service;
  }
}

}  // namespace
}  // namespace weir::kernel_test
