#include "controller/kubernetes/source/catalog.h"

#include <algorithm>

#include "controller/model/json_object.h"

namespace weir::kubernetes {
namespace {

namespace json = boost::json;

constexpr std::string_view kServiceName = "kubernetes.io/service-name";

/// Only these members stay.
void Retain(json::object& object, std::initializer_list<std::string_view> names) {
  std::vector<std::string> gone;
  for (const auto& member : object) {
    if (std::ranges::find(names, std::string_view(member.key())) == names.end())
      gone.emplace_back(member.key());
  }
  for (const std::string& name : gone) object.erase(name);
}

json::object* MemberOf(json::object& object, std::string_view name) {
  json::value* member = object.if_contains(name);
  return member != nullptr ? member->if_object() : nullptr;
}

json::array* ArrayOf(json::object& object, std::string_view name) {
  json::value* member = object.if_contains(name);
  return member != nullptr ? member->if_array() : nullptr;
}

/// The pod an endpoint is; nullopt: it is none.
std::optional<ObjectKey> PodOf(const json::value& endpoint, const std::string& ns) {
  if (Text(endpoint, {"targetRef", "kind"}) != "Pod") return std::nullopt;
  return ObjectKey{ns, std::string(Text(endpoint, {"targetRef", "name"}))};
}

/// Of a Service itself, or a slice; nullopt: another kind of object.
std::optional<ObjectKey> ServiceOf(const model::Object& object) {
  if (const auto* service = std::get_if<model::Service>(&object)) return service->key;
  if (const auto* slice = std::get_if<model::EndpointSlice>(&object))
    return ObjectKey{slice->key.ns, slice->service};
  return std::nullopt;
}

bool Wants(const model::Object& object) {
  return std::holds_alternative<model::TrafficSplit>(object) || std::holds_alternative<model::Route>(object);
}

}  // namespace

bool TrimService(json::object& service) {
  service.erase("status");
  if (json::object* metadata = MemberOf(service, "metadata")) {
    Retain(*metadata, {"name", "namespace", "resourceVersion", "creationTimestamp", "annotations", "labels"});
    if (json::object* annotations = MemberOf(*metadata, "annotations")) Retain(*annotations, {"weir.dev/l7"});
    metadata->erase("labels");
  }
  return true;
}

bool TrimSlice(json::object& slice) {
  Retain(slice, {"apiVersion", "kind", "metadata", "addressType", "ports", "endpoints"});
  json::object* metadata = MemberOf(slice, "metadata");
  if (metadata == nullptr) return false;
  Retain(*metadata, {"name", "namespace", "resourceVersion", "labels"});
  json::object* labels = MemberOf(*metadata, "labels");
  if (labels == nullptr || !labels->contains(kServiceName)) return false;  // of nothing that clients dial
  Retain(*labels, {kServiceName});
  json::array* endpoints = ArrayOf(slice, "endpoints");
  if (endpoints == nullptr) return true;
  for (json::value& endpoint : *endpoints) {
    if (!endpoint.is_object()) continue;
    Retain(endpoint.get_object(), {"addresses", "conditions", "targetRef"});
    if (json::object* target = MemberOf(endpoint.get_object(), "targetRef"))
      Retain(*target, {"kind", "name", "namespace"});
  }
  return true;
}

void Catalog::Put(const json::object& object) {
  const std::string kind(Text(object, {"kind"}));
  const ObjectKey key = KeyOf(object);
  auto read = model::ReadJson(object, Text(object, {"apiVersion"}), kind);
  if (!read.ok()) {
    unreadable_[{kind, key}] = Message(read.status());
    return;
  }
  unreadable_.erase({kind, key});
  if (auto* service = std::get_if<model::Service>(&*read)) {
    services_[key] = std::move(*service);
    dirty_services_.insert(key);
    return;
  }
  if (auto* rollout = std::get_if<model::Rollout>(&*read)) {
    if (rollout->workload) rollout->spec.revision = revisions_[key];
    rollouts_[key] = *rollout;
    wanted_changed_ = true;
  } else if (Wants(*read)) {
    others_.insert_or_assign({kind, key}, *read);
    wanted_changed_ = true;
  }
  pending_.puts.push_back(*std::move(read));
}

void Catalog::PutSlice(const json::object& trimmed) {
  const ObjectKey key = KeyOf(trimmed);
  Slice& slice = slices_[key];
  const ObjectKey service{key.ns, std::string(Text(trimmed, {"metadata", "labels", kServiceName}))};
  if (service != slice.service) {
    if (const auto of = slices_of_.find(slice.service); of != slices_of_.end()) of->second.erase(key);
    slices_of_[service].insert(key);
    slice.service = service;
  }
  slice.json = json::serialize(trimmed);
  std::set<ObjectKey> pods;
  if (const json::value* endpoints = Find(trimmed, {"endpoints"});
      endpoints != nullptr && endpoints->is_array()) {
    for (const json::value& endpoint : endpoints->get_array()) {
      if (auto pod = PodOf(endpoint, key.ns)) pods.insert(*std::move(pod));
    }
  }
  pods_.SetSlice(key, pods);
  dirty_slices_.insert(key);
}

void Catalog::PutPod(const ObjectKey& pod, std::optional<PodLabels> labels) {
  if (!pods_.Put(pod, std::move(labels))) return;
  for (const ObjectKey& slice : pods_.SlicesOf(pod)) {
    // Most pods belong to Services that nobody divides.
    const auto wanted = wanted_.find(slices_.at(slice).service);
    if (wanted != wanted_.end() && !wanted->second.empty()) dirty_slices_.insert(slice);
  }
}

void Catalog::Remove(std::string_view kind, const ObjectKey& key) {
  const ObjectId id{std::string(kind), key};
  unreadable_.erase(id);
  if (kind == "Service") {
    if (services_.erase(key) > 0) dirty_services_.insert(key);
  } else if (kind == "EndpointSlice") {
    const auto slice = slices_.find(key);
    if (slice == slices_.end()) return;
    const auto of = slices_of_.find(slice->second.service);
    of->second.erase(key);
    if (of->second.empty()) slices_of_.erase(of);
    pods_.SetSlice(key, {});
    dirty_slices_.insert(key);
    slices_.erase(slice);
  } else {
    if (kind == "Rollout") {
      rollouts_.erase(key);
      revisions_.erase(key);
    }
    others_.erase(id);
    wanted_changed_ = true;
    // Removals are taken up before puts: what was put before it was removed would come back.
    std::erase_if(pending_.puts, [&](const model::Object& object) {
      return model::KindOf(object) == kind && model::KeyOf(object) == key;
    });
    pending_.removals.push_back(id);
  }
}

void Catalog::SetRevision(const ObjectKey& rollout, const std::string& revision) {
  const auto found = rollouts_.find(rollout);
  std::string& present = revisions_[rollout];
  if (present == revision) return;
  present = revision;
  if (found == rollouts_.end()) return;
  found->second.spec.revision = revision;
  pending_.puts.push_back(found->second);
}

std::set<std::string> Catalog::RevisionLabels() const {
  std::set<std::string> labels;
  for (const auto& [key, rollout] : rollouts_) labels.insert(rollout.revision_label);
  return labels;
}

std::set<std::string> Catalog::ConsumerNamespaces() const {
  std::set<std::string> namespaces;
  for (const auto& [id, object] : others_) {
    const auto* route = std::get_if<model::Route>(&object);
    if (route == nullptr) continue;
    for (const model::ParentRef& parent : route->parents) {
      if (parent.IsService() && parent.ns.value_or(id.key.ns) != id.key.ns) namespaces.insert(id.key.ns);
    }
  }
  return namespaces;
}

std::string Catalog::Refusal(const std::string& kind, const ObjectKey& key) const {
  if (const auto found = unreadable_.find({kind, key}); found != unreadable_.end()) return found->second;
  const auto found = admitter_.refused().find({kind, key});
  return found == admitter_.refused().end() ? "" : found->second;
}

Catalog::Services Catalog::WantedServices() const {
  Services wanted;
  for (const auto& [id, object] : others_) {
    if (const auto* split = std::get_if<model::TrafficSplit>(&object)) {
      wanted[{id.key.ns, split->service}];
      for (const auto& backend : split->backends) wanted[{id.key.ns, backend.service}];
    } else if (const auto* route = std::get_if<model::Route>(&object)) {
      for (const auto& parent : route->parents) {
        if (parent.IsService()) wanted[{parent.ns.value_or(id.key.ns), parent.name}];
      }
      for (const auto& backend : route->backends) {
        if (backend.IsService()) wanted[{backend.ns, backend.name}];
      }
    }
  }
  for (const auto& [key, rollout] : rollouts_) {
    wanted[{key.ns, rollout.service}] = rollout.revision_label;
    if (!rollout.preview_service.empty()) wanted[{key.ns, rollout.preview_service}] = rollout.revision_label;
  }
  return wanted;
}

void Catalog::MarkSlicesOf(const ObjectKey& service) {
  if (const auto slices = slices_of_.find(service); slices != slices_of_.end())
    dirty_slices_.insert(slices->second.begin(), slices->second.end());
}

/// Services that have come to be wanted, are wanted no more, or have changed.
void Catalog::TakeServices(const Services& wanted, model::AdmissionChanges& changes) {
  for (const auto& [service, label] : wanted_) {
    if (wanted.contains(service)) continue;
    dirty_services_.insert(service);
    MarkSlicesOf(service);
  }
  for (const auto& [service, label] : wanted) {
    const auto before = wanted_.find(service);
    if (before != wanted_.end() && before->second == label) continue;
    dirty_services_.insert(service);
    MarkSlicesOf(service);
  }
  for (const ObjectKey& key : std::exchange(dirty_services_, {})) {
    const auto service = services_.find(key);
    if (service != services_.end() && wanted.contains(key)) {
      changes.puts.push_back(service->second);
    } else {
      changes.removals.push_back({"Service", key});
    }
  }
}

void Catalog::DeriveSlices(const ObjectKey& key, const std::string& label,
                           std::map<ObjectKey, model::EndpointSlice>& out) {
  const auto parsed = ParseJson(slices_.at(key).json);
  if (!parsed.ok()) return;  // it was JSON when it came
  json::object slice = parsed->get_object();
  std::map<std::string, json::array> by_revision;
  if (label.empty()) {
    const json::array* all = ArrayOf(slice, "endpoints");
    by_revision[""] = all != nullptr ? *all : json::array();
  } else if (const json::array* all = ArrayOf(slice, "endpoints")) {
    for (const json::value& endpoint : *all) {
      const auto pod = PodOf(endpoint, key.ns);
      const std::string* revision = pod ? pods_.Find(*pod, label) : nullptr;
      if (revision != nullptr) by_revision[*revision].push_back(endpoint);
    }
  }
  unreadable_.erase({"EndpointSlice", key});
  for (auto& [revision, endpoints] : by_revision) {
    json::object part = slice;
    part["endpoints"] = std::move(endpoints);
    json::object& metadata = part["metadata"].get_object();
    if (!label.empty()) {
      metadata["name"] = key.name + "." + revision;
      metadata["labels"].get_object()[label] = revision;
    }
    auto read = model::ReadJson(part, "discovery.k8s.io/v1", "EndpointSlice");
    if (!read.ok()) {
      unreadable_[{"EndpointSlice", key}] = Message(read.status());
      continue;
    }
    auto* derived = std::get_if<model::EndpointSlice>(&*read);
    if (derived != nullptr) out.emplace(derived->key, std::move(*derived));
  }
}

void Catalog::TakeSlices(const Services& wanted, model::AdmissionChanges& changes) {
  for (const ObjectKey& key : std::exchange(dirty_slices_, {})) {
    std::map<ObjectKey, model::EndpointSlice> derived;
    const auto slice = slices_.find(key);
    if (slice != slices_.end()) {
      if (const auto service = wanted.find(slice->second.service); service != wanted.end())
        DeriveSlices(key, service->second, derived);
    }
    std::set<ObjectKey>& given = given_of_[key];
    for (const ObjectKey& before : given) {
      if (!derived.contains(before)) changes.removals.push_back({"EndpointSlice", before});
    }
    given.clear();
    for (auto& [name, part] : derived) {
      given.insert(name);
      changes.puts.push_back(std::move(part));
    }
    if (given.empty()) given_of_.erase(key);
  }
}

model::AdmissionChanges Catalog::Take() {
  model::AdmissionChanges changes = std::exchange(pending_, {});
  Services wanted = std::exchange(wanted_changed_, false) ? WantedServices() : wanted_;
  TakeServices(wanted, changes);
  TakeSlices(wanted, changes);
  wanted_ = std::move(wanted);
  const auto is_slice = [](const auto& kind) { return kind == "EndpointSlice"; };
  const bool slices_only =
      std::ranges::all_of(changes.puts, is_slice, [](const auto& object) { return model::KindOf(object); }) &&
      std::ranges::all_of(changes.removals, is_slice, &ObjectId::kind);
  return OnlyNamed(admitter_.Take(changes), slices_only);
}

std::set<ObjectKey> Catalog::NamedServices() const {
  const model::ObjectSet& admitted = admitter_.admitted();
  std::set<ObjectKey> named;
  for (const auto& [key, rollout] : admitted.rollouts) {
    named.insert({key.ns, rollout.service});
    if (!rollout.preview_service.empty()) named.insert({key.ns, rollout.preview_service});
  }
  for (const auto& [key, split] : admitted.splits) {
    named.insert({key.ns, split.service});
    for (const auto& backend : split.backends) named.insert({key.ns, backend.service});
  }
  for (const auto& [id, verdict] : admitter_.routes()) {
    const auto route = admitted.routes.find(id);
    if (route == admitted.routes.end() || !verdict.AnyAccepted()) continue;
    for (const auto& [index, accepted] : verdict.accepted) {
      const auto& parent = route->second.parents.at(index);
      if (accepted.holds) named.insert({parent.ns.value_or(id.key.ns), parent.name});
    }
    for (const auto& backend : route->second.backends) {
      if (backend.IsService()) named.insert({backend.ns, backend.name});
    }
  }
  return named;
}

model::AdmissionChanges Catalog::OnlyNamed(model::AdmissionChanges changes, bool slices_only) {
  const std::set<ObjectKey> before = slices_only ? named_ : std::exchange(named_, NamedServices());
  std::erase_if(changes.puts, [&](const model::Object& object) {
    const auto service = ServiceOf(object);
    return service && (!named_.contains(*service) || !before.contains(*service));
  });
  const model::ObjectSet& admitted = admitter_.admitted();
  const auto for_each_slice = [&](const ObjectKey& service, const auto& visit) {
    const auto slices = slices_of_.find(service);
    if (slices == slices_of_.end()) return;
    for (const ObjectKey& slice : slices->second) {
      const auto given = given_of_.find(slice);
      if (given == given_of_.end()) continue;
      for (const ObjectKey& part : given->second) {
        if (const auto found = admitted.slices.find(part); found != admitted.slices.end())
          visit(found->second);
      }
    }
  };
  for (const ObjectKey& service : named_) {  // whole, as nothing of it was given
    if (before.contains(service)) continue;
    if (const auto found = admitted.services.find(service); found != admitted.services.end())
      changes.puts.emplace_back(found->second);
    for_each_slice(service, [&](const model::EndpointSlice& slice) { changes.puts.emplace_back(slice); });
  }
  for (const ObjectKey& service : before) {
    if (named_.contains(service) || !admitted.services.contains(service)) continue;
    changes.removals.push_back({"Service", service});
    for_each_slice(service, [&](const model::EndpointSlice& slice) {
      changes.removals.push_back({"EndpointSlice", slice.key});
    });
  }
  // What was not given is not taken away.
  std::erase_if(changes.removals, [&](const ObjectId& id) {
    if (id.kind == "Service") return !before.contains(id.key);
    return id.kind == "EndpointSlice" && given_slices_.erase(id.key) == 0;
  });
  for (const model::Object& object : changes.puts) {
    if (const auto* slice = std::get_if<model::EndpointSlice>(&object)) given_slices_.insert(slice->key);
  }
  return changes;
}

model::ObjectSet Catalog::Given() const {
  model::ObjectSet given = admitter_.admitted();
  std::erase_if(given.services, [&](const auto& entry) { return !named_.contains(entry.first); });
  std::erase_if(given.slices, [&](const auto& entry) { return !given_slices_.contains(entry.first); });
  return given;
}

}  // namespace weir::kubernetes
