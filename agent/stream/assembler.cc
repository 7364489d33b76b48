#include "agent/stream/assembler.h"

#include <algorithm>
#include <functional>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "agent/stream/convert.h"

namespace weir::stream {
namespace {

struct KeyHash {
  size_t operator()(const datapath::FrontendKey& key) const {
    const size_t rest = key.address.port | (static_cast<size_t>(key.protocol) << 16);
    return std::hash<IpAddress>{}(key.address.address) ^ (rest * 0x9e3779b97f4a7c15ULL);
  }
};
using KeySet = std::unordered_set<datapath::FrontendKey, KeyHash>;

/// The first key that occurs twice, among upserts, removals or both.
Status CheckKeys(const datapath::Change& change) {
  KeySet seen;
  seen.reserve(change.upserts.size() + change.removals.size());
  const auto twice = [](const datapath::FrontendKey& key) {
    return InvalidArgument("{}: found twice in one update, expected once", ToString(key));
  };
  for (const datapath::Frontend& frontend : change.upserts) {
    if (!seen.insert(frontend.key).second) return twice(frontend.key);
  }
  for (const datapath::FrontendKey& key : change.removals) {
    if (!seen.insert(key).second) return twice(key);
  }
  return OkStatus();
}

}  // namespace

void Merge(datapath::Change& base, datapath::Change next) {
  if (next.full) {
    base = std::move(next);
    return;
  }
  base.generation = next.generation;
  base.controller_id = std::move(next.controller_id);

  KeySet touched;
  for (const datapath::Frontend& frontend : next.upserts) touched.insert(frontend.key);
  std::erase_if(base.removals, [&](const auto& key) { return touched.contains(key); });
  KeySet removed;
  for (const datapath::FrontendKey& key : next.removals) {
    touched.insert(key);
    removed.insert(key);
  }
  std::erase_if(base.upserts, [&](const auto& frontend) { return touched.contains(frontend.key); });
  std::move(next.upserts.begin(), next.upserts.end(), std::back_inserter(base.upserts));
  if (base.full) return;  // what is not among the upserts goes anyway
  for (const datapath::FrontendKey& key : base.removals) removed.erase(key);
  base.removals.insert(base.removals.end(), removed.begin(), removed.end());
}

void Assembler::Begin(std::string controller_id, std::optional<uint64_t> held) {
  controller_id_ = std::move(controller_id);
  held_ = held;
  received_.reset();
  partial_.reset();
  refused_.reset();
  refused_unknown_ = false;
}

Status Assembler::CheckFollows(const v1::Update& update) const {
  const uint64_t generation = update.generation();
  if (partial_) {
    if (generation == partial_->generation && update.full() == partial_->full) return OkStatus();
    return FailedPrecondition("generation {} begins while parts of generation {} are missing", generation,
                              partial_->generation);
  }
  if (received_ && generation < *received_) {
    return FailedPrecondition("generation {} follows generation {} on one stream", generation, *received_);
  }
  if (update.full()) return OkStatus();
  const uint64_t base = update.base_generation();
  const bool upon_held = held_ && base == *held_;
  if (refused_unknown_ && !upon_held) {
    return FailedPrecondition("generation {} may build upon a generation that was refused", generation);
  }
  if (!received_ && !held_) return FailedPrecondition("generation {} is a delta upon nothing", generation);
  const uint64_t last = received_ ? *received_ : *held_;
  if (generation < last)
    return FailedPrecondition("generation {} is older than {}, which is held", generation, last);
  if (base != 0 && base != last && !upon_held) {
    return FailedPrecondition("generation {} builds upon {}, but {} is what came last", generation, base,
                              last);
  }
  return OkStatus();
}

Result<std::optional<Assembler::Complete>> Assembler::Add(const v1::Update& update) {
  RETURN_IF_ERROR(CheckFollows(update));
  if (!partial_) {
    partial_ = Partial{};
    partial_->generation = update.generation();
    partial_->full = update.full();
    partial_->change.generation = update.generation();
    partial_->change.controller_id = controller_id_;
    partial_->change.full = update.full();
  }
  if (partial_->error.ok()) partial_->error = AddContent(update);
  if (!partial_->error.ok()) partial_->change = {};  // not needed any more
  if (!update.last()) return std::optional<Complete>();
  return std::optional<Complete>(Finish());
}

Status Assembler::AddContent(const v1::Update& update) {
  datapath::Change& change = partial_->change;
  if (update.generation() == 0) return InvalidArgument("generation: found 0, expected 1 or more");
  if (update.full() && update.removals_size() > 0) {
    return InvalidArgument("removals: found {} in a full snapshot, expected none", update.removals_size());
  }
  const auto frontends = change.upserts.size() + change.removals.size() +
                         static_cast<size_t>(update.upserts_size()) +
                         static_cast<size_t>(update.removals_size());
  // A delta may replace everything: as many removals as upserts.
  if (frontends > limits_.max_frontends * (update.full() ? 1 : 2)) {
    return Error(absl::StatusCode::kResourceExhausted, "more than {} frontends: raise --max-services",
                 limits_.max_frontends);
  }
  for (const v1::Frontend& wire : update.upserts()) {
    ASSIGN_OR_RETURN(datapath::Frontend frontend, ToFrontend(wire));
    for (const datapath::Variant& variant : frontend.variants)
      partial_->endpoints += variant.endpoints.size();
    if (partial_->endpoints > limits_.max_endpoints) {
      return Error(absl::StatusCode::kResourceExhausted, "more than {} endpoints: raise --max-endpoints",
                   limits_.max_endpoints);
    }
    change.upserts.push_back(std::move(frontend));
  }
  for (const v1::FrontendKey& wire : update.removals()) {
    const auto key = ToKey(wire);
    if (!key.ok()) return Annotate(key.status(), "removals");
    change.removals.push_back(*key);
  }
  return OkStatus();
}

Assembler::Complete Assembler::Finish() {
  Partial partial = std::move(*partial_);
  partial_.reset();
  received_ = partial.generation;
  refused_unknown_ = false;  // CheckFollows: this one covers it
  if (partial.error.ok()) partial.error = CheckKeys(partial.change);
  if (!partial.error.ok()) {
    refused_unknown_ = true;
    return {partial.generation, Annotate(partial.error, fmt::format("generation {}", partial.generation))};
  }
  return {partial.generation, std::move(partial.change)};
}

datapath::Change Assembler::WithRefused(datapath::Change change) const {
  if (!refused_) return change;
  datapath::Change merged = *refused_;
  Merge(merged, std::move(change));
  return merged;
}

void Assembler::Applied(uint64_t generation) {
  held_ = generation;
  refused_.reset();
}

void Assembler::Refused(datapath::Change change) {
  if (change.upserts.size() + change.removals.size() > 2 * limits_.max_frontends) {
    refused_.reset();
    refused_unknown_ = true;
    return;
  }
  refused_ = std::move(change);
}

}  // namespace weir::stream
