#include "controller/telemetry/ring.h"

#include <gtest/gtest.h>

namespace weir::telemetry {
namespace {

Counts Requests(uint64_t count, size_t bucket = 40) {
  Counts counts;
  counts[Counter::kRequests] = count;
  counts.latency.counts[bucket] = count;
  counts.latency.sum_ns = 1000 * count;
  return counts;
}

uint64_t RequestsIn(const Ring& ring, Second first, Second last) {
  Counts sum;
  ring.Sum(first, last, sum);
  EXPECT_EQ(sum.latency.Count(), sum[Counter::kRequests]);
  return sum[Counter::kRequests];
}

TEST(RingTest, SpreadsEvenlyAndLosesNothing) {
  Ring ring;
  ring.Add(Requests(17), 101, 105);
  EXPECT_EQ(RequestsIn(ring, 101, 101), 3);
  EXPECT_EQ(RequestsIn(ring, 103, 103), 3);
  EXPECT_EQ(RequestsIn(ring, 104, 104), 4) << "what does not divide goes to the latest";
  EXPECT_EQ(RequestsIn(ring, 105, 105), 4);
  EXPECT_EQ(RequestsIn(ring, 0, 1000), 17);
}

TEST(RingTest, NodesAddUpWithinASecond) {
  Ring ring;
  ring.Add(Requests(3, 50), 100, 100);
  ring.Add(Requests(2, 20), 100, 100);  // the run of buckets grows downwards
  Counts sum;
  ASSERT_TRUE(ring.Sum(100, 100, sum));
  EXPECT_EQ(sum.latency.counts[50], 3);
  EXPECT_EQ(sum.latency.counts[20], 2);
  EXPECT_EQ(sum.latency.sum_ns, 5000);
}

TEST(RingTest, WhatIsOlderThanTheRingIsLeftOutAndTheRestStaysARate) {
  Ring ring;
  ring.Add(Requests(3000), 1001, 1300);  // 300 s: 10 a second
  EXPECT_EQ(RequestsIn(ring, 1300, 1300), 10);
  EXPECT_EQ(RequestsIn(ring, 0, 2000), 600);
}

TEST(RingTest, OldSecondsGiveWay) {
  Ring ring;
  for (Second second = 1; second <= 200; ++second) ring.Add(Requests(1), second, second);
  EXPECT_EQ(RequestsIn(ring, 0, 1000), 60);
  EXPECT_EQ(RequestsIn(ring, 140, 140), 0);
  EXPECT_EQ(RequestsIn(ring, 141, 141), 1);
  ring.Add(Requests(5), 130, 130);
  EXPECT_EQ(RequestsIn(ring, 0, 1000), 60) << "and do not come back";
}

TEST(RingTest, GivesMemoryBack) {
  Ring ring;
  EXPECT_EQ(ring.bytes(), 0);
  ring.Add(Requests(1), 100, 100);
  EXPECT_LT(ring.bytes(), 25'000);
  ring.Age(159);
  EXPECT_EQ(RequestsIn(ring, 100, 100), 1);
  ring.Age(160);
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(ring.bytes(), 0);
}

}  // namespace
}  // namespace weir::telemetry
