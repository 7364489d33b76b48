// The kernel's figures as the rest of the agent sees them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/datapath/maps.h"
#include "agent/datapath/series_table.h"

namespace weir::datapath {

/// What weir_stats and weir_http hold, under the names of their series. Read while the kernel adds to it:
/// every counter is a value that it had, but not all at one moment; `closed` is never above `opened`.
class FiguresReading {
 public:
  /// Straight from the kernel's answers, each figure copied once. The table must not change while the object
  /// lives.
  static Result<FiguresReading> Read(const Maps& maps, const SeriesTable& table);

  /// A figure that moves whenever anything of the series does; nullopt while it has an open connection.
  std::optional<uint64_t> ActivityOf(uint32_t series) const;

  /// Of these series, and of all that the table does not name: what a socket of a forgotten series brought
  /// back in the moment of its going.
  Status Delete(const Maps& maps, const std::vector<uint32_t>& series) const;

  /// Without the series named; sorted. The object is spent.
  Figures Take(const std::vector<uint32_t>& without, std::string epoch) &&;

 private:
  explicit FiguresReading(const SeriesTable& table);
  /// Its place in figures_, kNowhere for one that the table does not name.
  size_t PlaceOf(uint32_t series) const;
  void Add(uint32_t series, const weir_stats& stats);
  void Add(const weir_http_key& key, const weir_histogram& responses);

  static constexpr size_t kNowhere = ~size_t{0};
  std::vector<uint32_t> numbers_;                  // of the table's series, ascending
  std::vector<size_t> places_;                     // of each of them in figures_ and activity_
  std::vector<Series> figures_;                    // sorted by name
  std::vector<std::optional<uint64_t>> activity_;  // as ActivityOf() says
  std::vector<uint32_t> strange_stats_;            // not in the table
  std::vector<weir_http_key> strange_http_;
};

}  // namespace weir::datapath
