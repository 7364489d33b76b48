// When counts are worth sending: at once while they change, seldom while they do not. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "agent/datapath/datapath.h"
#include "common/clock.h"

namespace weir::stream {

class TelemetryPacer {
 public:
  /// `idle`: between two reports that say the same.
  explicit TelemetryPacer(std::chrono::milliseconds idle) : idle_(idle) {}

  /// Asked once per interval; true when these counts are to be sent now (and are then taken as sent).
  bool ShouldSend(const std::vector<datapath::SplitCount>& counts, MonotonicTime now);
  /// A new stream knows nothing yet.
  void Reset() { sent_at_.reset(); }

 private:
  std::chrono::milliseconds idle_;
  std::optional<MonotonicTime> sent_at_;
  uint64_t sent_hash_ = 0;
};

}  // namespace weir::stream
