// Exactness of bpf/lib/select.h: after every connection, for every variant, off by less than one.
#include "bpf/lib/select.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/bpf/split_model.h"

namespace weir::testing {
namespace {

std::string Text(const std::vector<uint32_t>& weights, uint32_t phase) {
  std::string text = "weights";
  for (const uint32_t weight : weights) text += " " + std::to_string(weight);
  return text + " phase " + std::to_string(phase);
}

void ExpectExact(const std::vector<uint32_t>& weights, uint32_t phase, int connections) {
  SplitModel model(weights, phase);
  std::vector<uint64_t> numbers(weights.size());
  for (int n = 1; n <= connections; ++n) {
    const uint32_t variant = model.Next();
    ASSERT_EQ(model.number(), numbers[variant]++) << Text(weights, phase) << " after " << n;
    ASSERT_TRUE(model.IsExact()) << Text(weights, phase) << " after " << n;
  }
}

TEST(SelectTest, NamedSplitsAtManyPhases) {
  const std::vector<std::vector<uint32_t>> splits = {
      {1},       {4, 1},    {1, 4},          {999'999, 1},      {1, 999'999}, {1, 1},
      {1, 1, 1}, {5, 3, 2}, {1, 1, 999'998}, {1'000'000, 1, 1}, {98, 1, 1},   {1, 2, 4, 8, 16, 32, 64, 128},
  };
  for (const auto& weights : splits) {
    for (uint32_t phase = 0; phase < 64; ++phase) ExpectExact(weights, phase << 26, 3000);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(SelectTest, WholePeriodOfSmallSplits) {
  // Every split of 3 and 4 variants with weights 1..7, over two periods and at every first pick.
  for (uint32_t a = 1; a <= 7; ++a) {
    for (uint32_t b = 1; b <= 7; ++b) {
      for (uint32_t c = 1; c <= 7; ++c) {
        for (uint32_t d = 0; d <= 7; ++d) {
          std::vector<uint32_t> weights = {a, b, c};
          if (d > 0) weights.push_back(d);
          const uint32_t total = a + b + c + d;
          for (uint32_t first = 0; first < total; ++first) {
            ExpectExact(weights, static_cast<uint32_t>((uint64_t{first} << 32) / total) + 1,
                        static_cast<int>(2 * total));
            ASSERT_FALSE(::testing::Test::HasFailure());
          }
        }
      }
    }
  }
}

TEST(SelectTest, SixteenRandomWeights) {
  std::mt19937 random(20260901);
  for (int round = 0; round < 200; ++round) {
    const size_t variants = 3 + random() % 14;
    std::vector<uint32_t> weights;
    for (size_t i = 0; i < variants; ++i) {
      const uint32_t most = round % 3 == 0 ? 10 : round % 3 == 1 ? 1000 : WEIR_MAX_WEIGHT;
      weights.push_back(1 + static_cast<uint32_t>(random() % most));
    }
    ExpectExact(weights, random(), 5000);
    ASSERT_FALSE(::testing::Test::HasFailure());
  }
}

TEST(SelectTest, OneInAMillionComesExactlyOncePerPeriod) {
  SplitModel model({999'999, 1}, 0x40000000);
  for (int n = 0; n < 3'000'000; ++n) model.Next();
  EXPECT_EQ(model.count(1), 3U);
}

TEST(SelectTest, PairDoesNotOverflow) {
  // Near 2^64 connections the number of the second variant still grows by one at a time.
  const uint64_t n = ~0ULL - 10'000;
  const uint64_t w = 1'000'000, total = 1'999'999, offset = 1'999'998;
  for (uint64_t i = 0; i < 9'999; ++i) {
    const uint64_t step =
        weir_second_count(n + i + 1, w, total, offset) - weir_second_count(n + i, w, total, offset);
    ASSERT_LE(step, 1U);
  }
  const auto exact = static_cast<uint64_t>((static_cast<unsigned __int128>(n) * w + offset) / total);
  EXPECT_EQ(weir_second_count(n, w, total, offset), exact);
}

TEST(SelectTest, FirstConnectionsOverNodesFollowThePhase) {
  // Evenly spread phases divide the nodes' first connections like the weights, with any number of variants.
  for (const std::vector<uint32_t>& weights :
       {std::vector<uint32_t>{80, 20}, {50, 30, 20}, {10, 20, 30, 40}}) {
    std::vector<int> firsts(weights.size());
    for (uint32_t node = 0; node < 1000; ++node) {
      SplitModel model(weights, static_cast<uint32_t>((uint64_t{node} << 32) / 1000));
      ++firsts[model.Next()];
    }
    for (size_t i = 0; i < weights.size(); ++i) EXPECT_NEAR(firsts[i], 10.0 * weights[i], 1.0) << i;
  }
}

}  // namespace
}  // namespace weir::testing
