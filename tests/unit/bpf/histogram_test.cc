// The bucket of a duration against the exact logarithm, and what bpf/lib says of errors.
#include "bpf/lib/histogram.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cmath>
#include <limits>

#include "agent/datapath/datapath.h"
#include "bpf/lib/failure.h"

namespace {

using weir::datapath::Histogram;

using Wide = unsigned __int128;

/// Whether ns <= 2^(i/4) * 2^-20 s, without rounding. To the fourth power: ns^4 * 2^80 <= 10^36 * 2^i, which
/// is ns^4 * 2^44 <= 5^36 * 2^i. Both sides need up to 192 bits; ns^2 and 5^18 need 128 at most, so the
/// squares are compared by halves.
bool AtMost(uint64_t ns, unsigned i) {
  const auto square = [](Wide value) {  // 256 bits: high, low
    const Wide low = static_cast<uint64_t>(value);
    const Wide high = value >> 64;
    const Wide middle = 2 * low * high;  // both below 2^63
    const Wide sum = low * low + (middle << 64);
    return std::pair{high * high + (middle >> 64) + (sum < low * low ? 1 : 0), sum};
  };
  const auto shift = [](std::pair<Wide, Wide> value, unsigned by) {
    if (by == 0) return value;
    return std::pair{value.first << by | value.second >> (128 - by), value.second << by};
  };
  Wide five_18 = 1;
  for (int n = 0; n < 18; ++n) five_18 *= 5;
  return shift(square(static_cast<Wide>(ns) * ns), 44) <= shift(square(five_18), i);
}

TEST(HistogramTest, EveryEdgeIsExact) {
  for (unsigned i = 0; i <= 108; ++i) {
    const auto near = static_cast<uint64_t>(std::exp2(i / 4.0 - 20) * 1e9);
    // The edge itself: the last nanosecond that is within the bound.
    uint64_t edge = near > 4 ? near - 4 : 0;
    while (AtMost(edge + 1, i)) ++edge;
    ASSERT_TRUE(AtMost(edge, i)) << i;
    EXPECT_EQ(weir_bucket_of(edge), i) << edge;
    EXPECT_EQ(weir_bucket_of(edge + 1), i + 1) << edge;
    EXPECT_LE(edge / 1e9, Histogram::UpperBound(i) * (1 + 1e-15)) << i;
    EXPECT_GT((edge + 1) / 1e9, Histogram::UpperBound(i)) << i;
  }
}

TEST(HistogramTest, EveryDurationIsBetweenTheBoundsOfItsBucket) {
  uint64_t ns = 1;
  for (int step = 0; step < 100000; ++step, ns = ns * 1000263 / 1000000 + 1) {
    const unsigned bucket = weir_bucket_of(ns);
    ASSERT_LT(bucket, Histogram::kBuckets);
    if (ns > 128'000'000'000) break;
    ASSERT_TRUE(AtMost(ns, bucket)) << ns;
    ASSERT_FALSE(bucket > 0 && AtMost(ns, bucket - 1)) << ns;
  }
  EXPECT_GT(ns, 100'000'000'000U) << "all of the range was walked";
}

TEST(HistogramTest, TheEndsTakeEverything) {
  EXPECT_EQ(weir_bucket_of(0), 0U);
  EXPECT_EQ(weir_bucket_of(953), 0U);
  EXPECT_EQ(weir_bucket_of(954), 1U);
  EXPECT_EQ(weir_bucket_of(128'000'000'000), 108U);
  EXPECT_EQ(weir_bucket_of(128'000'000'001), 109U);
  EXPECT_EQ(weir_bucket_of(std::numeric_limits<uint64_t>::max()), 109U);
}

TEST(HistogramTest, Bounds) {
  EXPECT_DOUBLE_EQ(Histogram::UpperBound(0), 0x1p-20);
  EXPECT_DOUBLE_EQ(Histogram::UpperBound(80), 1.0);
  EXPECT_DOUBLE_EQ(Histogram::UpperBound(108), 128.0);
  EXPECT_TRUE(std::isinf(Histogram::UpperBound(109)));
  Histogram histogram;
  EXPECT_EQ(histogram.count(), 0U);
  histogram.buckets[0] = 2;
  histogram.buckets[109] = 3;
  EXPECT_EQ(histogram.count(), 5U);
}

TEST(FailureTest, ReasonsOfErrors) {
  EXPECT_EQ(weir_failure_of(0), WEIR_FAIL_CANCELED);
  EXPECT_EQ(weir_failure_of(ECONNREFUSED), WEIR_FAIL_REFUSED);
  EXPECT_EQ(weir_failure_of(ETIMEDOUT), WEIR_FAIL_TIMEOUT);
  EXPECT_EQ(weir_failure_of(ECONNRESET), WEIR_FAIL_RESET);
  EXPECT_EQ(weir_failure_of(EPIPE), WEIR_FAIL_RESET);
  for (const int error : {ENETUNREACH, EHOSTUNREACH, EHOSTDOWN, EACCES}) {
    EXPECT_EQ(weir_failure_of(error), WEIR_FAIL_UNREACHABLE) << error;
  }
  EXPECT_EQ(weir_failure_of(ECONNABORTED), WEIR_FAIL_OTHER);
  EXPECT_EQ(weir_failure_of(EADDRNOTAVAIL), WEIR_FAIL_OTHER);
}

}  // namespace
