// How long to wait before trying again: exponential with full jitter, so that many clients that lost the same
// server do not come back at the same moment.
#pragma once

#include <chrono>
#include <functional>

namespace weir {

/// Returns a number in [0, 1).
using RandomSource = std::function<double()>;

/// A RandomSource seeded from the system's entropy. Each returned source belongs to one thread.
RandomSource SystemRandom();

/// Not thread-safe.
class Backoff {
 public:
  struct Options {
    std::chrono::milliseconds initial{100};  // bound of the first delay
    std::chrono::milliseconds max{5000};     // bound of every delay
    double factor = 2.0;                     // growth of the bound, >= 1
  };

  Backoff(const Options& options, RandomSource random);

  /// Uniform in [0, bound); then the bound grows by `factor` up to `max`.
  std::chrono::milliseconds Next();
  /// Call after a success: the next delay is bounded by `initial` again.
  void Reset();
  /// Calls of Next() since the last Reset().
  int attempts() const { return attempts_; }

 private:
  Options options_;
  RandomSource random_;
  double bound_ms_;
  int attempts_ = 0;
};

}  // namespace weir
