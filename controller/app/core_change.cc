// Objects that come, change and go: one transaction, all or nothing.
#include <algorithm>
#include <set>
#include <utility>

#include "controller/app/core.h"
#include "controller/model/manifest.h"

namespace weir::app {
namespace {

constexpr std::string_view kRollout = "Rollout";

store::ObjectKey StoreKey(std::string_view kind, const ObjectKey& key) {
  return {std::string(kind), key.ns, key.name};
}

/// The services that a route divides, or wants to. `leads_to`: only if it leads to this namespace.
void InsertParents(const model::Route& route, const std::optional<std::string>& leads_to,
                   std::set<ObjectKey>& services) {
  const auto leads_there = [&](const model::BackendRef& backend) { return backend.ns == *leads_to; };
  if (leads_to && !std::any_of(route.backends.begin(), route.backends.end(), leads_there)) return;
  for (const model::ParentRef& parent : route.parents) {
    if (parent.IsService()) services.insert({parent.ns.value_or(route.key.ns), parent.name});
  }
}

bool OnlySlices(const ObjectChanges& changes) {
  return std::all_of(changes.removals.begin(), changes.removals.end(),
                     [](const auto& removal) { return removal.first == "EndpointSlice"; }) &&
         std::all_of(changes.puts.begin(), changes.puts.end(),
                     [](const auto& put) { return std::holds_alternative<model::EndpointSlice>(put.first); });
}

}  // namespace

/*
 * The objects as they are going to be, in place for the length of a transaction: a copy of all would cost as
 * much as all for a change of one. One thread: nobody looks meanwhile.
 */
class Core::Placement {
 public:
  explicit Placement(model::ObjectSet& objects) : objects_(objects) {}
  ~Placement() { Undo(); }
  Placement(const Placement&) = delete;
  Placement& operator=(const Placement&) = delete;

  void Place(const ObjectChanges& changes) {
    for (const auto& [kind, key] : changes.removals) {
      before_.push_back({std::string(kind), key, objects_.Get(kind, key)});
      objects_.Remove(kind, key);
    }
    for (const auto& [object, yaml] : changes.puts) {
      const std::string_view kind = model::KindOf(object);
      before_.push_back({std::string(kind), model::KeyOf(object), objects_.Get(kind, model::KeyOf(object))});
      objects_.Put(object);
    }
  }

  /// Everything is as it was before Place().
  void Undo() {
    for (auto entry = before_.rbegin(); entry != before_.rend(); ++entry) {
      if (entry->object) {
        objects_.Put(*entry->object);
      } else {
        objects_.Remove(entry->kind, entry->key);
      }
    }
    before_.clear();
  }
  void Keep() { before_.clear(); }

