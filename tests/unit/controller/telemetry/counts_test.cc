#include "controller/telemetry/counts.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/unit/controller/telemetry/node_counts.h"

namespace weir::telemetry {
namespace {

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();

TEST(HistogramTest, BoundsAreFourPerDoubling) {
  EXPECT_DOUBLE_EQ(UpperBound(0), std::ldexp(1.0, -20));
  EXPECT_DOUBLE_EQ(UpperBound(4), std::ldexp(1.0, -19));
  EXPECT_DOUBLE_EQ(UpperBound(80), 1.0);
  EXPECT_DOUBLE_EQ(UpperBound(81), std::exp2(0.25));
  EXPECT_DOUBLE_EQ(UpperBound(108), 128.0);
  EXPECT_TRUE(std::isinf(UpperBound(109)));
}

TEST(HistogramTest, QuantilesAreLinearWithinABucket) {
  Histogram histogram;
  EXPECT_EQ(histogram.Quantile(0.5), -1);
  histogram.counts[80] = 10;  // (2^(-1/4), 1] s
  EXPECT_DOUBLE_EQ(histogram.Quantile(1), 1.0);
  EXPECT_DOUBLE_EQ(histogram.Quantile(0.5), (UpperBound(79) + 1.0) / 2);
  histogram.counts[40] = 90;
  EXPECT_LT(histogram.Quantile(0.9), UpperBound(40) + 1e-9);
  EXPECT_GT(histogram.Quantile(0.91), UpperBound(79));
  histogram.counts[109] = 1000;  // above all
  EXPECT_DOUBLE_EQ(histogram.Quantile(0.99), 128.0);
}

TEST(HistogramTest, BucketsBeyondTheLastAreLeftOut) {
  v1::Histogram message;
  message.set_first(108);
  for (uint64_t count : {1, 2, 3}) message.add_counts(count);
  Histogram histogram;
  histogram.Add(message);
  EXPECT_EQ(histogram.Count(), 3);
  message.set_first(std::numeric_limits<uint32_t>::max());
  histogram.Add(message);
  EXPECT_EQ(histogram.Count(), 3);
}

TEST(CountsTest, ReasonsAndCodesAreAddedUp) {
  NodeCounts node("a");
  node.Serve("v1", 10, 3);
  node.Fail("v1", "refused", 2);
  node.Fail("v1", "timeout", 5);
  (*node.Of("v1").mutable_http()->mutable_opaque())["pipelined"] = 4;
  const Counts counts = FromMessage(node.Of("v1"));
  EXPECT_EQ(counts[Counter::kOpened], 10);
  EXPECT_EQ(counts[Counter::kFailed], 7);
  EXPECT_EQ(counts[Counter::kResponses], 10);
  EXPECT_EQ(counts[Counter::kServerErrors], 3);
  EXPECT_EQ(counts[Counter::kOpaque], 4);
  EXPECT_EQ(counts.latency.counts[40], 10);
  EXPECT_EQ(counts.latency.Count(), counts[Counter::kResponses]);
}

TEST(CountsTest, PackingLosesNothing) {
  Counts counts;
  EXPECT_EQ(Unpack(Pack(counts)), counts);
  EXPECT_LT(Pack(counts).size(), 32);
  for (size_t i = 0; i < kCounters; ++i) counts.counters[i] = kMost >> (3 * i);
  counts.connect.counts[0] = 1;
  counts.connect.counts[109] = kMost;
  counts.connect.sum_ns = kMost;
  counts.latency.counts[57] = 128;
  EXPECT_EQ(Unpack(Pack(counts)), counts);
}

TEST(CountsTest, CountersWrap) {
  Counts before, now;
  before[Counter::kBytesSent] = kMost - 4;
  now[Counter::kBytesSent] = 5;
  const auto difference = Difference(before, now);
  ASSERT_TRUE(difference);
  EXPECT_EQ((*difference)[Counter::kBytesSent], 10);
}

TEST(CountsTest, OneCounterThatWentBackTellsAnOldReport) {
  Counts before, now;
  before[Counter::kOpened] = 5;
  now[Counter::kOpened] = 6;
  now.latency.counts[3] = 1;
  EXPECT_TRUE(Difference(before, now));
  before.latency.counts[4] = 1;
  EXPECT_FALSE(Difference(before, now));
}

}  // namespace
}  // namespace weir::telemetry
