#include "agent/datapath/split_table.h"

#include <algorithm>
#include <atomic>
#include <set>

#include "agent/datapath/grace.h"
#include "agent/datapath/phase.h"
#include "agent/datapath/wire.h"

namespace weir::datapath {
namespace {

void StoreSlot(const Maps& maps, uint32_t service, uint32_t slot) {
  // The one aligned store that puts a split in force; all it names was written before.
  std::atomic_ref<__u32>(maps.services[service].slot).store(slot, std::memory_order_release);
}

void StoreGeneration(const Maps& maps, uint64_t generation) {
  std::atomic_ref<__u64>(maps.state[0].generation).store(generation, std::memory_order_release);
}

/// Whether a split's cursor goes on under this plan.
bool SamePlan(const weir_split& split, const SplitPlan& plan) {
  if (split.variant_count != plan.variants.size()) return false;
  for (uint32_t place = 0; place < split.variant_count; ++place) {
    const weir_variant& variant = split.variants[place];
    if (variant.id != plan.variants[place].id || variant.weight != plan.variants[place].weight) return false;
  }
  return true;
}

Status Full(std::string_view map, uint64_t needed, uint64_t capacity, std::string_view flag) {
  return Error(absl::StatusCode::kResourceExhausted,
               "map {} is full: the change needs {} entries of {}; raise {} and start the agent again", map,
               needed, capacity, flag);
}

uint64_t PlannedEndpoints(const Frontend& frontend) {
  uint64_t count = 0;
  for (const PlannedVariant& variant : MakePlan(frontend).variants) {
    count += frontend.variants[variant.index].endpoints.size();
  }
  return count;
}

uint64_t HeldEndpoints(const weir_split& split) {
  uint64_t count = 0;
  for (uint32_t place = 0; place < split.variant_count; ++place)
    count += split.variants[place].endpoint_count;
  return count;
}

}  // namespace

Status SplitTable::Apply(const Change& change, uint32_t node_number) {
  RETURN_IF_ERROR(CheckChange(change));
  const std::vector<FrontendKey> removals = Removals(change);
  RETURN_IF_ERROR(CheckCapacity(change, removals));

  std::vector<Staged> staged;
  Status status = OkStatus();
  for (const Frontend& frontend : change.upserts) {
    if (IsInForce(frontend)) continue;
    status = Stage(frontend, change.generation, node_number, staged.emplace_back());
    if (!status.ok()) break;
  }
  if (status.ok()) status = InsertVips(staged);
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
      split.on_empty != static_cast<uint8_t>(frontend.on_empty)) {
    return false;
  }
  for (uint32_t place = 0; place < split.variant_count; ++place) {
    const weir_variant& variant = split.variants[place];
    if (variant.index != plan.variants[place].index) return false;
    if (!Holds(variant, frontend.variants[variant.index].endpoints)) return false;
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
  } else if (const auto service = services_.Allocate(1)) {
    staged.service = *service;
  } else {
    return Full("weir_services", services_.used() + 1, services_.capacity(), "--max-services");
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
  split.variant_count = static_cast<uint32_t>(plan.variants.size());
  RETURN_IF_ERROR(StageRanges(frontend, plan, staged, split));
  RETURN_IF_ERROR(StageCursor(plan, Phase(node_number, frontend.key), staged, split));
  maps_.splits[staged.slot] = split;
  return OkStatus();
}

Status SplitTable::StageRanges(const Frontend& frontend, const SplitPlan& plan, Staged& staged,
                               weir_split& split) {
  const weir_split* old = SplitOf(staged.old);
  for (uint32_t place = 0; place < plan.variants.size(); ++place) {
    const PlannedVariant& planned = plan.variants[place];
    const std::vector<SocketAddress>& endpoints = frontend.variants[planned.index].endpoints;
    weir_variant& variant = split.variants[place];
    variant = {.id = planned.id,
               .weight = planned.weight,
               .first_endpoint = 0,
               .endpoint_count = static_cast<uint32_t>(endpoints.size()),
               .index = planned.index};
    if (endpoints.empty()) continue;
    const weir_variant* before = nullptr;
    for (uint32_t i = 0; old != nullptr && i < old->variant_count; ++i) {
      if (old->variants[i].id == planned.id && Holds(old->variants[i], endpoints)) before = &old->variants[i];
    }
    if (before != nullptr) {
      variant.first_endpoint = before->first_endpoint;
      staged.kept_ranges.push_back({before->first_endpoint, before->endpoint_count});
      continue;
    }
    const auto first = endpoints_.Allocate(variant.endpoint_count);
    if (!first) {
      return Full("weir_endpoints", endpoints_.used() + uint64_t{variant.endpoint_count},
                  endpoints_.capacity(), "--max-endpoints");
    }
    staged.new_ranges.push_back({*first, variant.endpoint_count});
    variant.first_endpoint = *first;
    for (uint32_t i = 0; i < variant.endpoint_count; ++i) maps_.endpoints[*first + i] = ToWire(endpoints[i]);
  }
  return OkStatus();
}

Status SplitTable::StageCursor(const SplitPlan& plan, uint32_t phase, Staged& staged, weir_split& split) {
  if (plan.variants.empty()) return OkStatus();
  if (const weir_split* old = SplitOf(staged.old); old != nullptr && SamePlan(*old, plan)) {
    staged.keeps_cursor = true;
    split.cursor = old->cursor;
    split.offset = old->offset;
    split.first_pick = old->first_pick;
    return OkStatus();
  }
  const auto cursor = cursors_.Allocate(1);
  if (!cursor) return Full("weir_cursors", cursors_.used() + 1, cursors_.capacity(), "--max-services");
  staged.cursor = *cursor;
  split.cursor = *cursor;
  split.offset = Offset(plan, phase);
  split.first_pick = static_cast<uint8_t>(FirstPick(plan, phase));
  return maps_.WriteCursor(*cursor, weir_cursor{});
}

void SplitTable::Unstage(const Staged& staged) {
  for (const Range& range : staged.new_ranges) endpoints_.Free(range.first, range.count);
  if (staged.cursor != kNone) cursors_.Free(staged.cursor, 1);
  if (staged.slot != kNone) splits_.Free(staged.slot, 1);
  if (staged.old == nullptr && staged.service != kNone) services_.Free(staged.service, 1);
}

Status SplitTable::InsertVips(const std::vector<Staged>& staged) {
  // Their services have slot 0 until the flip: a reader that finds one passes the call unchanged.
  for (size_t i = 0; i < staged.size(); ++i) {
    if (staged[i].old != nullptr) continue;
    Status inserted = maps_.InsertVip(ToWire(staged[i].frontend->key), staged[i].service);
    if (inserted.ok()) continue;
    for (size_t undo = 0; undo < i; ++undo) {
      if (staged[undo].old == nullptr) RETURN_IF_ERROR(maps_.DeleteVip(ToWire(staged[undo].frontend->key)));
    }
    return inserted;
  }
  return OkStatus();
}

void SplitTable::Flip(const std::vector<Staged>& staged, const std::vector<FrontendKey>& removals) {
  for (const Staged& entry : staged) StoreSlot(maps_, entry.service, entry.slot);
  for (const FrontendKey& key : removals) StoreSlot(maps_, held_.at(key).service, 0);
}

void SplitTable::Retire(const weir_split& split, uint32_t slot, const std::vector<Range>& kept,
                        bool keeps_cursor) {
  for (uint32_t place = 0; place < split.variant_count; ++place) {
    const weir_variant& variant = split.variants[place];
    const bool shared = std::any_of(
        kept.begin(), kept.end(), [&](const Range& range) { return range.first == variant.first_endpoint; });
    if (variant.endpoint_count > 0 && !shared)
      endpoints_.Free(variant.first_endpoint, variant.endpoint_count);
  }
  if (split.cursor != 0 && !keeps_cursor) cursors_.Free(split.cursor, 1);
  splits_.Free(slot, 1);
}

void SplitTable::Finish(const Change& change, const std::vector<Staged>& staged,
                        const std::vector<FrontendKey>& removals) {
  for (const Staged& entry : staged) {
    if (entry.old != nullptr)
      Retire(*SplitOf(entry.old), entry.old->slot, entry.kept_ranges, entry.keeps_cursor);
    Held& held = held_[entry.frontend->key];
    held.service = entry.service;
    held.slot = entry.slot;
  }
  for (const FrontendKey& key : removals) {
    const auto held = held_.find(key);
    // A VIP left in the hash map does no harm: its service has no slot, or one whose key differs.
    if (!maps_.DeleteVip(ToWire(key)).ok()) ++stale_vips_;
    Retire(*SplitOf(&held->second), held->second.slot, {}, false);
    services_.Free(held->second.service, 1);
    held_.erase(held);
  }
  for (const Frontend& frontend : change.upserts) {
    std::vector<NamedVariant>& names = held_.at(frontend.key).variants;
    names.clear();
    for (const Variant& variant : frontend.variants) names.push_back({variant.revision, variant.weight});
  }
  const Uuid id = ParseUuid(change.controller_id).value_or(Uuid{});
  std::copy(id.begin(), id.end(), maps_.state[0].controller_id);
  StoreGeneration(maps_, change.generation);
}

}  // namespace weir::datapath
