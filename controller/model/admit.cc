#include "controller/model/admit.h"

#include <algorithm>
#include <set>
#include <utility>

#include "controller/model/set_rules.h"

namespace weir::model {
namespace {

std::string ToText(const std::vector<Breach>& breaches) {
  std::string text;
  for (const Breach& breach : breaches)
    text += (text.empty() ? "" : "; ") + breach.field + ": " + breach.text;
  return text;
}

void Refuse(std::string_view kind, const ObjectKey& key, std::string reason, Admission& admission) {
  admission.refused.insert_or_assign(ObjectId{std::string(kind), key}, std::move(reason));
}

/// Services, and the addresses that are theirs.
void AdmitServices(const ObjectSet& candidates, Admission& admission, VipIndex& vips) {
  const SetRules rules(admission.admitted, vips, Origin::kCluster);
  for (const Service* service : OldestFirst(candidates.services)) {
    if (const auto breaches = rules.Of(*service); !breaches.empty()) {
      Refuse("Service", service->key, ToText(breaches), admission);
      continue;
    }
    const Service& admitted = admission.admitted.services.emplace(service->key, *service).first->second;
    for (const IpAddress& address : admitted.cluster_ips) {
      for (const ServicePort& port : admitted.ports)
        vips.emplace(Dialled{address, port.port, port.protocol}, &admitted.key);
    }
  }
}

/// Whether the slice may be among the admitted ones.
bool AdmitSlice(const EndpointSlice& slice, const SetRules& rules, Admission& admission) {
  const auto breaches = rules.Of(slice);
  if (breaches.empty()) {
    admission.refused.erase(ObjectId{"EndpointSlice", slice.key});
  } else {
    Refuse("EndpointSlice", slice.key, ToText(breaches), admission);
  }
  return breaches.empty();
}

template <typename T>
void AdmitOwners(std::string_view kind, const std::map<ObjectKey, T>& candidates, SetRules& rules,
                 std::map<ObjectKey, T>& admitted, Admission& admission) {
  for (const T* object : OldestFirst(candidates)) {
    if (const auto breaches = rules.Of(*object); !breaches.empty()) {
      Refuse(kind, object->key, ToText(breaches), admission);
    } else {
      rules.Claim(*object);
      admitted.emplace(object->key, *object);
    }
  }
}

/// "found no Service shop/a; found no Service shop/b".
std::string ReasonOf(const RouteVerdict& verdict) {
  std::set<std::string> reasons;
  for (const auto& [index, accepted] : verdict.accepted) reasons.insert(accepted.message);
  std::string text;
  for (const std::string& reason : reasons) text += (text.empty() ? "" : "; ") + reason;
  return text;
}

void AdmitRoutes(const ObjectSet& candidates, Admission& admission) {
  ObjectSet& admitted = admission.admitted;
  // What routes claim depends on what is admitted before them, and on each other.
  admitted.routes = candidates.routes;
  admission.routes = ClaimsOf(admitted).routes;
  for (const auto& [id, verdict] : admission.routes) {
    if (verdict.accepted.empty() || verdict.AnyAccepted())
      continue;  // without a parent here it claims nothing
    Refuse(NameOf(id.kind), id.key, ReasonOf(verdict), admission);
    admitted.routes.erase(id);
  }
}

/// Everything but Services and their endpoints, which it looks at.
void AdmitDivisions(const ObjectSet& candidates, const VipIndex& vips, Admission& admission) {
  ObjectSet& admitted = admission.admitted;
  admitted.templates = candidates.templates;
  admitted.webhooks = candidates.webhooks;
  admitted.grants = candidates.grants;
  admitted.rollouts.clear();
  admitted.splits.clear();
  std::erase_if(admission.refused, [](const auto& entry) {
    return entry.first.kind != "Service" && entry.first.kind != "EndpointSlice";
  });
  SetRules rules(admitted, vips, Origin::kCluster);
  AdmitOwners("Rollout", candidates.rollouts, rules, admitted.rollouts, admission);
  AdmitOwners("TrafficSplit", candidates.splits, rules, admitted.splits, admission);
  AdmitRoutes(candidates, admission);
}

void AdmitAll(const ObjectSet& candidates, Admission& admission, VipIndex& vips) {
  AdmitServices(candidates, admission, vips);
  const SetRules rules(admission.admitted, vips, Origin::kCluster);
  for (const auto& [key, slice] : candidates.slices) {
    if (AdmitSlice(slice, rules, admission)) admission.admitted.slices.emplace(key, slice);
  }
  AdmitDivisions(candidates, vips, admission);
}

template <typename Map>
void Difference(const Map& before, const Map& after, AdmissionChanges& changes) {
  auto old_it = before.begin();
  auto new_it = after.begin();
  while (old_it != before.end() || new_it != after.end()) {
    const bool only_old = new_it == after.end() || (old_it != before.end() && old_it->first < new_it->first);
    const bool only_new = old_it == before.end() || (new_it != after.end() && new_it->first < old_it->first);
    if (only_old) {
      changes.removals.push_back({std::string(KindOf(Object(old_it->second))), old_it->second.key});
    } else if (only_new || !(old_it->second == new_it->second)) {
      changes.puts.emplace_back(new_it->second);
    }
    if (!only_new) ++old_it;
    if (!only_old) ++new_it;
  }
}

void DifferenceOfDivisions(const ObjectSet& before, const ObjectSet& after, AdmissionChanges& changes) {
  Difference(before.rollouts, after.rollouts, changes);
  Difference(before.splits, after.splits, changes);
  Difference(before.routes, after.routes, changes);
  Difference(before.templates, after.templates, changes);
  Difference(before.webhooks, after.webhooks, changes);
  Difference(before.grants, after.grants, changes);
}

}  // namespace

Admission Admit(const ObjectSet& candidates) {
  Admission admission;
  VipIndex vips;
  AdmitAll(candidates, admission, vips);
  return admission;
}

AdmissionChanges Admitter::Take(const AdmissionChanges& changes) {
  bool services = false, divisions = false;
  std::set<ObjectKey> slices;
  const auto note = [&](std::string_view kind, const ObjectKey& key) {
    if (kind == "EndpointSlice") {
      slices.insert(key);
    } else {
      (kind == "Service" ? services : divisions) = true;
    }
  };
  for (const ObjectId& id : changes.removals) {
    if (candidates_.Remove(id.kind, id.key)) note(id.kind, id.key);
  }
  for (const Object& object : changes.puts) {
    // What others change of an object, such as a Service's selector, often is nothing that is looked at here.
    if (candidates_.Get(KindOf(object), KeyOf(object)) == object) continue;
    candidates_.Put(object);
    note(KindOf(object), KeyOf(object));
  }

  AdmissionChanges outcome;
  if (services) {
    const Admission before = std::exchange(now_, {});
    vips_.clear();
    AdmitAll(candidates_, now_, vips_);
    Difference(before.admitted.services, now_.admitted.services, outcome);
    Difference(before.admitted.slices, now_.admitted.slices, outcome);
    DifferenceOfDivisions(before.admitted, now_.admitted, outcome);
    return outcome;
  }
  const SetRules rules(now_.admitted, vips_, Origin::kCluster);
  for (const ObjectKey& key : slices) {
    const auto candidate = candidates_.slices.find(key);
    const bool exists = candidate != candidates_.slices.end();
    if (!exists) now_.refused.erase(ObjectId{"EndpointSlice", key});
    if (exists && AdmitSlice(candidate->second, rules, now_)) {
      const auto [admitted, is_new] = now_.admitted.slices.try_emplace(key);
      if (!is_new && admitted->second == candidate->second) continue;  // gone and back
      admitted->second = candidate->second;
      outcome.puts.emplace_back(candidate->second);
    } else if (now_.admitted.slices.erase(key) > 0) {
      outcome.removals.push_back({"EndpointSlice", key});
    }
  }
  if (!divisions) return outcome;
  ObjectSet before;
  before.rollouts = now_.admitted.rollouts;
  before.splits = now_.admitted.splits;
  before.routes = now_.admitted.routes;
  before.templates = now_.admitted.templates;
  before.webhooks = now_.admitted.webhooks;
  before.grants = now_.admitted.grants;
  AdmitDivisions(candidates_, vips_, now_);
  DifferenceOfDivisions(before, now_.admitted, outcome);
  return outcome;
}

}  // namespace weir::model
