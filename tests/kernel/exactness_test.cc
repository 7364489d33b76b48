// After every single connection each variant's count is less than one away from its share, counted at the
// servers.
#include <algorithm>
#include <random>
#include <thread>

#include "tests/kernel/harness/fixture.h"

namespace weir::kernel_test {
namespace {

/// One endpoint per variant, its id the variant's index.
class ExactnessTest : public NodeTest {
 protected:
  Frontend Split(const std::vector<uint32_t>& weights) {
    std::vector<std::vector<SocketAddress>> endpoints;
    for (size_t v = 0; v < weights.size(); ++v) {
      endpoints.push_back({Endpoint(v, 0)});
      if (v >= listening_) {
        servers_.AddTcp(Endpoint(v, 0), v);
        listening_ = v + 1;
      }
      if (variant_of_.size() <= v) variant_of_.push_back(v);
    }
    return MakeFrontend(vip_, weights, endpoints);
  }

  /// Dials n times, one after the other; every prefix at the servers must be exact.
  void CheckSequence(const std::vector<uint32_t>& weights, int n) {
    servers_.Forget();
    ASSERT_OK(node_->Apply(Split(weights)));
    const auto seen = node_->Run([&] { return FetchMany(vip_, n); });
    ASSERT_OK(seen);
    EXPECT_EQ(servers_.Log(), *seen) << "clients and servers must agree";
    EXPECT_EQ(servers_.Total(), static_cast<uint64_t>(n));
    EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), weights, variant_of_));
  }

  /// 16 threads race; what the servers have at the end must be exact.
  void CheckRace(const std::vector<uint32_t>& weights, int each) {
    servers_.Forget();
    ASSERT_OK(node_->Apply(Split(weights)));
    ASSERT_OK(node_->Run([&]() -> Result<std::string> {
      std::vector<std::thread> threads;
      std::atomic<int> failures{0};
      for (int i = 0; i < 16; ++i) {
        threads.emplace_back([&] {
          if (!FetchMany(vip_, each).ok()) ++failures;
        });
      }
      for (auto& thread : threads) thread.join();
      if (failures != 0) return Error(absl::StatusCode::kInternal, "{} threads failed", failures.load());
      return std::string();
    }));
    std::vector<uint64_t> counts;
    for (size_t v = 0; v < weights.size(); ++v) counts.push_back(servers_.Count(v));
    EXPECT_EQ(servers_.Total(), 16U * each);
    EXPECT_TRUE(IsExact(counts, weights));
  }

  const SocketAddress vip_ = Address("127.96.0.1", 80);
  size_t listening_ = 0;
  std::vector<int> variant_of_;
};

std::vector<uint32_t> RandomWeights(uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint32_t> weights;
  for (int i = 0; i < 16; ++i) weights.push_back(random() % 1000000 + 1);
  return weights;
}

TEST_F(ExactnessTest, TwentyEighty) { CheckSequence({80, 20}, 1000); }
TEST_F(ExactnessTest, TwentyEightyRacing) { CheckRace({80, 20}, 250); }

TEST_F(ExactnessTest, OneInAMillion) {
  CheckSequence({999999, 1}, 2000);
  // Less than one away also means: the one connection may come early, a second may not.
  EXPECT_LE(servers_.Count(1), 1U);
}
TEST_F(ExactnessTest, OneInAMillionRacing) { CheckRace({1, 999999}, 250); }

TEST_F(ExactnessTest, Thirds) { CheckSequence({1, 1, 1}, 1000); }
TEST_F(ExactnessTest, ThirdsRacing) { CheckRace({1, 1, 1}, 250); }

TEST_F(ExactnessTest, SixteenVariantsOfRandomWeights) {
  for (const uint32_t seed : {1, 2, 3}) {
    SCOPED_TRACE(seed);
    CheckSequence(RandomWeights(seed), 1500);
  }
}
TEST_F(ExactnessTest, SixteenVariantsOfRandomWeightsRacing) {
  CheckRace(RandomWeights(4), 250);
  CheckRace(RandomWeights(5), 250);
}
TEST_F(ExactnessTest, SixteenVariantsOfWhichSomeAreRare) {
  std::vector<uint32_t> weights(16, 1);
  weights[3] = 1000000;
  weights[15] = 500000;
  CheckSequence(weights, 1000);
}

TEST_F(ExactnessTest, ManyWeightsInARow) {
  for (uint32_t canary = 0; canary <= 100; canary += 5) {
    SCOPED_TRACE(canary);
    CheckSequence({100 - canary, canary}, 60);
  }
}

TEST_F(ExactnessTest, VariantOfWeightZeroGetsNothing) {
  CheckSequence({100, 0}, 300);
  EXPECT_EQ(servers_.Count(1), 0U);
  CheckSequence({0, 3, 0, 1}, 300);
  EXPECT_EQ(servers_.Count(0), 0U);
  EXPECT_EQ(servers_.Count(2), 0U);
}

