// Classic buckets from the kernel's exponential ones. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "agent/datapath/datapath.h"
#include "common/exposition.h"

namespace weir::metrics {

/// Translates datapath::Histogram to cumulative counts at given bounds.
///
/// A bound that is one of the kernel's (2^(i/4) * 2^-20 s: every power of two is) gets the exact count. Any
/// other lies inside one of the kernel's buckets, whose observations are taken to be spread evenly over its
/// logarithm: the count is off by at most what that one bucket holds (it is 19% wide), never below the count
/// at the bucket's lower edge and never above the one at its upper. Rounded down, it never descends from
/// bound to bound, nor with time.
class Buckets {
 public:
  /// `bounds`: ascending, each above 0 and at most 128 s, in units of `unit` seconds (0.001: milliseconds).
  explicit Buckets(std::vector<double> bounds, double unit = 1);

  const HistogramBounds& bounds() const { return bounds_; }
  double unit() const { return unit_; }
  /// One count per bound into `cumulative`; returns the count of all.
  uint64_t Read(const datapath::Histogram& histogram, std::vector<uint64_t>& cumulative) const;
  /// Writes one histogram.
  void Write(ExpositionWriter& writer, std::string_view labels, const datapath::Histogram& histogram) const;

 private:
  struct Place {
    size_t bucket;    // of the kernel's, in which the bound lies
    double fraction;  // of it that lies at or below the bound: (0, 1]
  };
  HistogramBounds bounds_;
  std::vector<Place> places_;
  double unit_;
};

}  // namespace weir::metrics
