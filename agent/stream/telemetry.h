// What of the counts is worth sending, and when. Pure; one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/datapath/datapath.h"
#include "common/clock.h"

namespace weir::stream {

/// The counts of the splits: at once while they change, seldom while they do not.
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

struct SeriesKey {
  std::string ns, service, revision;
  auto operator<=>(const SeriesKey&) const = default;
};

/// The figures of the revisions: those that changed, at every interval for a service whose split is at work,
/// each `idle` for the others; all of them at the start of a stream. What is asked for must then be sent, or
/// Reset() called.
class SeriesPacer {
 public:
  /// Whether a service's figures are wanted at every interval.
  using AtWork = std::function<bool(std::string_view ns, std::string_view service)>;

  explicit SeriesPacer(std::chrono::milliseconds idle) : idle_(idle) {}

  /// Whether figures need be read now at all; `any_at_work`: some service is.
  bool ShouldRead(bool any_at_work, MonotonicTime now) const { return any_at_work || RoundIsDue(now); }

  struct Changed {
    const datapath::Series* series;   // into the figures
    std::chrono::nanoseconds covers;  // since it was looked at before; 0: the stream or the epoch is new
  };
  struct Report {
    std::vector<Changed> changed;      // those that cover the longest time first
    std::vector<SeriesKey> forgotten;  // were sent, and are no more
    bool empty() const { return changed.empty() && forgotten.empty(); }
  };
  /// What is to be said of these figures now. Another epoch than the last time: everything, and nothing is
  /// forgotten, as the epoch says it.
  Report Next(const datapath::Figures& figures, const AtWork& at_work, MonotonicTime now);

  /// A new stream knows nothing yet.
  void Reset();

 private:
  struct Sent {
    uint64_t hash = 0;
    uint64_t seen = 0;  // the last call of Next() whose figures had it
    MonotonicTime looked_at;
  };
  bool RoundIsDue(MonotonicTime now) const { return !round_at_ || now - *round_at_ >= idle_; }

  std::chrono::milliseconds idle_;
  std::optional<MonotonicTime> round_at_;   // when last everything that had changed was told
  std::optional<MonotonicTime> looked_at_;  // the last call of Next()
  std::string epoch_;
  std::map<SeriesKey, Sent> sent_;
  uint64_t calls_ = 0;
};

}  // namespace weir::stream
