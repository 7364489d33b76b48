#include "agent/datapath/split_table.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <set>
#include <span>

#include "agent/datapath/grace.h"
#include "agent/datapath/phase.h"
#include "agent/datapath/wire.h"

namespace weir::datapath {
namespace {

void StoreSlot(const Maps& maps, uint32_t service, uint32_t slot) {
  // The one aligned store that puts a split in force; all it names was written before.
  std::atomic_ref<__u32>(maps.vips[service].slot).store(slot, std::memory_order_release);
}

void StoreGeneration(const Maps& maps, uint64_t generation) {
  std::atomic_ref<__u64>(maps.state[0].generation).store(generation, std::memory_order_release);
}

Status Full(std::string_view map, uint64_t needed, uint64_t capacity, std::string_view flag) {
  return Error(absl::StatusCode::kResourceExhausted,
               "map {} is full: the change needs {} entries of {}; raise {} and start the agent again", map,
               needed, capacity, flag);
}

/// The endpoints that a variant is to have in the kernel.
const std::vector<SocketAddress>& EndpointsOf(const Frontend& frontend, const PlannedVariant& planned) {
  static const std::vector<SocketAddress> kNone;
  return planned.chosen ? frontend.variants[planned.index].endpoints : kNone;
}

uint64_t PlannedEndpoints(const Frontend& frontend) {
  uint64_t count = 0;
  for (const PlannedVariant& variant : MakePlan(frontend).variants) {
    count += EndpointsOf(frontend, variant).size();
  }
  return count;
}

uint8_t Flags(const Frontend& frontend, const SplitPlan& plan) {
  const bool tcp = frontend.key.protocol == Protocol::kTcp;
  const bool cut = !plan.variants.empty() && !plan.variants.back().chosen;
  return static_cast<uint8_t>(
      (frontend.http && tcp ? WEIR_SPLIT_HTTP : 0) | (frontend.health && tcp ? WEIR_SPLIT_WATCHED : 0) |
      (frontend.has_consumers && tcp ? WEIR_SPLIT_CONSUMERS : 0) |
      (frontend.endpoints_known ? WEIR_SPLIT_ALL_KNOWN : 0) | (plan.fail_safe ? WEIR_SPLIT_FAIL_SAFE : 0) |
      (cut && frontend.cut == Cut::kCutOff ? WEIR_SPLIT_CUT_OFF : 0) |
      (cut && frontend.cut == Cut::kTripped ? WEIR_SPLIT_TRIPPED : 0));
}

uint32_t FailSafeMs(const Frontend& frontend, const SplitPlan& plan) {
  if (!plan.fail_safe) return 0;
  constexpr int64_t kLongest = std::numeric_limits<uint32_t>::max();
  return static_cast<uint32_t>(std::min<int64_t>(frontend.fail_safe->after.count(), kLongest));
}

uint32_t TripAfter(const Frontend& frontend, const SplitPlan& plan, uint32_t place) {
  return plan.fail_safe && place > 0 ? frontend.fail_safe->trip_after : 0;
}

}  // namespace

Status SplitTable::Apply(const Change& change, uint32_t node_number) {
  RETURN_IF_ERROR(CheckChange(change));
  const std::vector<FrontendKey> removals = Removals(change);
  RETURN_IF_ERROR(CheckCapacity(change, removals));

  std::vector<Staged> staged;
  Status status = OkStatus();
  for (const Frontend& frontend : change.upserts) {
    AssignSeries(frontend);
    if (IsInForce(frontend)) continue;
    status = Stage(frontend, change.generation, node_number, staged.emplace_back());
    if (!status.ok()) break;
  }
  if (!status.ok()) {
    for (const Staged& entry : staged) Unstage(entry);
    return Annotate(status, fmt::format("generation {}", change.generation));
  }
  if (!staged.empty() || !removals.empty()) {
    StoreGeneration(maps_, 0);  // killed from here on, nobody knows which: the next agent asks for everything
    Flip(staged, removals);
    if (!WaitForReaders(maps_)) ++slow_graces_;
  }
  Finish(change, staged, removals);
  return OkStatus();
}

Status SplitTable::CheckChange(const Change& change) const {
  if (change.generation == 0) return InvalidArgument("generation: found 0, expected 1 or more");
  if (!change.controller_id.empty() && !ParseUuid(change.controller_id)) {
    return InvalidArgument("controller id: found \"{}\", expected a UUID", change.controller_id);
  }
  std::set<FrontendKey> seen;
  for (const Frontend& frontend : change.upserts) {
    RETURN_IF_ERROR(Validate(frontend));
    if (!seen.insert(frontend.key).second)
      return InvalidArgument("frontend {} is given twice", ToString(frontend.key));
  }
  for (const FrontendKey& key : change.removals) {
    if (seen.contains(key)) return InvalidArgument("frontend {} is both given and removed", ToString(key));
  }
  return OkStatus();
}

std::vector<FrontendKey> SplitTable::Removals(const Change& change) const {
  std::vector<FrontendKey> removals;
  if (!change.full) {
    std::copy_if(change.removals.begin(), change.removals.end(), std::back_inserter(removals),
                 [&](const FrontendKey& key) { return held_.contains(key); });
    return removals;
  }
  std::set<FrontendKey> wanted;
  for (const Frontend& frontend : change.upserts) wanted.insert(frontend.key);
  for (const auto& [key, held] : held_) {
    if (!wanted.contains(key)) removals.push_back(key);
  }
  return removals;
}

Status SplitTable::CheckCapacity(const Change& change, const std::vector<FrontendKey>& removals) const {
  uint64_t frontends = held_.size() - removals.size();
  uint64_t endpoints = endpoints_.used();
  for (const FrontendKey& key : removals) endpoints -= HeldEndpoints(maps_.splits[held_.at(key).slot]);
  for (const Frontend& frontend : change.upserts) {
    const auto old = held_.find(frontend.key);
    endpoints += PlannedEndpoints(frontend);
    if (old == held_.end()) {
      ++frontends;
    } else {
      endpoints -= HeldEndpoints(maps_.splits[old->second.slot]);
    }
  }
  const MapSizes& sizes = maps_.sizes();
  if (frontends > sizes.services) return Full("weir_vips", frontends, sizes.services, "--max-services");
  if (endpoints > sizes.endpoints)
    return Full("weir_endpoints", endpoints, sizes.endpoints, "--max-endpoints");
  return OkStatus();
}

bool SplitTable::SamePlan(const weir_split& split, const SplitPlan& plan) const {
  return std::ranges::equal(maps_.VariantsOf(split), plan.variants,
                            [](const weir_variant& held, const PlannedVariant& planned) {
                              return held.id == planned.id && held.weight == planned.weight;
                            });
}

uint64_t SplitTable::HeldEndpoints(const weir_split& split) const {
  uint64_t count = 0;
  for (const weir_variant& variant : maps_.VariantsOf(split)) count += variant.endpoint_count;
  return count;
}

const weir_split* SplitTable::SplitOf(const Held* held) const {
  return held == nullptr ? nullptr : &maps_.splits[held->slot];
}

bool SplitTable::Holds(const weir_variant& variant, const std::vector<SocketAddress>& endpoints) const {
  if (variant.endpoint_count != endpoints.size()) return false;
  for (uint32_t i = 0; i < variant.endpoint_count; ++i) {
    const weir_endpoint wanted = ToWire(endpoints[i]);
    if (std::memcmp(&maps_.endpoints[variant.first_endpoint + i], &wanted, sizeof wanted) != 0) return false;
  }
  return true;
}

bool SplitTable::IsInForce(const Frontend& frontend) const {
  const auto held = held_.find(frontend.key);
  if (held == held_.end()) return false;
  const weir_split& split = *SplitOf(&held->second);
  const SplitPlan plan = MakePlan(frontend);
  if (!SamePlan(split, plan) || split.affinity_timeout_s != frontend.affinity_timeout_s ||
      split.on_empty != static_cast<uint8_t>(frontend.on_empty) || split.flags != Flags(frontend, plan) ||
      split.fail_safe_ms != FailSafeMs(frontend, plan)) {
    return false;
  }
  const std::span<const weir_variant> variants = maps_.VariantsOf(split);
  for (uint32_t place = 0; place < variants.size(); ++place) {
    const weir_variant& variant = variants[place];
    if (variant.index != plan.variants[place].index) return false;
    if (variant.series != SeriesOf(frontend, variant.index)) return false;
    if (variant.trip_after != TripAfter(frontend, plan, place)) return false;
    if (!Holds(variant, EndpointsOf(frontend, plan.variants[place]))) return false;
  }
  return true;
}

Status SplitTable::Stage(const Frontend& frontend, uint64_t generation, uint32_t node_number,
                         Staged& staged) {
  staged.frontend = &frontend;
  const auto held = held_.find(frontend.key);
  if (held != held_.end()) {
    staged.old = &held->second;
    staged.service = staged.old->service;
  } else if (const auto service = maps_.vips.Insert(ToWire(frontend.key), frontend.key.consumers)) {
    // It has slot 0 until the flip: a reader that finds it passes the call unchanged.
    staged.service = *service;
  } else {
    return Full("weir_vips", held_.size() + 1, maps_.sizes().services, "--max-services");
  }
  const auto slot = splits_.Allocate(1);
  if (!slot) return Full("weir_splits", splits_.used() + 1, splits_.capacity(), "--max-services");
  staged.slot = *slot;

  const SplitPlan plan = MakePlan(frontend);
  weir_split split{};
  split.key = ToWire(frontend.key);
  split.service = staged.service;
  split.generation = generation;
  split.total_weight = plan.total_weight;
  split.affinity_timeout_s = frontend.affinity_timeout_s;
  split.on_empty = static_cast<uint8_t>(frontend.on_empty);
  split.flags = Flags(frontend, plan);
  split.fail_safe_ms = FailSafeMs(frontend, plan);
  split.variant_count = static_cast<uint8_t>(plan.variants.size());
  RETURN_IF_ERROR(StageVariants(frontend, plan, staged, split));
  RETURN_IF_ERROR(StageCursor(plan, Phase(node_number, frontend.key), staged, split));
  maps_.splits[staged.slot] = split;
  return OkStatus();
}

Status SplitTable::StageVariants(const Frontend& frontend, const SplitPlan& plan, Staged& staged,
                                 weir_split& split) {
  weir_variant* variants = split.variants;
  if (plan.variants.size() > WEIR_PAIR) {
    const auto wide = wide_.Allocate(1);
    if (!wide) return Full("weir_wide", wide_.used() + 1, wide_.capacity(), "--max-services");
    split.wide = staged.wide = *wide;
    variants = maps_.wide[*wide].variants;
  }
  for (uint32_t place = 0; place < plan.variants.size(); ++place) {
    const PlannedVariant& planned = plan.variants[place];
    const std::vector<SocketAddress>& endpoints = EndpointsOf(frontend, planned);
    variants[place] = {.id = planned.id,
                       .weight = planned.weight,
                       .first_endpoint = 0,
                       .endpoint_count = static_cast<uint32_t>(endpoints.size()),
                       .index = planned.index,
                       .series = SeriesOf(frontend, planned.index),
                       .trip_after = TripAfter(frontend, plan, place)};
    if (!endpoints.empty()) RETURN_IF_ERROR(StageEndpoints(endpoints, staged, variants[place]));
  }
  return OkStatus();
}

Status SplitTable::StageEndpoints(const std::vector<SocketAddress>& endpoints, Staged& staged,
                                  weir_variant& variant) {
  if (const weir_split* old = SplitOf(staged.old); old != nullptr) {
    for (const weir_variant& before : maps_.VariantsOf(*old)) {
      if (before.id != variant.id || !Holds(before, endpoints)) continue;
      variant.first_endpoint = before.first_endpoint;
      staged.kept_ranges.push_back({before.first_endpoint, before.endpoint_count});
      return OkStatus();
    }
  }
  const auto first = endpoints_.Allocate(variant.endpoint_count);
  if (!first) {
    return Full("weir_endpoints", endpoints_.used() + uint64_t{variant.endpoint_count}, endpoints_.capacity(),
                "--max-endpoints");
  }
  staged.new_ranges.push_back({*first, variant.endpoint_count});
  variant.first_endpoint = *first;
  for (uint32_t i = 0; i < variant.endpoint_count; ++i) maps_.endpoints[*first + i] = ToWire(endpoints[i]);
  return OkStatus();
}

Status SplitTable::StageCursor(const SplitPlan& plan, uint32_t phase, Staged& staged, weir_split& split) {
  if (plan.variants.empty()) return OkStatus();
  const weir_split* old = SplitOf(staged.old);
  if (old != nullptr && SamePlan(*old, plan)) {
    staged.keeps_cursor = true;
    split.cursor = old->cursor;
    split.offset = old->offset;
    split.first_pick = old->first_pick;
    return OkStatus();
  }
  split.offset = Offset(plan, phase);
  split.first_pick = static_cast<uint8_t>(FirstPick(plan, phase));
  if (plan.variants.size() <= WEIR_PAIR) {
    // Of the two, the one that is not in force: since the grace period of the change that left it, nobody
    // counts in it.
    split.cursor = old != nullptr && old->variant_count <= WEIR_PAIR ? old->cursor ^ 1 : 0;
    std::atomic_ref<__u64>(maps_.vips[staged.service].next[split.cursor]).store(0, std::memory_order_relaxed);
    return OkStatus();
  }
  const auto cursor = cursors_.Allocate(1);
  if (!cursor) return Full("weir_cursors", cursors_.used() + 1, cursors_.capacity(), "--max-services");
  staged.cursor = split.cursor = *cursor;
  return maps_.WriteCursor(*cursor, weir_cursor{});
}

void SplitTable::Unstage(const Staged& staged) {
  for (const Range& range : staged.new_ranges) endpoints_.Free(range.first, range.count);
  if (staged.cursor != kNone) cursors_.Free(staged.cursor, 1);
  if (staged.slot != kNone) splits_.Free(staged.slot, 1);
  if (staged.wide != kNone) wide_.Free(staged.wide, 1);
  if (staged.old == nullptr && staged.service != kNone) maps_.vips.Remove(staged.service);
}

void SplitTable::Flip(const std::vector<Staged>& staged, const std::vector<FrontendKey>& removals) {
  for (const Staged& entry : staged) StoreSlot(maps_, entry.service, entry.slot);
  for (const FrontendKey& key : removals) StoreSlot(maps_, held_.at(key).service, 0);
}

void SplitTable::Retire(const weir_split& split, uint32_t slot, const std::vector<Range>& kept,
                        bool keeps_cursor) {
  for (const weir_variant& variant : maps_.VariantsOf(split)) {
    const bool shared = std::any_of(
        kept.begin(), kept.end(), [&](const Range& range) { return range.first == variant.first_endpoint; });
    if (variant.endpoint_count > 0 && !shared)
      endpoints_.Free(variant.first_endpoint, variant.endpoint_count);
  }
  if (split.variant_count > WEIR_PAIR) {
    wide_.Free(split.wide, 1);
    if (!keeps_cursor) cursors_.Free(split.cursor, 1);
  }
  splits_.Free(slot, 1);
}

void SplitTable::Finish(const Change& change, const std::vector<Staged>& staged,
                        const std::vector<FrontendKey>& removals) {
  for (const Staged& entry : staged) {
    ResetGuard(SplitOf(entry.old), entry.service, entry.slot);
    if (entry.old != nullptr)
      Retire(*SplitOf(entry.old), entry.old->slot, entry.kept_ranges, entry.keeps_cursor);
    Hold(entry.frontend->key, entry.service, entry.slot);
  }
  for (const FrontendKey& key : removals) {
    const auto held = held_.find(key);
    maps_.vips.Remove(held->second.service);
    Retire(*SplitOf(&held->second), held->second.slot, {}, false);
    packet_users_ -= held->second.needs_packets ? 1 : 0;
    UseSeries(held->second, {});
    guarded_.erase(key);
    watched_.erase(key);
    held_.erase(held);
  }
  for (const Frontend& frontend : change.upserts) {
    Held& held = held_.at(frontend.key);
    std::vector<uint32_t> series;
    held.variants.clear();
    for (uint32_t index = 0; index < frontend.variants.size(); ++index) {
      held.variants.push_back({frontend.variants[index].revision, frontend.variants[index].weight});
      series.push_back(SeriesOf(frontend, index));
    }
    UseSeries(held, std::move(series));
  }
  const Uuid id = ParseUuid(change.controller_id).value_or(Uuid{});
  std::copy(id.begin(), id.end(), maps_.state[0].controller_id);
  StoreGeneration(maps_, change.generation);
}

}  // namespace weir::datapath
