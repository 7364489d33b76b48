// Session affinity: the client is a network namespace; it keeps its endpoint until it was idle for the
// timeout.
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <set>
#include <thread>

#include "tests/kernel/harness/fixture.h"

namespace weir::kernel_test {
namespace {

class AffinityTest : public NodeTest {
 protected:
  void Prepare() override {
    ASSERT_NO_FATAL_FAILURE(NodeTest::Prepare());
    for (int i = 0; i < 2; ++i) namespaces_.push_back(std::make_unique<NetNamespace>());
    for (int v = 0; v < 2; ++v) {
      for (int i = 0; i < 4; ++i) {
        servers_.AddTcp(Endpoint(v, i), Id(v, i));
        for (auto& netns : namespaces_) servers_.AddTcp(Endpoint(v, i), Id(v, i), netns->fd());
      }
    }
  }

  static uint8_t Id(int variant, int number) { return variant * 10 + number; }

  Frontend Split(uint32_t timeout_s, std::vector<uint32_t> weights = {50, 50}) {
    Frontend frontend = MakeFrontend(vip_, weights);
    for (int v = 0; v < 2; ++v) {
      for (int i = 0; i < 4; ++i) frontend.variants[v].endpoints.push_back(Endpoint(v, i));
    }
    frontend.affinity_timeout_s = timeout_s;
    return frontend;
  }

  /// Connections from one network namespace (-1: the test's own), as ids.
  std::string Dial(int netns, int times) {
    const auto ids = node_->Run([&]() -> Result<std::string> {
      if (netns >= 0 && setns(namespaces_[netns]->fd(), CLONE_NEWNET) != 0)
        return ErrnoStatus(errno, "setns");
      return FetchMany(vip_, times);
    });
    EXPECT_OK(ids);
    return ids.ok() ? *ids : "";
  }

  const SocketAddress vip_ = Address("127.96.0.1", 80);
  std::vector<std::unique_ptr<NetNamespace>> namespaces_;
};

TEST_F(AffinityTest, ANamespaceKeepsItsEndpointOthersChooseForThemselves) {
  ASSERT_OK(node_->Apply(Split(100)));
  const std::string own = Dial(-1, 20), first = Dial(0, 20), second = Dial(1, 20);
  EXPECT_EQ(own, std::string(20, own[0]));
  EXPECT_EQ(first, std::string(20, first[0]));
  EXPECT_EQ(second, std::string(20, second[0]));
  // Round robin over two variants: three clients in a row get three endpoints.
  EXPECT_EQ((std::set<char>{own[0], first[0], second[0]}.size()), 3U);
  EXPECT_EQ(Dial(-1, 5), std::string(5, own[0])) << "after others came";
}

TEST_F(AffinityTest, SourcePortAndProcessDoNotMatter) {
  ASSERT_OK(node_->Apply(Split(100)));
  const std::string first = Dial(-1, 1);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Dial(-1, 1), first);
}

TEST_F(AffinityTest, VipsAreIndependent) {
  Frontend other = Split(100);
  other.key.address = Address("127.96.0.2", 80);
  other.variants[0].endpoints = {Endpoint(0, 3)};
  other.variants[1].weight = 0;
  ASSERT_OK(node_->Apply({Split(100, {0, 1}), other}));
  const std::string first = Dial(-1, 3);
  EXPECT_GE(first[0], Id(1, 0));
  const auto second = node_->Run([&] { return FetchMany(other.key.address, 3); });
  ASSERT_OK(second);
  EXPECT_EQ(*second, std::string(3, Id(0, 3)));
}

TEST_F(AffinityTest, IdleLongerThanTheTimeoutChoosesAnew) {
  ASSERT_OK(node_->Apply(Split(1)));
  const std::string before = Dial(-1, 5);
  EXPECT_EQ(before, std::string(5, before[0]));
  std::this_thread::sleep_for(std::chrono::milliseconds(1300));  // the passing of time is what is tested
  const std::string after = Dial(-1, 5);
  EXPECT_NE(after[0], before[0]) << "the next in turn";
  EXPECT_EQ(after, std::string(5, after[0]));
}

TEST_F(AffinityTest, UseKeepsItAlive) {
  ASSERT_OK(node_->Apply(Split(2)));
  const std::string first = Dial(-1, 1);
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(3500);
  while (std::chrono::steady_clock::now() < end) {
    ASSERT_EQ(Dial(-1, 1), first);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));  // the passing of time is what is tested
  }
}

TEST_F(AffinityTest, EndpointGoneChoosesAnother) {
  ASSERT_OK(node_->Apply(Split(100)));
  const std::string before = Dial(-1, 3);
  Frontend frontend = Split(100);
  auto& endpoints = frontend.variants[before[0] / 10].endpoints;
  endpoints.erase(endpoints.begin() + before[0] % 10);
  ASSERT_OK(node_->Apply(frontend));
  const std::string after = Dial(-1, 5);
  EXPECT_NE(after[0], before[0]);
  EXPECT_EQ(after, std::string(5, after[0]));
  ASSERT_OK(node_->Apply(Split(100)));
  EXPECT_EQ(Dial(-1, 5), after) << "it does not go back";
}

