#include "agent/metrics/buckets.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "agent/metrics/views.h"

namespace weir::metrics {
namespace {

uint64_t UpTo(const datapath::Histogram& histogram, size_t bucket) {
  uint64_t sum = 0;
  for (size_t i = 0; i <= bucket; ++i) sum += histogram.buckets[i];
  return sum;
}

datapath::Histogram Random(std::mt19937& random) {
  datapath::Histogram histogram;
  for (size_t i = 0; i < datapath::Histogram::kBuckets; ++i) histogram.buckets[i] = random() % 1000;
  return histogram;
}

TEST(Buckets, ABoundOfTheKernelsIsExact) {
  std::mt19937 random(1);
  std::vector<double> bounds;
  for (int i = 0; i <= 108; ++i) bounds.push_back(std::exp2(i / 4.0 - 20));
  const Buckets buckets(bounds);
  const datapath::Histogram histogram = Random(random);
  std::vector<uint64_t> cumulative;
  EXPECT_EQ(buckets.Read(histogram, cumulative), UpTo(histogram, 109));
  for (size_t i = 0; i <= 108; ++i) EXPECT_EQ(cumulative[i], UpTo(histogram, i)) << i;
}

TEST(Buckets, ExactBucketsAreExact) {
  std::mt19937 random(2);
  const Buckets buckets = ExactBuckets();
  for (int round = 0; round < 20; ++round) {
    const datapath::Histogram histogram = Random(random);
    std::vector<uint64_t> cumulative;
    buckets.Read(histogram, cumulative);
    for (size_t i = 0; i < cumulative.size(); ++i) {
      EXPECT_EQ(cumulative[i], UpTo(histogram, 4 * (i + 7))) << i;  // 2^-13 s is the end of bucket 28
    }
  }
}

TEST(Buckets, OthersAreOffByOneBucketAtMostAndNeverDescend) {
  std::mt19937 random(3);
  const Buckets views[] = {OtelBuckets(), Buckets({0.0001, 0.5, 1, 5, 10, 60000, 128000}, 0.001)};
  for (const Buckets& buckets : views) {
    datapath::Histogram histogram = Random(random);
    std::vector<uint64_t> cumulative, before;
    for (int round = 0; round < 50; ++round) {
      const uint64_t count = buckets.Read(histogram, cumulative);
      for (size_t i = 0; i < cumulative.size(); ++i) {
        const double place = (std::log2(buckets.bounds()[i] * buckets.unit()) + 20) * 4;
        const auto above = static_cast<size_t>(std::max(0.0, std::ceil(place - 1e-9)));
        EXPECT_LE(cumulative[i], UpTo(histogram, above)) << i;
        EXPECT_GE(cumulative[i], above == 0 ? 0 : UpTo(histogram, above - 1)) << i;
        EXPECT_LE(cumulative[i], count) << i;
        EXPECT_GE(cumulative[i], i == 0 ? 0 : cumulative[i - 1]) << i;
        EXPECT_GE(cumulative[i], round == 0 ? 0 : before[i]) << i;
      }
      before = cumulative;
      for (int more = 0; more < 30; ++more) ++histogram.buckets[random() % 110];
    }
  }
}

TEST(Buckets, CountAndSumAreExact) {
  datapath::Histogram histogram;
  histogram.buckets[0] = 1;
  histogram.buckets[109] = 2;  // above every bound
  histogram.sum_ns = 300'000'000'500;
  ExpositionWriter writer(ExpositionFormat::kText);
  writer.Family("x_milliseconds", prometheus::MetricType::Histogram, "h");
  Buckets({1, 1000}, 0.001).Write(writer, "a=\"b\"", histogram);
  EXPECT_EQ(writer.Finish(), R"(# HELP x_milliseconds h
# TYPE x_milliseconds histogram
x_milliseconds_bucket{a="b",le="1.0"} 1
x_milliseconds_bucket{a="b",le="1000.0"} 1
x_milliseconds_bucket{a="b",le="+Inf"} 3
x_milliseconds_count{a="b"} 3
x_milliseconds_sum{a="b"} 300000.0005
)");
}

}  // namespace
}  // namespace weir::metrics
