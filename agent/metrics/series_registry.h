// Which series are shown, under which labels: what keeps the number of them bounded. Pure; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/datapath/datapath.h"
#include "agent/stream/split_book.h"
#include "agent/stream/telemetry.h"

namespace weir::metrics {

/// "stable", "canary", "backend", "active", "preview", "previous", as the controller and weirctl have it;
/// "none" where no split in force names the revision.
std::string_view VariantLabel(datapath::Role role);

/// At most `max` label sets are shown: one for each revision of a service, and one for each status code it
/// answered with (of which no revision shows more than kMaxCodes). What is beyond is left out and counted,
/// not summed up: a sum over members that come and go is no counter. What was let in stays until the datapath
/// forgets it, so that a newcomer takes nobody's place; revisions that never had any traffic come last, and
/// give way at once.
class SeriesRegistry {
 public:
  static constexpr size_t kMaxCodes = 64;

  struct Labels {
    std::string weir;                                  // namespace, service, revision, variant
    datapath::Role role = datapath::Role::kNone;       // as in `weir`
    datapath::Role last_role = datapath::Role::kNone;  // the last one that was not none
  };
  struct Shown {
    const datapath::Series* series;  // into the figures
    const Labels* labels;
    std::vector<std::pair<uint16_t, const datapath::Histogram*>> responses;  // by status code
  };

  explicit SeriesRegistry(size_t max) : max_(max) {}

  /// What to show of the figures (sorted, as the datapath gives them), in their order. Valid until the next
  /// call and while the figures live.
  const std::vector<Shown>& Select(const datapath::Figures& figures, const stream::SplitBook& book);

  /// Of the last Select().
  size_t shown() const { return used_; }
  size_t dropped() const { return dropped_; }

 private:
  struct Entry {
    Labels labels;
    bool held = false;  // let in; false: shown while there is room
    std::set<uint16_t> codes;
  };
  void Match(const datapath::Figures& figures);
  bool LetIn(const datapath::Series& series, Entry& entry);

  size_t max_;
  size_t used_ = 0, dropped_ = 0;
  std::map<stream::SeriesKey, Entry> entries_;
  std::vector<Entry*> matched_;  // of each of the figures' series
  std::vector<Shown> shown_;
};

}  // namespace weir::metrics