TEST_F(AffinityTest, OtherEndpointsGoneMakesNoDifference) {
  ASSERT_OK(node_->Apply(Split(100)));
  const std::string before = Dial(-1, 3);
  Frontend frontend = Split(100);
  for (int v = 0; v < 2; ++v) {
    auto& endpoints = frontend.variants[v].endpoints;
    std::erase_if(endpoints, [&](const auto& e) { return Id(v, e.address.mapped()[15] - 1) != before[0]; });
    endpoints.insert(endpoints.begin(), Endpoint(v, (before[0] % 10 + 1) % 4));  // and its place moves
  }
  ASSERT_OK(node_->Apply(frontend));
  EXPECT_EQ(Dial(-1, 3), before);
}

TEST_F(AffinityTest, VariantOfWeightZeroChoosesAnother) {
  ASSERT_OK(node_->Apply(Split(100)));
  const std::string before = Dial(-1, 3);
  const bool stable = before[0] < 10;
  ASSERT_OK(node_->Apply(Split(100, stable ? std::vector<uint32_t>{0, 1} : std::vector<uint32_t>{1, 0})));
  const std::string after = Dial(-1, 5);
  EXPECT_NE(after[0] / 10, before[0] / 10);
  EXPECT_EQ(after, std::string(5, after[0]));
}

TEST_F(AffinityTest, WeightsThatChangeKeepTheClient) {
  ASSERT_OK(node_->Apply(Split(100)));
  const std::string before = Dial(-1, 1);
  for (uint32_t weight = 1; weight < 100; weight += 14) {
    ASSERT_OK(node_->Apply(Split(100, {weight, 100 - weight})));
    EXPECT_EQ(Dial(-1, 1), before);
  }
}

TEST_F(AffinityTest, SwitchedOffDividesEveryConnection) {
  ASSERT_OK(node_->Apply(Split(100)));
  Dial(-1, 3);
  ASSERT_OK(node_->Apply(Split(0)));
  const std::string ids = Dial(-1, 20);
  std::vector<int> variant_of(20);
  for (int id = 0; id < 20; ++id) variant_of[id] = id / 10;
  // The cursor goes on from the one choice the sticky client took.
  std::vector<uint64_t> counts(2);
  for (const char id : ids) ++counts[variant_of[id]];
  EXPECT_NEAR(counts[0], 10, 1);
}

TEST_F(AffinityTest, AppliesToUdpAsWell) {
  for (int i = 0; i < 4; ++i) servers_.AddUdp(Endpoint(0, i), Id(0, i));
  Frontend frontend = MakeFrontend(vip_, {1}, Protocol::kUdp);
  for (int i = 0; i < 4; ++i) frontend.variants[0].endpoints.push_back(Endpoint(0, i));
  frontend.affinity_timeout_s = 100;
  ASSERT_OK(node_->Apply(frontend));
  const auto ids = node_->Run([&]() -> Result<std::string> {
    std::string out;
    for (int i = 0; i < 8; ++i) {
      ASSIGN_OR_RETURN(const uint8_t id, FetchUdp(vip_));
      out.push_back(static_cast<char>(id));
      Socket socket = Socket::Open(AF_INET, SOCK_DGRAM);
      RETURN_IF_ERROR(socket.SendTo(vip_, "?"));
      ASSIGN_OR_RETURN(const auto answer, socket.ReceiveFrom());
      out.push_back(answer.data[0]);
    }
    return out;
  });
  ASSERT_OK(ids);
  EXPECT_EQ(*ids, std::string(16, (*ids)[0])) << ShowIds(*ids);
}

// Two CPUs that see a new client at the same moment must agree.
TEST_F(AffinityTest, FirstConnectionsThatRaceAgree) {
  for (int round = 0; round < 20; ++round) {
    Frontend frontend = Split(100);
    frontend.key.address = Address(fmt::format("127.96.3.{}", round + 1), 80);
    ASSERT_OK(node_->Apply(frontend));
    const auto ids = node_->Run([&]() -> Result<std::string> {
      std::vector<std::thread> threads;
      std::string out(8, -1);
      for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&, i] {
          const auto id = Fetch(frontend.key.address);
          if (id.ok()) out[i] = static_cast<char>(*id);
        });
      }
      for (auto& thread : threads) thread.join();
      return out;
    });
    ASSERT_OK(ids);
    EXPECT_EQ(*ids, std::string(8, (*ids)[0])) << ShowIds(*ids);
  }
}

TEST_F(AffinityTest, OutlivesTheAgent) {
  ASSERT_OK(node_->Apply(Split(100)));
  const std::string before = Dial(-1, 3);
  node_->Close();
  EXPECT_EQ(Dial(-1, 3), before);
  ASSERT_OK(node_->Open());
  EXPECT_EQ(Dial(-1, 3), before);
  ASSERT_OK(node_->ApplyFull({Split(100)}));
  EXPECT_EQ(Dial(-1, 3), before);
}

}  // namespace
}  // namespace weir::kernel_test
