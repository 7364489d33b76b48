#include "controller/model/objects.h"

namespace weir::model {
namespace {

template <typename... Visitors>
struct Overload : Visitors... {
  using Visitors::operator()...;
};
template <typename... Visitors>
Overload(Visitors...) -> Overload<Visitors...>;  // clang 14 does not deduce it for an aggregate

}  // namespace

std::string ToString(const ObjectKey& key) { return key.ns + "/" + key.name; }

std::string EndpointSlice::Revision(std::string_view label) const {
  auto found = labels.find(std::string(label));
  if (found == labels.end()) found = labels.find("weir.dev/revision");
  return found == labels.end() ? "" : found->second;
}

std::string_view KindOf(const Object& object) {
  return std::visit(Overload{[](const Service&) { return std::string_view("Service"); },
                             [](const EndpointSlice&) { return std::string_view("EndpointSlice"); },
                             [](const Rollout&) { return std::string_view("Rollout"); },
                             [](const TrafficSplit&) { return std::string_view("TrafficSplit"); },
                             [](const AnalysisTemplate&) { return std::string_view("AnalysisTemplate"); },
                             [](const Webhook&) { return std::string_view("Webhook"); }},
                    object);
}

const ObjectKey& KeyOf(const Object& object) {
  return std::visit([](const auto& any) -> const ObjectKey& { return any.key; }, object);
}

void ObjectSet::Put(const Object& object) {
  std::visit(Overload{[this](const Service& service) { services.insert_or_assign(service.key, service); },
                      [this](const EndpointSlice& slice) { slices.insert_or_assign(slice.key, slice); },
                      [this](const Rollout& rollout) { rollouts.insert_or_assign(rollout.key, rollout); },
                      [this](const TrafficSplit& split) { splits.insert_or_assign(split.key, split); },
                      [this](const AnalysisTemplate& added) { templates.insert_or_assign(added.key, added); },
                      [this](const Webhook& webhook) { webhooks.insert_or_assign(webhook.key, webhook); }},
             object);
}

std::optional<Object> ObjectSet::Get(std::string_view kind, const ObjectKey& key) const {
  const auto find = [&key](const auto& map) -> std::optional<Object> {
    const auto found = map.find(key);
    return found == map.end() ? std::nullopt : std::optional<Object>(found->second);
  };
  if (kind == "Service") return find(services);
  if (kind == "EndpointSlice") return find(slices);
  if (kind == "Rollout") return find(rollouts);
  if (kind == "TrafficSplit") return find(splits);
  if (kind == "AnalysisTemplate") return find(templates);
  if (kind == "Webhook") return find(webhooks);
  return std::nullopt;
}

bool ObjectSet::Remove(std::string_view kind, const ObjectKey& key) {
  if (kind == "Service") return services.erase(key) > 0;
  if (kind == "EndpointSlice") return slices.erase(key) > 0;
  if (kind == "Rollout") return rollouts.erase(key) > 0;
  if (kind == "TrafficSplit") return splits.erase(key) > 0;
  if (kind == "AnalysisTemplate") return templates.erase(key) > 0;
  if (kind == "Webhook") return webhooks.erase(key) > 0;
  return false;
}

}  // namespace weir::model
