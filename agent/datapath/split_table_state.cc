// What a SplitTable takes over from an earlier agent, and what it reports.
#include <algorithm>
#include <atomic>
#include <span>

#include "agent/datapath/grace.h"
#include "agent/datapath/split_table.h"
#include "agent/datapath/wire.h"
#include "bpf/lib/select.h"

namespace weir::datapath {
namespace {

Status Damaged(const FrontendKey& key, std::string_view what) {
  return Error(absl::StatusCode::kDataLoss,
               "the pinned maps contradict themselves: {}: {}; run weir-agent --detach and start again",
               ToString(key), what);
}

/// Connections given under a split of one or two variants.
uint64_t LoadNext(const Maps& maps, const weir_split& split) {
  return std::atomic_ref(maps.vips[split.service].next[split.cursor & 1]).load(std::memory_order_relaxed);
}

/// Connections given to each variant of a split, by place.
Result<std::vector<uint64_t>> Given(const Maps& maps, const weir_split& split) {
  if (split.variant_count == 0) return std::vector<uint64_t>{};
  if (split.variant_count > WEIR_PAIR) {
    ASSIGN_OR_RETURN(const weir_cursor cursor, maps.ReadCursor(split.cursor));
    return std::vector<uint64_t>(cursor.picked, cursor.picked + split.variant_count);
  }
  const uint64_t next = LoadNext(maps, split);
  if (split.variant_count == 1) return std::vector<uint64_t>{next};
  const uint64_t second = weir_second_count(next, split.variants[1].weight, split.total_weight, split.offset);
  return std::vector<uint64_t>{next - second, second};
}

constexpr const char* kCounterNames[WEIR_COUNTER_MAX] = {
    "affinity_hit",    "passed_empty",   "refused_empty",        "udp_flow_dropped",
    "stale_vip",       "sk_storage_get", "sk_storage_get_flows", "bad_index",
    "affinity_update", "set_retval",     "stats_update",         "http_update"};
static_assert(kCounterNames[WEIR_COUNTER_MAX - 1] != nullptr);

}  // namespace

SplitTable::SplitTable(Maps maps, const Clock& clock, SeriesTable series)
    : maps_(std::move(maps)),
      splits_(1, maps_.sizes().split_entries()),
      wide_(1, maps_.sizes().wide_entries()),
      cursors_(1, maps_.sizes().cursor_entries()),
      endpoints_(0, maps_.sizes().endpoint_entries()),
      clock_(&clock),
      series_(std::move(series)) {}

Result<SplitTable> SplitTable::Adopt(Maps maps, const Clock& clock) {
  ASSIGN_OR_RETURN(SeriesTable series, SeriesTable::Adopt(maps, clock.Now()));
  SplitTable table(std::move(maps), clock, std::move(series));
  for (uint32_t service = 0; service < table.maps_.vips.size(); ++service) {
    if (table.maps_.vips.InUse(service)) RETURN_IF_ERROR(table.AdoptFrontend(service));
  }
  // The last agent may have been killed between a flip and its grace period.
  if (!WaitForReaders(table.maps_)) ++table.slow_graces_;
  return table;
}

Status SplitTable::AdoptFrontend(uint32_t service) {
  weir_vip& vip = maps_.vips[service];
  const FrontendKey key = FromWire(vip);
  if (vip.slot == 0) {  // its insertion or removal was cut short
    maps_.vips.Remove(service);
    return OkStatus();
  }
  if (vip.slot >= maps_.splits.size()) return Damaged(key, "slot out of range");
  const weir_split& split = maps_.splits[vip.slot];
  if (std::memcmp(&split.key, &vip.key, sizeof vip.key) != 0 || split.service != service)
    return Damaged(key, "another's slot");
  if (!splits_.Reserve(vip.slot, 1)) return Damaged(key, "slot taken twice");
  if (split.variant_count > WEIR_MAX_VARIANTS) return Damaged(key, "too many variants");
  if (split.variant_count > WEIR_PAIR) {
    if (!wide_.Reserve(split.wide, 1)) return Damaged(key, "variants taken twice");
    if (!cursors_.Reserve(split.cursor, 1)) return Damaged(key, "cursor taken twice");
  } else if (split.cursor > 1) {
    return Damaged(key, "cursor out of range");
  }
  for (const weir_variant& variant : maps_.VariantsOf(split)) {
    if (!endpoints_.Reserve(variant.first_endpoint, variant.endpoint_count))
      return Damaged(key, "endpoints overlap");
  }
  Hold(key, service, vip.slot);
  return OkStatus();
}

Status SplitTable::Import(const SplitTable& from) {
  for (const auto& [key, held] : from.held_)
    RETURN_IF_ERROR(ImportFrontend(key, from.maps_.splits[held.slot], from.maps_));
  // What was still missing at a kill has no service; the state (generation, phase, node) is in a shared map.
  return maps_.CopyAffinity(from.maps_);
}

Status SplitTable::ImportFrontend(const FrontendKey& key, const weir_split& old, const Maps& from) {
  const auto no_room = [&](std::string_view flag) {
    return Error(absl::StatusCode::kResourceExhausted, "{} is too small for the split in force, at {}", flag,
                 ToString(key));
  };
  const auto service = maps_.vips.Insert(old.key, key.consumers);
  const auto slot = splits_.Allocate(1);
  if (held_.size() >= maps_.sizes().services || !service || !slot) return no_room("--max-services");
  weir_split split = old;
  split.service = *service;
  weir_variant* variants = split.variants;
  if (split.variant_count > WEIR_PAIR) {
    const auto wide = wide_.Allocate(1);
    const auto cursor = cursors_.Allocate(1);
    if (!wide || !cursor) return no_room("--max-services");
    ASSIGN_OR_RETURN(const weir_cursor value, from.ReadCursor(old.cursor));
    RETURN_IF_ERROR(maps_.WriteCursor(*cursor, value));
    split.cursor = *cursor;
    split.wide = *wide;
    maps_.wide[*wide] = from.wide[old.wide];
    variants = maps_.wide[*wide].variants;
  } else {
    maps_.vips[*service].next[split.cursor & 1] = LoadNext(from, old);
  }
  for (weir_variant& variant : std::span(variants, split.variant_count)) {
    if (variant.endpoint_count == 0) continue;
    const auto first = endpoints_.Allocate(variant.endpoint_count);
    if (!first || endpoints_.used() > maps_.sizes().endpoints) return no_room("--max-endpoints");
    for (uint32_t i = 0; i < variant.endpoint_count; ++i) {
      maps_.endpoints[*first + i] = from.endpoints[variant.first_endpoint + i];
    }
    variant.first_endpoint = *first;
  }
  maps_.splits[*slot] = split;
  maps_.vips[*service].guard = from.vips[old.service].guard;
  maps_.vips[*service].slot = *slot;
  Hold(key, *service, *slot);
  return OkStatus();
}

Status SplitTable::CheckMaps() const {
  for (const auto& [key, held] : held_) {
    const weir_vip& vip = maps_.vips[held.service];
    const weir_split& split = maps_.splits[held.slot];
    if (vip.slot == held.slot && FromWire(vip) == key && FromWire(split.key) == FromWire(vip.key)) continue;
    return Error(absl::StatusCode::kDataLoss,
                 "the pinned maps lack {}, which this agent has put there: restart it to put it there again",
                 ToString(key));
  }
  return OkStatus();
}

std::string SplitTable::controller_id() const {
  if (generation() == 0) return "";
  return FormatUuid({maps_.state[0].controller_id[0], maps_.state[0].controller_id[1]});
}

Result<Stats> SplitTable::ReadStats() const {
  Stats stats;
  stats.generation = generation();
  stats.frontends = held_.size();
  ASSIGN_OR_RETURN(const uint64_t affinity, maps_.CountAffinity());
  const MapSizes& sizes = maps_.sizes();
  stats.fill = {{"weir_vips", held_.size(), sizes.services},
                {"weir_splits", splits_.used(), splits_.capacity()},
                {"weir_wide", wide_.used(), wide_.capacity()},
                {"weir_cursors", cursors_.used(), cursors_.capacity()},
                {"weir_endpoints", endpoints_.used(), sizes.endpoints},
                {"weir_affinity", affinity, sizes.affinity},
                {"weir_series", series_.entries().size(), maps_.series_capacity()}};
  stats.counters.push_back({"selected", maps_.CountChosen(), false});
  ASSIGN_OR_RETURN(const std::vector<uint64_t> counters, maps_.ReadCounters());
  for (uint32_t counter = 0; counter < WEIR_COUNTER_MAX; ++counter) {
    stats.counters.push_back({kCounterNames[counter], counters[counter], counter >= WEIR_FIRST_ERROR});
  }
  stats.counters.push_back({"slow_grace", slow_graces_, true});
  stats.counters.push_back({"series_full", series_.failures(), true});
  return stats;
}

Result<std::vector<SplitCount>> SplitTable::ReadCounts() const {
  std::vector<SplitCount> counts;
  for (const auto& [key, held] : held_) {
    if (held.variants.size() < 2) continue;
    const weir_split& split = maps_.splits[held.slot];
    SplitCount& count = counts.emplace_back(SplitCount{.key = key, .variants = {}});
    for (const NamedVariant& variant : held.variants)
      count.variants.push_back({variant.revision, variant.weight, 0});
    ASSIGN_OR_RETURN(const std::vector<uint64_t> given, Given(maps_, split));
    const std::span<const weir_variant> variants = maps_.VariantsOf(split);
    for (size_t place = 0; place < given.size(); ++place) {
      count.variants.at(variants[place].index).connections = given[place];
    }
  }
  return counts;
}

}  // namespace weir::datapath
