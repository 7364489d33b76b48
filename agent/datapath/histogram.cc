// Histogram of datapath.h; the bucket of a duration is chosen in bpf/lib/histogram.h.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "agent/datapath/datapath.h"

namespace weir::datapath {

double Histogram::UpperBound(size_t i) {
  if (i + 1 >= kBuckets) return std::numeric_limits<double>::infinity();
  return std::exp2(static_cast<double>(i) / 4 - 20);
}

uint64_t Histogram::count() const {
  return std::accumulate(buckets.kept().begin(), buckets.kept().end(), uint64_t{0});
}

uint64_t BucketCounts::operator[](size_t bucket) const {
  return bucket < first_ || bucket - first_ >= counts_.size() ? 0 : counts_[bucket - first_];
}

uint64_t& BucketCounts::operator[](size_t bucket) {
  if (counts_.empty()) first_ = bucket;
  if (bucket < first_) {
    counts_.insert(counts_.begin(), first_ - bucket, 0);
    first_ = bucket;
  }
  if (bucket - first_ >= counts_.size()) counts_.resize(bucket - first_ + 1);
  return counts_[bucket - first_];
}

void BucketCounts::Assign(std::span<const uint64_t, kSize> all) {
  const auto counted = [](uint64_t count) { return count != 0; };
  const auto begin = std::find_if(all.begin(), all.end(), counted);
  const auto end = std::find_if(all.rbegin(), std::make_reverse_iterator(begin), counted).base();
  first_ = begin == all.end() ? 0 : static_cast<size_t>(begin - all.begin());
  counts_.assign(begin, end);
}

bool BucketCounts::operator==(const BucketCounts& other) const {
  for (size_t bucket = 0; bucket < kSize; ++bucket) {
    if ((*this)[bucket] != other[bucket]) return false;
  }
  return true;
}

}  // namespace weir::datapath
