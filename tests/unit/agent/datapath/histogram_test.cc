#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "agent/datapath/datapath.h"

namespace weir::datapath {
namespace {

TEST(BucketCounts, KeepsFromTheFirstToTheLastThatCounts) {
  std::array<uint64_t, BucketCounts::kSize> all{};
  BucketCounts counts;
  counts.Assign(all);
  EXPECT_TRUE(counts.kept().empty());
  all[7] = 1;
  all[9] = 3;
  counts.Assign(all);
  EXPECT_EQ(counts.first(), 7u);
  EXPECT_EQ(counts.kept().size(), 3u);
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(std::as_const(counts)[i], all[i]) << i;
  all = {};
  all[0] = 1;
  all[109] = 2;
  counts.Assign(all);
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(std::as_const(counts)[i], all[i]) << i;
}

TEST(BucketCounts, MakesRoomOnBothSides) {
  BucketCounts counts;
  counts[50] += 1;
  counts[109] += 2;
  counts[0] += 3;
  for (size_t i = 0; i < BucketCounts::kSize; ++i) {
    EXPECT_EQ(std::as_const(counts)[i], i == 50 ? 1u : i == 109 ? 2u : i == 0 ? 3u : 0u) << i;
  }
}

TEST(BucketCounts, EqualIsWhatIsCounted) {
  BucketCounts one, other;
  EXPECT_EQ(one, other);
  one[3] = 4;
  other[2] = 0;
  EXPECT_NE(one, other);
  other[3] = 4;
  other[90] = 0;
  EXPECT_EQ(one, other);
  other[90] = 1;
  EXPECT_NE(one, other);
}

TEST(Histogram, BoundsAreFourPerDoublingUpTo128Seconds) {
  EXPECT_EQ(Histogram::UpperBound(0), 1.0 / (1 << 20));
  EXPECT_EQ(Histogram::UpperBound(80), 1.0);
  EXPECT_EQ(Histogram::UpperBound(108), 128.0);
  EXPECT_EQ(Histogram::UpperBound(109), std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace weir::datapath