TEST_F(ExactnessTest, EndpointsOfAVariantTakeTurns) {
  Frontend frontend = MakeFrontend(vip_, {75, 25});
  for (int v = 0; v < 2; ++v) {
    for (int i = 0; i < 3; ++i) {
      frontend.variants[v].endpoints.push_back(Endpoint(v, i));
      servers_.AddTcp(Endpoint(v, i), v * 10 + i);
    }
  }
  ASSERT_OK(node_->Apply(frontend));
  const auto seen = node_->Run([&] { return FetchMany(vip_, 400); });
  ASSERT_OK(seen);
  std::vector<int> last(2, -1);
  for (const char id : servers_.Log()) {
    const int variant = id / 10, number = id % 10;
    if (last[variant] >= 0) {
      ASSERT_EQ(number, (last[variant] + 1) % 3) << ShowIds(servers_.Log());
    }
    last[variant] = number;
  }
  EXPECT_EQ(servers_.Count(0) + servers_.Count(1) + servers_.Count(2), 300U);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(servers_.Count(i), 100U) << "no endpoint is left out";
  for (int i = 10; i < 13; ++i) EXPECT_NEAR(servers_.Count(i), 100.0 / 3, 1);
}

TEST_F(ExactnessTest, ChangeOfEndpointsAloneKeepsTheCursor) {
  const std::vector<uint32_t> weights = {70, 30};
  Frontend frontend = Split(weights);
  servers_.AddTcp(Endpoint(0, 1), 0);
  servers_.AddTcp(Endpoint(1, 1), 1);
  ASSERT_OK(node_->Apply(frontend));
  // Three connections between changes: if the cursor began anew each time, the canary's share would be wrong.
  for (int round = 0; round < 100; ++round) {
    frontend.variants[0].endpoints = {Endpoint(0, round % 2)};
    frontend.variants[1].endpoints = {Endpoint(1, 0), Endpoint(1, 1)};
    if (round % 3 == 0) frontend.variants[1].endpoints.pop_back();
    ASSERT_OK(node_->Apply(frontend));
    ASSERT_OK(node_->Run([&] { return FetchMany(vip_, 3); }));
  }
  EXPECT_EQ(servers_.Total(), 300U);
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), weights, variant_of_));
}

TEST_F(ExactnessTest, CountsOfTheKernelAreThoseOfTheServers) {
  CheckSequence({7, 2, 1}, 500);
  const auto counts = node_->datapath().ReadCounts();
  ASSERT_OK(counts);
  ASSERT_EQ(counts->size(), 1U);
  EXPECT_EQ((*counts)[0].key.address, vip_);
  ASSERT_EQ((*counts)[0].variants.size(), 3U);
  for (int v = 0; v < 3; ++v) {
    EXPECT_EQ((*counts)[0].variants[v].revision, "v" + std::to_string(v));
    EXPECT_EQ((*counts)[0].variants[v].connections, servers_.Count(v));
  }
  CheckSequence({80, 20}, 137);
  const auto pair = node_->datapath().ReadCounts();
  ASSERT_OK(pair);
  EXPECT_EQ((*pair)[0].variants[0].connections, servers_.Count(0));
  EXPECT_EQ((*pair)[0].variants[1].connections, servers_.Count(1));
}

TEST_F(ExactnessTest, IPv6) {
  const SocketAddress vip = Address("fd00::9600:1", 80);
  const std::vector<SocketAddress> endpoints = {Address("fd00::1:1", 8080), Address("fd00::1:2", 8080)};
  servers_.AddTcp(endpoints[0], 0);
  servers_.AddTcp(endpoints[1], 1);
  ASSERT_OK(node_->Apply(MakeFrontend(vip, {80, 20}, {{endpoints[0]}, {endpoints[1]}})));
  ASSERT_OK(node_->Run([&] { return FetchMany(vip, 500); }));
  EXPECT_EQ(servers_.Total(), 500U);
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {80, 20}, {0, 1}));
}

TEST_F(ExactnessTest, Udp) {
  for (int v = 0; v < 2; ++v) servers_.AddUdp(Endpoint(v, 0), v);
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {80, 20}, {{Endpoint(0, 0)}, {Endpoint(1, 0)}}, Protocol::kUdp)));
  ASSERT_OK(node_->Run([&]() -> Result<std::string> {
    for (int i = 0; i < 500; ++i) RETURN_IF_ERROR(FetchUdp(vip_).status());
    return std::string();
  }));
  EXPECT_EQ(servers_.Total(), 500U);
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {80, 20}, {0, 1}));
}

TEST_F(ExactnessTest, ManyServicesAreExactEachForItself) {
  std::vector<Frontend> frontends;
  for (int s = 0; s < 20; ++s) {
    Frontend frontend = Split({80, 20});
    frontend.key.address = Address(fmt::format("127.96.1.{}", s + 1), 80);
    frontends.push_back(frontend);
  }
  ASSERT_OK(node_->Apply(frontends));
  // Taken in turns: with one cursor for all, some service would get its canary always, some never.
  const auto seen = node_->Run([&]() -> Result<std::string> {
    std::string ids;
    for (int i = 0; i < 50; ++i) {
      for (const auto& frontend : frontends) {
        ASSIGN_OR_RETURN(const uint8_t id, Fetch(frontend.key.address));
        ids.push_back(static_cast<char>(id));
      }
    }
    return ids;
  });
  ASSERT_OK(seen);
  EXPECT_EQ(servers_.Log(), *seen);
  for (size_t s = 0; s < frontends.size(); ++s) {
    std::string ids;
    for (size_t i = s; i < seen->size(); i += frontends.size()) ids.push_back((*seen)[i]);
    EXPECT_TRUE(IsExactAtEveryPrefix(ids, {80, 20}, variant_of_)) << "service " << s;
  }
}

}  // namespace
}  // namespace weir::kernel_test
