#include "agent/datapath/phase.h"

#include <gtest/gtest.h>

#include <cmath>

#include "agent/datapath/split_plan.h"
#include "tests/unit/bpf/split_model.h"

namespace weir::datapath {
namespace {

TEST(PhaseTest, VanDerCorputHalvesAndHalves) {
  EXPECT_EQ(VanDerCorput(0), 0U);
  EXPECT_EQ(VanDerCorput(1), 0x80000000U);
  EXPECT_EQ(VanDerCorput(2), 0x40000000U);
  EXPECT_EQ(VanDerCorput(3), 0xc0000000U);
  EXPECT_EQ(VanDerCorput(4), 0x20000000U);
}

/// The cluster's canary count after each of `rounds` rounds of one connection per node, at most this far off.
/// The discrepancy of N points of the sequence over an interval that may wrap is at most 2 (log2(N) / 3 + 1).
double WorstClusterError(uint32_t nodes, uint32_t stable, uint32_t canary, int rounds, uint16_t port) {
  const FrontendKey frontend = {{*IpAddress::Parse("127.96.0.1"), port}, Protocol::kTcp};
  std::vector<weir::testing::SplitModel> models;
  for (uint32_t node = 0; node < nodes; ++node) {
    models.emplace_back(std::vector<uint32_t>{stable, canary}, Phase(node, frontend));
  }
  double worst = 0;
  uint64_t canaries = 0;
  for (int round = 1; round <= rounds; ++round) {
    for (auto& model : models) canaries += model.Next();
    const double wanted = static_cast<double>(round) * nodes * canary / (stable + canary);
    worst = std::max(worst, std::abs(static_cast<double>(canaries) - wanted));
  }
  return worst;
}

TEST(PhaseTest, ManyNodesWithFewConnectionsSplitExactly) {
  for (const uint32_t nodes : {2U, 3U, 64U, 100U, 1000U}) {
    for (uint16_t port = 1; port <= 20; ++port) {
      for (const uint32_t canary : {1U, 5U, 20U, 37U, 50U}) {
        EXPECT_LE(WorstClusterError(nodes, 100 - canary, canary, 10, port), 2 * (std::log2(nodes) / 3 + 1))
            << nodes << " nodes, " << canary << " % on port " << port;
      }
    }
  }
}

TEST(PhaseTest, OneNodeIsNotFirstForEveryFrontend) {
  int first_canaries = 0;
  for (uint16_t port = 1; port <= 1000; ++port) {
    const FrontendKey frontend = {{*IpAddress::Parse("127.96.0.1"), port}, Protocol::kTcp};
    weir::testing::SplitModel model({80, 20}, Phase(0, frontend));
    first_canaries += static_cast<int>(model.Next());
  }
  EXPECT_GT(first_canaries, 120);
  EXPECT_LT(first_canaries, 280);
}

}  // namespace
}  // namespace weir::datapath
