#include "controller/telemetry/histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace weir::telemetry {

uint64_t Histogram::Count() const { return std::accumulate(counts.begin(), counts.end(), uint64_t{0}); }

void Histogram::Add(const Histogram& other) {
  sum_ns += other.sum_ns;
  for (size_t i = 0; i < kBuckets; ++i) counts[i] += other.counts[i];
}

void Histogram::Add(const v1::Histogram& message) {
  sum_ns += message.sum_ns();
  size_t bucket = message.first();
  for (const uint64_t count : message.counts()) {
    if (bucket >= kBuckets) return;
    counts[bucket++] += count;
  }
}

double Histogram::Quantile(double quantile) const {
  const uint64_t total = Count();
  if (total == 0) return -1;
  const double rank = std::clamp(quantile, 0.0, 1.0) * static_cast<double>(total);
  double below = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    const auto count = static_cast<double>(counts[i]);
    if (count > 0 && below + count >= rank) {
      const double lower = i == 0 ? 0 : UpperBound(i - 1);
      if (i + 1 == kBuckets) return lower;
      return lower + (UpperBound(i) - lower) * (rank - below) / count;
    }
    below += count;
  }
  return UpperBound(kBuckets - 2);
}

double UpperBound(size_t index) {
  if (index + 1 >= Histogram::kBuckets) return std::numeric_limits<double>::infinity();
  return std::ldexp(std::exp2(static_cast<double>(index % 4) / 4), static_cast<int>(index / 4) - 20);
}

}  // namespace weir::telemetry
