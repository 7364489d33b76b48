#include "agent/metrics/buckets.h"

#include <cmath>

namespace weir::metrics {
namespace {

constexpr double kPerDoubling = 4;
constexpr double kFirstExponent = -20;  // bucket 0 ends at 2^-20 s
/// Two bounds closer than this, in buckets, are one and the same: the rounding of log2.
constexpr double kSame = 1e-9;

}  // namespace

Buckets::Buckets(std::vector<double> bounds, double unit) : bounds_(bounds), unit_(unit) {
  for (const double bound : bounds) {
    const double place = (std::log2(bound * unit) - kFirstExponent) * kPerDoubling;  // bucket i: (i-1, i]
    const double bucket = std::max(0.0, std::ceil(place - kSame));
    double fraction = place - (bucket - 1);
    if (bucket == 0) fraction = std::exp2(place / kPerDoubling);  // it begins at 0, not at a power
    if (fraction > 1 - kSame) fraction = 1;
    places_.push_back({static_cast<size_t>(bucket), fraction});
  }
}

uint64_t Buckets::Read(const datapath::Histogram& histogram, std::vector<uint64_t>& cumulative) const {
  cumulative.resize(places_.size());
  uint64_t below = 0;  // in the buckets before the present one
  size_t bucket = 0;
  for (size_t i = 0; i < places_.size(); ++i) {
    const Place& place = places_[i];
    for (; bucket < place.bucket; ++bucket) below += histogram.buckets[bucket];
    const uint64_t within = histogram.buckets[bucket];
    cumulative[i] =
        below +
        (place.fraction == 1 ? within : static_cast<uint64_t>(static_cast<double>(within) * place.fraction));
  }
  for (; bucket < datapath::Histogram::kBuckets; ++bucket) below += histogram.buckets[bucket];
  return below;
}

void Buckets::Write(ExpositionWriter& writer, std::string_view labels,
                    const datapath::Histogram& histogram) const {
  thread_local std::vector<uint64_t> cumulative;
  const uint64_t count = Read(histogram, cumulative);
  writer.AddHistogram(labels, bounds_, cumulative, count,
                      static_cast<double>(histogram.sum_ns) / (1e9 * unit_));
}

}  // namespace weir::metrics
