#include "agent/datapath/vip_table.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "bpf/lib/vips.h"

namespace weir::datapath {
namespace {

void StoreTag(weir_vip& entry, uint32_t tag) {
  std::atomic_ref<__u32>(entry.tag).store(tag, std::memory_order_release);
}

}  // namespace

std::optional<uint32_t> VipTable::Find(const weir_vip_key& key, uint32_t consumers) const {
  const uint64_t hash = weir_vip_hash(&key, consumers);
  const uint32_t probes = std::min<uint32_t>(WEIR_MAX_PROBES, size());
  for (uint32_t i = 0; i < probes; ++i) {
    const uint32_t index = (static_cast<uint32_t>(hash) + i) & mask_;
    const weir_vip& entry = entries_[index];
    if (entry.tag == WEIR_VIP_FREE) return std::nullopt;
    if (entry.tag == weir_vip_tag(hash) && entry.consumers == consumers &&
        std::memcmp(&entry.key, &key, sizeof key) == 0) {
      return index;
    }
  }
  return std::nullopt;
}

std::optional<uint32_t> VipTable::Insert(const weir_vip_key& key, uint32_t consumers) {
  const uint64_t hash = weir_vip_hash(&key, consumers);
  const uint32_t probes = std::min<uint32_t>(WEIR_MAX_PROBES, size());
  for (uint32_t i = 0; i < probes; ++i) {
    const uint32_t index = (static_cast<uint32_t>(hash) + i) & mask_;
    weir_vip& entry = entries_[index];
    if (InUse(index)) continue;
    // A search compares the key only once it sees the tag.
    entry.key = key;
    entry.consumers = consumers;
    entry.next[0] = entry.next[1] = 0;
    entry.guard = {};
    StoreTag(entry, weir_vip_tag(hash));
    return index;
  }
  return std::nullopt;
}

void VipTable::Remove(uint32_t index) {
  StoreTag(entries_[index], WEIR_VIP_REMOVED);
  // No search goes past a free entry, so nothing is behind the removed ones in front of it.
  while (entries_[(index + 1) & mask_].tag == WEIR_VIP_FREE && entries_[index].tag == WEIR_VIP_REMOVED) {
    StoreTag(entries_[index], WEIR_VIP_FREE);
    index = (index - 1) & mask_;
  }
}

}  // namespace weir::datapath
