#include "common/backoff.h"

#include <algorithm>
#include <memory>
#include <random>

namespace weir {

RandomSource SystemRandom() {
  auto engine = std::make_shared<std::mt19937_64>(std::random_device{}());
  return [engine] { return std::uniform_real_distribution<double>(0.0, 1.0)(*engine); };
}

Backoff::Backoff(const Options& options, RandomSource random)
    : options_(options),
      random_(std::move(random)),
      bound_ms_(static_cast<double>(options.initial.count())) {}

std::chrono::milliseconds Backoff::Next() {
  const double bound = std::min(bound_ms_, static_cast<double>(options_.max.count()));
  bound_ms_ = std::min(bound * options_.factor, static_cast<double>(options_.max.count()));
  ++attempts_;
  return std::chrono::milliseconds(static_cast<int64_t>(random_() * bound));
}

void Backoff::Reset() {
  bound_ms_ = static_cast<double>(options_.initial.count());
  attempts_ = 0;
}

}  // namespace weir
