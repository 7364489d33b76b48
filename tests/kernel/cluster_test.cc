// Many nodes with few connections each still make an exact split of the whole.
#include <atomic>
#include <cmath>
#include <numeric>
#include <thread>

#include "tests/kernel/harness/fixture.h"

namespace weir::kernel_test {
namespace {

class ClusterTest : public KernelTest {
 protected:
  void MakeNodes(int count, const std::vector<uint32_t>& weights) {
    std::vector<std::vector<SocketAddress>> endpoints;
    for (size_t v = 0; v < weights.size(); ++v) {
      endpoints.push_back({Endpoint(static_cast<int>(v))});
      servers_.AddTcp(endpoints.back()[0], v);
    }
    for (int i = 0; i < count; ++i) nodes_.push_back(std::make_unique<TestNode>(8, 64, 64));
    // Loading is the verifier's work, so it goes on all CPUs.
    std::vector<Status> outcomes(count);
    std::atomic<int> next{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < std::thread::hardware_concurrency(); ++t) {
      threads.emplace_back([&] {
        for (int i; (i = next++) < count;) outcomes[i] = nodes_[i]->Open();
      });
    }
    for (auto& thread : threads) thread.join();
    for (int i = 0; i < count; ++i) {
      ASSERT_OK(outcomes[i]);
      nodes_[i]->datapath().SetNodeNumber(i);
      ASSERT_OK(nodes_[i]->Apply(MakeFrontend(vip_, weights, endpoints)));
    }
  }

  /// Every node dials once; the cluster's counts after that.
  std::vector<uint64_t> DialOnceEach(size_t variants) {
    for (auto& node : nodes_) EXPECT_OK(node->Run([&] { return FetchMany(vip_, 1); }));
    std::vector<uint64_t> counts;
    for (size_t v = 0; v < variants; ++v) counts.push_back(servers_.Count(v));
    return counts;
  }

  const SocketAddress vip_ = Address("127.96.0.1", 80);
  Servers servers_;
  std::vector<std::unique_ptr<TestNode>> nodes_;
};

// Any N successive elements of the van der Corput sequence put at most log2(N) + 1 more or fewer of them than
// its share into an interval [0, w/W) (Niederreiter 1992, theorem 3.6, with room to spare).
double Bound(size_t nodes) { return std::log2(static_cast<double>(nodes)) + 1; }

TEST_F(ClusterTest, SixtyFourNodesFewConnectionsEach) {
  const std::vector<uint32_t> weights = {80, 20};
  MakeNodes(64, weights);
  for (int round = 1; round <= 8; ++round) {
    const auto counts = DialOnceEach(2);
    const double n = std::accumulate(counts.begin(), counts.end(), 0.0);
    EXPECT_EQ(n, 64 * round);
    EXPECT_NEAR(counts[1], n * 0.2, Bound(64)) << "after " << round << " connections per node";
  }
}

TEST_F(ClusterTest, TwoNodesFewConnectionsEach) {
  MakeNodes(2, {80, 20});
  for (int round = 1; round <= 20; ++round) {
    const auto counts = DialOnceEach(2);
    EXPECT_EQ(counts[0] + counts[1], 2U * round);
    EXPECT_NEAR(counts[1], 2 * round * 0.2, Bound(2)) << "after " << round << " connections per node";
  }
}

TEST_F(ClusterTest, FirstConnectionsGoToAllOfManyVariants) {
  const std::vector<uint32_t> weights = {50, 25, 15, 10};
  MakeNodes(64, weights);
  const auto counts = DialOnceEach(4);
  // An interval that does not begin at 0 is the difference of two that do.
  for (size_t v = 0; v < weights.size(); ++v)
    EXPECT_NEAR(counts[v], 64 * weights[v] / 100.0, 2 * Bound(64)) << v;
}

TEST_F(ClusterTest, EveryNodeIsExactForItself) {
  MakeNodes(2, {80, 20});
  for (auto& node : nodes_) {
    servers_.Forget();
    ASSERT_OK(node->Run([&] { return FetchMany(vip_, 300); }));
    EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {80, 20}, {0, 1}));
  }
}

TEST_F(ClusterTest, NodesAreIndependent) {
  MakeNodes(2, {100, 0});
  Frontend other = MakeFrontend(vip_, {0, 100}, {{Address("127.1.0.1", 8080)}, {Address("127.1.1.1", 8080)}});
  ASSERT_OK(nodes_[1]->Apply(other));
  const auto first = nodes_[0]->Run([&] { return FetchMany(vip_, 20); });
  const auto second = nodes_[1]->Run([&] { return FetchMany(vip_, 20); });
  ASSERT_OK(first);
  ASSERT_OK(second);
  EXPECT_EQ(*first, std::string(20, 0));
  EXPECT_EQ(*second, std::string(20, 1));
}

}  // namespace
}  // namespace weir::kernel_test
