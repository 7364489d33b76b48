#include "agent/datapath/range_allocator.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace weir::datapath {
namespace {

TEST(RangeAllocatorTest, AllIsHandedOutOnceAndMergesBack) {
  RangeAllocator ranges(10, 20);
  EXPECT_EQ(ranges.capacity(), 10U);
  const uint32_t a = ranges.Allocate(4).value();
  const uint32_t b = ranges.Allocate(6).value();
  EXPECT_FALSE(ranges.Allocate(1).has_value());
  EXPECT_EQ(ranges.used(), 10U);
  ranges.Free(a, 4);
  EXPECT_FALSE(ranges.Allocate(5).has_value());
  ranges.Free(b, 6);
  EXPECT_EQ(ranges.Allocate(10), 10U);
}

TEST(RangeAllocatorTest, ReserveTakesWhatIsFreeOnly) {
  RangeAllocator ranges(0, 100);
  EXPECT_TRUE(ranges.Reserve(20, 10));
  EXPECT_FALSE(ranges.Reserve(29, 2));
  EXPECT_FALSE(ranges.Reserve(95, 6));
  EXPECT_FALSE(ranges.Reserve(4'000'000'000U, 1));
  EXPECT_TRUE(ranges.Reserve(30, 70));
  EXPECT_EQ(ranges.used(), 80U);
  EXPECT_EQ(ranges.Allocate(20), 0U);
}

TEST(RangeAllocatorTest, RandomUseNeverOverlapsNorLeaks) {
  constexpr uint32_t kSize = 1000;
  std::mt19937 random(7);
  RangeAllocator ranges(0, kSize);
  std::vector<bool> taken(kSize);
  std::vector<std::pair<uint32_t, uint32_t>> held;
  for (int round = 0; round < 20'000; ++round) {
    if (random() % 2 == 0) {
      const uint32_t count = 1 + static_cast<uint32_t>(random() % 40);
      const auto first = ranges.Allocate(count);
      if (!first) continue;
      for (uint32_t i = *first; i < *first + count; ++i) {
        ASSERT_FALSE(taken.at(i));
        taken[i] = true;
      }
      held.emplace_back(*first, count);
    } else if (!held.empty()) {
      std::swap(held[random() % held.size()], held.back());
      const auto [first, count] = held.back();
      held.pop_back();
      for (uint32_t i = first; i < first + count; ++i) taken[i] = false;
      ranges.Free(first, count);
    }
  }
  for (const auto& [first, count] : held) ranges.Free(first, count);
  EXPECT_EQ(ranges.used(), 0U);
  EXPECT_EQ(ranges.Allocate(kSize), 0U);
}

TEST(RangeAllocatorDeathTest, FreeingTwiceIsABrokenInvariant) {
  RangeAllocator ranges(0, 10);
  const uint32_t first = ranges.Allocate(5).value();
  ranges.Free(first, 5);
  EXPECT_DEATH(ranges.Free(first, 5), "");
}

}  // namespace
}  // namespace weir::datapath
