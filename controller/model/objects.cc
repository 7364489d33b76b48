#include "controller/model/objects.h"

#include <algorithm>
#include <array>

namespace weir::model {
namespace {

template <typename... Visitors>
struct Overload : Visitors... {
  using Visitors::operator()...;
};
template <typename... Visitors>
Overload(Visitors...) -> Overload<Visitors...>;  // clang 14 does not deduce it for an aggregate

constexpr std::array<RouteKind, 3> kRouteKinds = {RouteKind::kHttp, RouteKind::kGrpc, RouteKind::kTcp};
constexpr std::string_view kGatewayGroup = "gateway.networking.k8s.io";

bool IsCore(std::string_view group) { return group.empty() || group == "core"; }

std::optional<RouteKind> RouteKindOf(std::string_view kind) {
  const auto found = std::ranges::find(kRouteKinds, kind, NameOf);
  return found == kRouteKinds.end() ? std::nullopt : std::optional(*found);
}

}  // namespace

std::string_view NameOf(RouteKind kind) {
  switch (kind) {
    case RouteKind::kHttp:
      return "HTTPRoute";
    case RouteKind::kGrpc:
      return "GRPCRoute";
    case RouteKind::kTcp:
      return "TCPRoute";
  }
  return "";
}

std::string ToString(const RouteId& id) { return std::string(NameOf(id.kind)) + " " + ToString(id.key); }

bool ParentRef::IsService() const {
  return IsCore(group.value_or(std::string(kGatewayGroup))) && kind.value_or("Gateway") == "Service";
}

bool BackendRef::IsService() const { return IsCore(group) && kind == "Service"; }

bool ReferenceGrant::Permits(const RouteId& route, const BackendRef& backend) const {
  const bool known = std::ranges::any_of(from, [&route](const From& f) {
    return f.group == kGatewayGroup && f.kind == NameOf(route.kind) && f.ns == route.key.ns;
  });
  return known && std::ranges::any_of(to, [&backend](const To& t) {
           return IsCore(t.group) && t.kind == backend.kind && (t.name.empty() || t.name == backend.name);
         });
}

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
                             [](const Webhook&) { return std::string_view("Webhook"); },
                             [](const Route& route) { return NameOf(route.kind); },
                             [](const ReferenceGrant&) { return std::string_view("ReferenceGrant"); }},
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
                      [this](const Webhook& webhook) { webhooks.insert_or_assign(webhook.key, webhook); },
                      [this](const Route& route) { routes.insert_or_assign(route.id(), route); },
                      [this](const ReferenceGrant& grant) { grants.insert_or_assign(grant.key, grant); }},
             object);
}

std::optional<Object> ObjectSet::Get(std::string_view kind, const ObjectKey& key) const {
  const auto find_by = [](const auto& map, const auto& id) -> std::optional<Object> {
    const auto found = map.find(id);
    return found == map.end() ? std::nullopt : std::optional<Object>(found->second);
  };
  const auto find = [&](const auto& map) { return find_by(map, key); };
  if (kind == "Service") return find(services);
  if (kind == "EndpointSlice") return find(slices);
  if (kind == "Rollout") return find(rollouts);
  if (kind == "TrafficSplit") return find(splits);
  if (kind == "AnalysisTemplate") return find(templates);
  if (kind == "Webhook") return find(webhooks);
  if (kind == "ReferenceGrant") return find(grants);
  if (const auto route = RouteKindOf(kind)) return find_by(routes, RouteId{*route, key});
  return std::nullopt;
}

bool ObjectSet::Remove(std::string_view kind, const ObjectKey& key) {
  if (kind == "Service") return services.erase(key) > 0;
  if (kind == "EndpointSlice") return slices.erase(key) > 0;
  if (kind == "Rollout") return rollouts.erase(key) > 0;
  if (kind == "TrafficSplit") return splits.erase(key) > 0;
  if (kind == "AnalysisTemplate") return templates.erase(key) > 0;
  if (kind == "Webhook") return webhooks.erase(key) > 0;
  if (kind == "ReferenceGrant") return grants.erase(key) > 0;
  if (const auto route = RouteKindOf(kind)) return routes.erase(RouteId{*route, key}) > 0;
  return false;
}

}  // namespace weir::model
