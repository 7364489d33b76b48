// The last minute of one revision of one service, second by second.
//
// Pure; one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "controller/telemetry/counts.h"

namespace weir::telemetry {

/// Seconds of the monotonic clock, counted from its epoch: the window [second, second + 1 s).
using Second = int64_t;

class Ring {
 public:
  static constexpr Second kSeconds = 60;

  /// Lays `counts` evenly over the seconds `first` to `last`; what does not divide goes to the latest ones.
  /// The part that is older than the ring reaches back from `last` is left out. `last` never goes back by
  /// more than kSeconds.
  void Add(const Counts& counts, Second first, Second last);
  /// Adds to `sum` what lies within seconds `first` to `last`; false when nothing does.
  bool Sum(Second first, Second last, Counts& sum) const;
  /// Gives its memory back when nothing in it is younger than kSeconds.
  void Age(Second now);
  bool empty() const { return slots_.empty(); }
  /// The newest second with counts; 0 while empty.
  Second newest() const { return newest_; }
  size_t bytes() const;

 private:
  /// A run of buckets: few of the 110 are in use within one second.
  struct Run {
    uint64_t sum_ns = 0;
    size_t first = 0;
    std::vector<uint32_t> counts;
    void Set(size_t bucket, uint64_t more);
  };
  struct Slot {
    Second second = -1;
    std::array<uint64_t, kCounters> counters{};
    Run connect, latency;
  };
  static constexpr size_t kSlots = 64;

  Slot& At(Second second);
  static void AddPart(const Counts& counts, uint64_t part, uint64_t parts, Slot& slot);
  static void AddPart(const Histogram& histogram, uint64_t part, uint64_t parts, Run& run);

  std::vector<Slot> slots_;  // none, or kSlots; the one of a second is at second % kSlots
  Second newest_ = 0;
};

}  // namespace weir::telemetry
