// Free places of the map arrays. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace weir::datapath {

/// Hands out runs [first, first + count) of [begin, end). Best fit; neighbours merge when freed.
class RangeAllocator {
 public:
  RangeAllocator(uint32_t begin, uint32_t end);

  /// The first index of a free run, or nullopt when no run is long enough. count > 0.
  std::optional<uint32_t> Allocate(uint32_t count);
  /// Takes a given run, as found in the maps of an earlier agent; false if part of it is taken already.
  bool Reserve(uint32_t first, uint32_t count);
  /// Aborts if any of the run is free: that would be a broken invariant.
  void Free(uint32_t first, uint32_t count);

  uint32_t used() const { return used_; }
  uint32_t capacity() const { return capacity_; }

 private:
  void Insert(uint32_t first, uint32_t count);
  void Erase(std::map<uint32_t, uint32_t>::iterator run);

  std::map<uint32_t, uint32_t> free_;                  // first -> count
  std::set<std::pair<uint32_t, uint32_t>> by_length_;  // count, first
  uint32_t capacity_;
  uint32_t used_ = 0;
};

}  // namespace weir::datapath
