// A connect() sees one generation, whole; after Apply() none sees an older one. Judged connection by
// connection.
#include <random>

#include "tests/kernel/harness/fixture.h"
#include "tests/kernel/harness/load.h"

namespace weir::kernel_test {
namespace {

class AtomicTest : public KernelTest {
 protected:
  const SocketAddress vip_ = Address("127.96.0.1", 80);
  Servers servers_;
};

void Flip(const std::string& what, Protocol protocol, int flips, const SocketAddress& vip, Servers& servers) {
  SCOPED_TRACE(what);
  TestNode first, second;
  Frontend frontend = MakeFrontend(vip, {100, 0}, {{Endpoint(0, 0)}, {Endpoint(1, 0)}}, protocol);
  for (int v = 0; v < 2; ++v) {
    if (protocol == Protocol::kTcp) servers.AddTcp(Endpoint(v, 0), v);
    if (protocol == Protocol::kUdp) servers.AddUdp(Endpoint(v, 0), v);
  }
  for (TestNode* node : {&first, &second}) {
    ASSERT_OK(node->Open());
    ASSERT_OK(node->Apply(frontend));
  }
  Load load({first.cgroup(), second.cgroup()}, vip, 4, protocol);
  ASSERT_OK(load.WaitChecked(10));
  for (int i = 1; i <= flips; ++i) {
    frontend.variants[0].weight = i % 2 == 0 ? 100 : 0;
    frontend.variants[1].weight = i % 2 == 0 ? 0 : 100;
    load.BeginChange();
    ASSERT_OK(first.Apply(frontend));
    ASSERT_OK(second.Apply(frontend));
    load.EndChange(std::string(1, static_cast<char>(i % 2)));
    ASSERT_OK(load.WaitChecked(3));
  }
  EXPECT_OK(load.Stop());
  EXPECT_GE(load.state().checked[0].load(), 3U * flips);
  EXPECT_GE(load.state().checked[1].load(), 3U * flips);
  EXPECT_GT(load.state().received[0].load(), 0U);
  EXPECT_GT(load.state().received[1].load(), 0U);
}

TEST_F(AtomicTest, AThousandFlipsUnderLoadFromTwoNodes) { Flip("TCP", Protocol::kTcp, 1000, vip_, servers_); }

TEST_F(AtomicTest, FlipsOfUdp) { Flip("UDP", Protocol::kUdp, 200, vip_, servers_); }

// Weights and endpoints change together: a mix would send connections to endpoints that generation does not
// have.
TEST_F(AtomicTest, WeightsAndEndpointsChangeAsOne) {
  TestNode node;
  ASSERT_OK(node.Open());
  for (int v = 0; v < 4; ++v) {
    for (int i = 0; i < 8; ++i) servers_.AddTcp(Endpoint(v, i), v * 8 + i);
  }
  std::mt19937 random(7);
  // Generation g uses only endpoints whose number is g mod 4, or that + 4, of a random subset of variants.
  const auto make = [&](int generation, std::string* allowed) {
    Frontend frontend = MakeFrontend(vip_, {0, 0, 0, 0});
    const uint32_t subset = random() % 15 + 1;
    allowed->clear();
    for (int v = 0; v < 4; ++v) {
      frontend.variants[v].weight = (subset >> v & 1) != 0 ? random() % 100 + 1 : 0;
      for (int i = generation % 4; i < 8; i += 4) {
        frontend.variants[v].endpoints.push_back(Endpoint(v, i));
        if (frontend.variants[v].weight != 0) allowed->push_back(static_cast<char>(v * 8 + i));
      }
    }
    return frontend;
  };
  std::string allowed;
  ASSERT_OK(node.Apply(make(0, &allowed)));
  Load load({node.cgroup()}, vip_, 6);
  load.BeginChange();
  load.EndChange(allowed);
  ASSERT_OK(load.WaitChecked(10));
  for (int generation = 1; generation <= 500; ++generation) {
    load.BeginChange();
    ASSERT_OK(node.Apply(make(generation, &allowed)));
    load.EndChange(allowed);
    ASSERT_OK(load.WaitChecked(3));
  }
  EXPECT_OK(load.Stop());
}

TEST_F(AtomicTest, EndpointsComeAndGoUnderLoad) {
  TestNode node;
  ASSERT_OK(node.Open());
  for (int i = 0; i < 16; ++i) servers_.AddTcp(Endpoint(0, i), i);
  servers_.AddTcp(Endpoint(1, 0), 100);
  std::mt19937 random(11);
  Frontend frontend = MakeFrontend(vip_, {80, 20});
  frontend.variants[1].endpoints = {Endpoint(1, 0)};
  const auto choose = [&] {
    std::string allowed(1, 100);
    frontend.variants[0].endpoints.clear();
    const uint32_t subset = random() % 65535 + 1;
    for (int i = 0; i < 16; ++i) {
      if ((subset >> i & 1) == 0) continue;
      frontend.variants[0].endpoints.push_back(Endpoint(0, i));
      allowed.push_back(static_cast<char>(i));
    }
    return allowed;
  };
  choose();
  ASSERT_OK(node.Apply(frontend));
  servers_.Forget();
  Load load({node.cgroup()}, vip_, 6);
  for (int round = 0; round < 500; ++round) {
    load.BeginChange();
    const std::string allowed = choose();
    ASSERT_OK(node.Apply(frontend));
    load.EndChange(allowed);
    ASSERT_OK(load.WaitChecked(2));
  }
  EXPECT_OK(load.Stop());
  // The weights never changed, so all of it is one sequence.
  const uint64_t canary = servers_.Count(100);
  EXPECT_TRUE(IsExact({servers_.Total() - canary, canary}, {80, 20}));
}

TEST_F(AtomicTest, OnlyConnectionsToAServerThatIsDeadMayFail) {
  TestNode node;
  ASSERT_OK(node.Open());
  Frontend frontend = MakeFrontend(vip_, {100});
  for (int i = 0; i < 4; ++i) {
    servers_.AddTcp(Endpoint(0, i), i);
    frontend.variants[0].endpoints.push_back(Endpoint(0, i));
  }
  ASSERT_OK(node.Apply(frontend));
  Load load({node.cgroup()}, vip_, 6);
  ASSERT_OK(load.WaitChecked(10));
  load.MayFailInChange(true);
  const std::string all("\0\1\2\3", 4);
  for (int round = 0; round < 200; ++round) {
    const int dying = round % 4;
    Frontend without = frontend;
    without.variants[0].endpoints.erase(without.variants[0].endpoints.begin() + dying);
    // Out of the split first, then dead: from EndChange on nothing may fail, nor reach it.
    load.BeginChange();
    ASSERT_OK(node.Apply(without));
    servers_.RemoveAndReset(Endpoint(0, dying));
    std::string left = all;
    left.erase(dying, 1);
    load.EndChange(left);
    ASSERT_OK(load.WaitChecked(5));
    load.BeginChange();
    servers_.AddTcp(Endpoint(0, dying), dying);
    ASSERT_OK(node.Apply(frontend));
    load.EndChange(all);
    ASSERT_OK(load.WaitChecked(5));
  }
  EXPECT_OK(load.Stop());
}

// A server that died unnoticed costs its own share of connections and no other.
TEST_F(AtomicTest, ADeadEndpointCostsExactlyItsShare) {
  TestNode node;
  ASSERT_OK(node.Open());
  servers_.AddTcp(Endpoint(0, 0), 0);
  servers_.AddTcp(Endpoint(1, 0), 1);
  ASSERT_OK(node.Apply(MakeFrontend(vip_, {75, 25}, {{Endpoint(0, 0)}, {Endpoint(1, 0)}})));
  servers_.Remove(Endpoint(1, 0));
  const auto outcomes = node.Run([&] { return TryMany(vip_, 200); });
  ASSERT_OK(outcomes);
  EXPECT_TRUE(IsExactAtEveryPrefix(*outcomes, {75, 25}, {0, 1}));
}

// One change of many services is in force as a whole when Apply() returns.
TEST_F(AtomicTest, ManyServicesChangeInOneGeneration) {
  TestNode node;
  ASSERT_OK(node.Open());
  for (int v = 0; v < 2; ++v) servers_.AddTcp(Endpoint(v, 0), v);
  for (int round = 0; round < 20; ++round) {
    const uint32_t canary = round % 2 == 0 ? 100 : 0;
    std::vector<Frontend> frontends;
    for (int s = 0; s < 50; ++s) {
      frontends.push_back(MakeFrontend(Address(fmt::format("127.96.1.{}", s + 1), 80), {100 - canary, canary},
                                       {{Endpoint(0, 0)}, {Endpoint(1, 0)}}));
    }
    ASSERT_OK(node.Apply(frontends));
    const auto ids = node.Run([&]() -> Result<std::string> {
      std::string out;
      for (const auto& frontend : frontends) {
        ASSIGN_OR_RETURN(const uint8_t id, Fetch(frontend.key.address));
        out.push_back(static_cast<char>(id));
      }
      return out;
    });
    ASSERT_OK(ids);
    ASSERT_EQ(*ids, std::string(50, canary == 100 ? 1 : 0));
  }
}

}  // namespace
}  // namespace weir::kernel_test
