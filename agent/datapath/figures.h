// The kernel's figures as the rest of the agent sees them.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "agent/datapath/maps.h"
#include "agent/datapath/series_table.h"

namespace weir::datapath {

/// What weir_stats and weir_http hold, by series. Read while the kernel adds to it: every counter is a value
/// that it had, but not all at one moment; `closed` is never above `opened`.
struct RawFigures {
  std::unordered_map<uint32_t, weir_stats> stats;
  std::unordered_map<uint32_t, std::map<uint16_t, weir_histogram>> http;
};
Result<RawFigures> ReadRawFigures(const Maps& maps);

/// Named and sorted. Pure.
Figures MakeFigures(const SeriesTable& table, const RawFigures& raw, std::string epoch);

/// A figure that moves whenever anything of the series does; nullopt while it has an open connection. Pure.
std::optional<uint64_t> ActivityOf(const RawFigures& raw, uint32_t series);

}  // namespace weir::datapath
