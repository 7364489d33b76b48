// weir_vips as user space writes it: the hash table of bpf/lib/vips.h. Pure: works on memory. Not
// thread-safe, except that BPF programs search it meanwhile.
#pragma once

#include <cstdint>
#include <optional>

#include "weir/maps.h"

namespace weir::datapath {

class VipTable {
 public:
  VipTable() = default;
  /// `entries` of `size` entries, a power of two; all zero in a new table.
  VipTable(weir_vip* entries, uint32_t size) : entries_(entries), mask_(size - 1) {}

  /// Where the key is, of everybody (0) or of those consumers. nullopt: nowhere.
  std::optional<uint32_t> Find(const weir_vip_key& key, uint32_t consumers) const;

  /// Takes an entry for a key that is not in the table; it has slot 0, so readers pass the call unchanged.
  /// nullopt when all entries in reach of the key's home are taken.
  std::optional<uint32_t> Insert(const weir_vip_key& key, uint32_t consumers);

  /// The entry is free again. Its slot must be 0 and no reader may hold it.
  void Remove(uint32_t index);

  weir_vip& operator[](uint32_t index) const { return entries_[index]; }
  uint32_t size() const { return mask_ + 1; }
  bool InUse(uint32_t index) const { return entries_[index].tag > WEIR_VIP_REMOVED; }

 private:
  weir_vip* entries_ = nullptr;
  uint32_t mask_ = 0;
};

}  // namespace weir::datapath