 private:
  struct Before {
    std::string kind;
    ObjectKey key;
    std::optional<model::Object> object;
  };
  model::ObjectSet& objects_;
  std::vector<Before> before_;
};

Status Core::Check(const ObjectChanges& changes) {
  Placement placement(objects_);
  placement.Place(changes);
  vips_.reset();
  return model::ValidateSet(objects_, origin_);
}

void Core::AffectedServices(const compiler::Compiler& compiler, const model::ObjectSet& objects,
                            std::string_view kind, const ObjectKey& key,
                            std::set<ObjectKey>& services) const {
  std::optional<std::string> slices_of;
  if (kind == "Service") {
    services.insert(key);
    slices_of = key.name;
  } else if (kind == "EndpointSlice") {
    if (auto found = objects.slices.find(key); found != objects.slices.end())
      slices_of = found->second.service;
  } else if (kind == "Rollout") {
    if (auto found = objects.rollouts.find(key); found != objects.rollouts.end()) {
      InsertServices(found->second, services);
    }
  } else if (kind == "TrafficSplit") {
    if (auto found = objects.splits.find(key); found != objects.splits.end())
      services.insert({key.ns, found->second.service});
  } else if (kind == "ReferenceGrant") {
    for (const auto& [id, route] : objects.routes) InsertParents(route, key.ns, services);
  } else {
    // Templates and webhooks decide on no frontend; of a route with the name there may be one of each kind.
    for (const auto& [id, route] : objects.routes) {
      if (id.key == key && kind == model::NameOf(id.kind)) InsertParents(route, std::nullopt, services);
    }
  }
  if (!slices_of) return;
  for (const ObjectKey& dependent : compiler.Dependents({key.ns, *slices_of})) services.insert(dependent);
}

Status Core::Change(const ObjectChanges& changes) {
  Placement placement(objects_);
  Status status = ChangePlaced(changes, placement);
  if (status.ok()) {
    placement.Keep();
    return status;
  }
  placement.Undo();
  compiler_.Index(objects_);
  vips_.reset();
  return status;
}

/// Endpoints come and go all the time, in clusters of any size: their changes cost what they touch.
Status Core::ValidatePlaced(const ObjectChanges& changes, Transaction& transaction) {
  if (!OnlySlices(changes)) {
    vips_.reset();
    RETURN_IF_ERROR(model::ValidateSet(objects_, origin_));
    transaction.compiler.emplace(options_);
    transaction.compiler->Index(objects_);
    return OkStatus();
  }
  if (!vips_) vips_ = model::MakeVipIndex(objects_);
  std::vector<ObjectKey> slices;
  for (const auto& [object, yaml] : changes.puts) slices.push_back(model::KeyOf(object));
  return model::ValidateSlices(objects_, *vips_, slices);
}

Status Core::ChangePlaced(const ObjectChanges& changes, Placement& placement) {
  Transaction transaction;
  transaction.objects = true;
  std::set<ObjectKey>& services = transaction.services;
  const bool only_slices = OnlySlices(changes);
  const auto affect = [&](std::string_view kind, const ObjectKey& key) {
    const compiler::Compiler& compiler = transaction.compiler ? *transaction.compiler : compiler_;
    AffectedServices(compiler, objects_, kind, key, services);
  };
  const auto for_each = [&](const auto& visit) {
    for (const auto& [kind, key] : changes.removals) visit(kind, key);
    for (const auto& [object, yaml] : changes.puts) visit(model::KindOf(object), model::KeyOf(object));
  };
  for_each([&](std::string_view kind, const ObjectKey& key) {
    affect(kind, key);
    if (!only_slices) return;
    const auto slice = objects_.slices.find(key);
    if (slice != objects_.slices.end()) compiler_.IndexSlice(key, &slice->second.service, nullptr);
  });
  placement.Place(changes);
  RETURN_IF_ERROR(ValidatePlaced(changes, transaction));
  for_each([&](std::string_view kind, const ObjectKey& key) {
    const auto slice = objects_.slices.find(key);
    if (only_slices && slice != objects_.slices.end())
      compiler_.IndexSlice(key, nullptr, &slice->second.service);
    affect(kind, key);
  });
  for (const auto& [kind, key] : changes.removals) {
    transaction.yaml[StoreKey(kind, key)] = std::nullopt;
    if (kind == kRollout) transaction.rollouts[key] = std::nullopt;
  }
  std::set<ObjectKey> observe, back;
  for (const auto& [object, yaml] : changes.puts) {
    const ObjectKey& key = model::KeyOf(object);
    transaction.yaml[StoreKey(model::KindOf(object), key)] = yaml;
    if (std::holds_alternative<model::Rollout>(object)) {
      observe.insert(key);
      if (EntryOf(transaction, key) != nullptr) continue;
      const auto parked = parked_.find(key);
      transaction.rollouts[key] = parked == parked_.end() ? RolloutEntry{} : parked->second;
      if (parked != parked_.end()) back.insert(key);
    }
  }
  for (const auto& [key, rollout] : objects_.rollouts) {
    if (services.contains({key.ns, rollout.service})) observe.insert(key);
  }
  for (const ObjectKey& key : observe) ObserveEndpoints(transaction, key);
  for (const auto& [object, yaml] : changes.puts) {
    if (const auto* rollout = std::get_if<model::Rollout>(&object)) {
      Step(transaction, rollout->key, engine::SpecChanged{rollout->spec});
    }
  }
  for (const ObjectKey& key : back) Step(transaction, key, engine::Restarted{});
  return Commit(std::move(transaction));
}

}  // namespace weir::app
