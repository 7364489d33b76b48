#include "agent/datapath/range_allocator.h"

#include <cstdlib>
#include <iterator>

namespace weir::datapath {

RangeAllocator::RangeAllocator(uint32_t begin, uint32_t end) : capacity_(end - begin) {
  if (capacity_ > 0) Insert(begin, capacity_);
}

void RangeAllocator::Insert(uint32_t first, uint32_t count) {
  free_.emplace(first, count);
  by_length_.emplace(count, first);
}

void RangeAllocator::Erase(std::map<uint32_t, uint32_t>::iterator run) {
  if (by_length_.erase({run->second, run->first}) != 1) std::abort();  // the two indexes disagree
  free_.erase(run);
}

std::optional<uint32_t> RangeAllocator::Allocate(uint32_t count) {
  const auto fit = by_length_.lower_bound({count, 0});
  if (fit == by_length_.end()) return std::nullopt;
  const auto [length, first] = *fit;
  Erase(free_.find(first));
  if (length > count) Insert(first + count, length - count);
  used_ += count;
  return first;
}

bool RangeAllocator::Reserve(uint32_t first, uint32_t count) {
  if (count == 0) return true;
  auto run = free_.upper_bound(first);
  if (run == free_.begin()) return false;
  --run;
  const auto [begin, length] = *run;
  if (uint64_t{first} + count > uint64_t{begin} + length) return false;
  Erase(run);
  if (first > begin) Insert(begin, first - begin);
  if (first + count < begin + length) Insert(first + count, begin + length - first - count);
  used_ += count;
  return true;
}

void RangeAllocator::Free(uint32_t first, uint32_t count) {
  if (count == 0) return;
  used_ -= count;
  auto next = free_.lower_bound(first);
  if (next != free_.end() && first + count > next->first) std::abort();  // freed twice
  if (next != free_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second > first) std::abort();  // freed twice
    if (previous->first + previous->second == first) {
      first = previous->first;
      count += previous->second;
      Erase(previous);
    }
  }
  if (next != free_.end() && first + count == next->first) {
    count += next->second;
    Erase(next);
  }
  Insert(first, count);
}

}  // namespace weir::datapath
