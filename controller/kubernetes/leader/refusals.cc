#include "controller/kubernetes/leader/refusals.h"

#include <algorithm>
#include <array>

namespace weir::kubernetes {
namespace {

// A route's status says it.
constexpr std::array<std::string_view, 4> kKinds = {"Rollout", "TrafficSplit", "AnalysisTemplate", "Webhook"};

}  // namespace

void Refusals::Put(const boost::json::object& object) {
  const std::string kind(Text(object, {"kind"}));
  if (std::ranges::find(kKinds, kind) == kKinds.end()) return;
  const ObjectKey key = KeyOf(object);
  Entry& entry = objects_[{kind, key}];
  EventSubject subject{std::string(Text(object, {"apiVersion"})), kind, key,
                       std::string(Text(object, {"metadata", "uid"}))};
  if (subject.uid != entry.subject.uid) entry.told.clear();  // another one of that name
  entry.subject = std::move(subject);
}

void Refusals::Remove(std::string_view kind, const ObjectKey& key) {
  objects_.erase({std::string(kind), key});
}

void Refusals::Look(const Catalog& catalog) {
  for (auto& [id, entry] : objects_) {
    const std::string why = catalog.Refusal(id.kind, id.key);
    if (why == entry.told) continue;
    entry.told = why;
    if (!why.empty()) tell_(entry.subject, why);
  }
}

}  // namespace weir::kubernetes
