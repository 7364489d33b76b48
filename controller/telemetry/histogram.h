// Durations in the buckets of weir.v1.Histogram: four per doubling, 2^-20 s to 128 s.
//
// Pure; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "weir/v1/types.pb.h"

namespace weir::telemetry {

struct Histogram {
  static constexpr size_t kBuckets = 110;

  uint64_t sum_ns = 0;
  std::array<uint64_t, kBuckets> counts{};

  bool operator==(const Histogram&) const = default;

  uint64_t Count() const;
  /// Bucket by bucket, modulo 2^64, as counters wrap.
  void Add(const Histogram& other);
  /// Adds a message's; counts beyond the last bucket, which no agent has, are left out.
  void Add(const v1::Histogram& message);

  /// The duration in seconds that a share `quantile` (0..1) of all lies at or below; linear within a bucket,
  /// as PromQL's histogram_quantile, so that the error is less than a bucket's width (19 %). -1 for none at
  /// all. What is above the last bound counts as 128 s.
  double Quantile(double quantile) const;
};

/// The upper bound of bucket `index`, in seconds; infinite for the last.
double UpperBound(size_t index);

}  // namespace weir::telemetry
