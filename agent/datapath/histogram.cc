// Histogram of datapath.h; the bucket of a duration is chosen in bpf/lib/histogram.h.
#include <cmath>
#include <limits>
#include <numeric>

#include "agent/datapath/datapath.h"

namespace weir::datapath {

double Histogram::UpperBound(size_t i) {
  if (i + 1 >= kBuckets) return std::numeric_limits<double>::infinity();
  return std::exp2(static_cast<double>(i) / 4 - 20);
}

uint64_t Histogram::count() const { return std::accumulate(buckets.begin(), buckets.end(), uint64_t{0}); }

}  // namespace weir::datapath
