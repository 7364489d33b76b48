// What a SplitTable takes over from an earlier agent, and what it reports.
#include <algorithm>

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

/// Connections given to the variant at `place` of a split, from its cursor.
uint64_t Given(const weir_split& split, const weir_cursor& cursor, uint32_t place) {
  if (split.variant_count > 2) return cursor.picked[place];
  if (split.variant_count == 1) return cursor.next;
  const uint64_t second =
      weir_second_count(cursor.next, split.variants[1].weight, split.total_weight, split.offset);
  return place == 1 ? second : cursor.next - second;
}

constexpr const char* kCounterNames[WEIR_COUNTER_MAX] = {
    "selected",   "affinity_hit",   "passed_empty",         "refused_empty", "udp_flow_dropped",
    "stale_vip",  "sk_storage_get", "sk_storage_get_flows", "bad_index",     "affinity_update",
    "set_retval", "stats_update",   "http_update"};
static_assert(kCounterNames[WEIR_COUNTER_MAX - 1] != nullptr);

}  // namespace

SplitTable::SplitTable(Maps maps, const Clock& clock, SeriesTable series)
    : maps_(std::move(maps)),
      services_(0, maps_.sizes().service_entries()),
      splits_(1, maps_.sizes().split_entries()),
      cursors_(1, maps_.sizes().cursor_entries()),
      endpoints_(0, maps_.sizes().endpoint_entries()),
      clock_(&clock),
      series_(std::move(series)) {}

Result<SplitTable> SplitTable::Adopt(Maps maps, const Clock& clock) {
  ASSIGN_OR_RETURN(SeriesTable series, SeriesTable::Adopt(maps, clock.Now()));
  SplitTable table(std::move(maps), clock, std::move(series));
  ASSIGN_OR_RETURN(const auto vips, table.maps_.ListVips());
  for (const auto& [key, service] : vips) RETURN_IF_ERROR(table.AdoptFrontend(key, service));
  // The last agent may have been killed between a flip and its grace period.
  if (!WaitForReaders(table.maps_)) ++table.slow_graces_;
  return table;
}

Status SplitTable::AdoptFrontend(const weir_vip_key& wire, uint32_t service) {
  const FrontendKey key = FromWire(wire);
  if (service >= maps_.services.size()) return Damaged(key, "service out of range");
  const uint32_t slot = maps_.services[service].slot;
  if (slot >= maps_.splits.size()) return Damaged(key, "slot out of range");
  // Without a slot, or with another's: its insertion or removal was cut short.
  if (slot == 0 || std::memcmp(&maps_.splits[slot].key, &wire, sizeof wire) != 0)
    return maps_.DeleteVip(wire);
  const weir_split& split = maps_.splits[slot];
  if (split.variant_count > WEIR_MAX_VARIANTS) return Damaged(key, "too many variants");
  if (!services_.Reserve(service, 1)) return Damaged(key, "service taken twice");
  if (!splits_.Reserve(slot, 1)) return Damaged(key, "slot taken twice");
  if (split.cursor != 0 && !cursors_.Reserve(split.cursor, 1)) return Damaged(key, "cursor taken twice");
  for (uint32_t place = 0; place < split.variant_count; ++place) {
    const weir_variant& variant = split.variants[place];
    if (!endpoints_.Reserve(variant.first_endpoint, variant.endpoint_count))
      return Damaged(key, "endpoints overlap");
  }
  Hold(key, service, slot);
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
  const auto service = services_.Allocate(1);
  const auto slot = splits_.Allocate(1);
  if (held_.size() >= maps_.sizes().services || !service || !slot) return no_room("--max-services");
  weir_split split = old;
  split.service = *service;
  for (uint32_t place = 0; place < split.variant_count; ++place) {
    weir_variant& variant = split.variants[place];
    if (variant.endpoint_count == 0) continue;
    const auto first = endpoints_.Allocate(variant.endpoint_count);
    if (!first || endpoints_.used() > maps_.sizes().endpoints) return no_room("--max-endpoints");
    for (uint32_t i = 0; i < variant.endpoint_count; ++i) {
      maps_.endpoints[*first + i] = from.endpoints[variant.first_endpoint + i];
    }
    variant.first_endpoint = *first;
  }
  if (split.cursor != 0) {
    const auto cursor = cursors_.Allocate(1);
    if (!cursor) return no_room("--max-services");
    ASSIGN_OR_RETURN(const weir_cursor value, from.ReadCursor(split.cursor));
    RETURN_IF_ERROR(maps_.WriteCursor(*cursor, value));
    split.cursor = *cursor;
  }
  maps_.splits[*slot] = split;
  maps_.services[*service].slot = *slot;
  Hold(key, *service, *slot);
  return maps_.InsertVip(split.key, *service);
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
                {"weir_cursors", cursors_.used(), cursors_.capacity()},
                {"weir_endpoints", endpoints_.used(), sizes.endpoints},
                {"weir_affinity", affinity, sizes.affinity},
                {"weir_series", series_.entries().size(), maps_.series_capacity()}};
  ASSIGN_OR_RETURN(const std::vector<uint64_t> counters, maps_.ReadCounters());
  for (uint32_t counter = 0; counter < WEIR_COUNTER_MAX; ++counter) {
    stats.counters.push_back({kCounterNames[counter], counters[counter], counter >= WEIR_FIRST_ERROR});
  }
  stats.counters.push_back({"slow_grace", slow_graces_, true});
  stats.counters.push_back({"vip_delete", stale_vips_, true});
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
    if (split.cursor == 0) continue;
    ASSIGN_OR_RETURN(const weir_cursor cursor, maps_.ReadCursor(split.cursor));
    for (uint32_t place = 0; place < split.variant_count; ++place) {
      count.variants.at(split.variants[place].index).connections = Given(split, cursor, place);
    }
  }
  return counts;
}

}  // namespace weir::datapath
