// Which series there are: names to numbers, who uses them, and when they may be forgotten.
// Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/datapath/maps.h"
#include "common/clock.h"

namespace weir::datapath {

struct SeriesName {
  std::string_view ns, service, revision;
  bool operator==(const SeriesName&) const = default;
};

class SeriesTable {
 public:
  struct Entry {
    std::string ns, service, revision;
    uint32_t uses = 0;                 // splits in force that name it
    bool http = false;                 // some split asked for HTTP while this agent ran
    MonotonicTime unused_since{};      // while uses is 0
    std::optional<uint64_t> activity;  // what the figures stood at when an unused series was last looked at
  };

  /// Reads what an earlier agent left. All are unused since `now` until Use() says otherwise. New maps get an
  /// epoch.
  static Result<SeriesTable> Adopt(const Maps& maps, MonotonicTime now);

  /// The series of that name, 0 when there is none.
  uint32_t Find(const SeriesName& name) const;
  /// The same, made if need be. 0, and counted in failures(), where the map is full or a name does not fit.
  uint32_t Assign(const Maps& maps, const SeriesName& name, MonotonicTime now);

  /// A split in force names the series, or does so no longer. 0 and unknown ones are passed over.
  void Use(uint32_t series, bool http);
  void Release(uint32_t series, MonotonicTime now);

  /// The series that have been unused for `grace` and whose figures have been at rest meanwhile.
  /// `figures_of` tells where they stand: a sum of counters, or nullopt while a connection is open.
  template <typename FiguresOf>
  std::vector<uint32_t> Expired(MonotonicTime now, std::chrono::nanoseconds grace, FiguresOf figures_of);
  /// Takes it out of the table and of weir_series.
  Status Forget(const Maps& maps, uint32_t series);

  const std::map<uint32_t, Entry>& entries() const { return entries_; }
  uint64_t failures() const { return failures_; }

 private:
  struct Hash {
    size_t operator()(const SeriesName& name) const;
  };

  Entry& Add(uint32_t series, const SeriesName& name, MonotonicTime now);

  std::map<uint32_t, Entry> entries_;
  std::unordered_map<SeriesName, uint32_t, Hash> by_name_;  // views into entries_
  uint64_t failures_ = 0;
};

template <typename FiguresOf>
std::vector<uint32_t> SeriesTable::Expired(MonotonicTime now, std::chrono::nanoseconds grace,
                                           FiguresOf figures_of) {
  std::vector<uint32_t> expired;
  for (auto& [series, entry] : entries_) {
    if (entry.uses > 0) continue;
    const std::optional<uint64_t> activity = figures_of(series);
    if (!activity || (entry.activity && activity != entry.activity)) entry.unused_since = now;
    entry.activity = activity;
    if (activity && now - entry.unused_since >= grace) expired.push_back(series);
  }
  return expired;
}

}  // namespace weir::datapath
