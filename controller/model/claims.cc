#include "controller/model/claims.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <tuple>

#include "common/fnv1a.h"
#include "controller/model/kinds.h"
#include "controller/model/yaml_reader.h"

namespace weir::model {
namespace {

constexpr std::string_view kUnsupportedValue = "UnsupportedValue";
constexpr std::string_view kNoMatchingParent = "NoMatchingParent";
constexpr std::string_view kConflicted = "Conflicted";  // Weir's own: Gateway API has no word for it

Finding Refused(std::string_view reason, std::string message) {
  return {false, std::string(reason), std::move(message)};
}

/// Whether the reference leads somewhere, and if not, why not.
Finding Resolve(const ObjectSet& objects, const RouteId& route, const BackendRef& backend) {
  if (!backend.IsService()) {
    return Refused("InvalidKind",
                   fmt::format("{} {}: found kind {}{}{}, expected Service", backend.kind, backend.name,
                               backend.group, backend.group.empty() ? "" : "/", backend.kind));
  }
  const ObjectKey key{backend.ns, backend.name};
  if (backend.ns != route.key.ns) {
    bool permitted = false;
    for (auto it = objects.grants.lower_bound({backend.ns, ""});
         it != objects.grants.end() && it->first.ns == backend.ns; ++it)
      permitted = permitted || it->second.Permits(route, backend);
    if (!permitted) {
      return Refused("RefNotPermitted",
                     fmt::format("Service {}: found no ReferenceGrant in namespace {} that lets {}s of "
                                 "namespace {} lead there",
                                 ToString(key), backend.ns, NameOf(route.kind), route.key.ns));
    }
  }
  const auto service = objects.services.find(key);
  if (service == objects.services.end())
    return Refused("BackendNotFound", fmt::format("found no Service {}", ToString(key)));
  if (!backend.port)
    return Refused("BackendNotFound", fmt::format("Service {}: found no port, expected one", ToString(key)));
  const bool has_port = std::ranges::any_of(service->second.ports, [&backend](const ServicePort& port) {
    return port.port == *backend.port && port.protocol == Protocol::kTcp;
  });
  if (has_port) return {true, "ResolvedRefs", ""};
  return Refused("BackendNotFound",
                 fmt::format("Service {}: found no port {} (TCP)", ToString(key), *backend.port));
}

/// As short as it can be: "web", "web:8080" where two ports of it are led to, "other/web".
std::string NameIn(const Route& route, const BackendRef& backend) {
  std::string name = backend.name;
  if (!backend.IsService()) name = fmt::format("{}/{}", backend.kind, name);
  if (backend.ns != route.key.ns) name = fmt::format("{}/{}", backend.ns, name);
  const bool two_ports = std::ranges::any_of(route.backends, [&backend](const BackendRef& other) {
    BackendRef here = other;
    here.port = backend.port;
    here.weight = backend.weight;
    return here == backend && other.port != backend.port;
  });
  return two_ports && backend.port ? fmt::format("{}:{}", name, *backend.port) : name;
}

/// Keeps the proportions; false where integers up to the greatest weight cannot express them.
bool Shorten(const std::vector<uint64_t>& sums, std::vector<DrivenBackend>& backends) {
  const uint64_t most = sums.empty() ? 0 : *std::ranges::max_element(sums);
  uint64_t divisor = 1;
  if (most > kMaxWeight)
    divisor = std::accumulate(sums.begin(), sums.end(), uint64_t{0}, std::gcd<uint64_t, uint64_t>);
  if (most / divisor > kMaxWeight) return false;
  for (size_t i = 0; i < sums.size(); ++i) backends[i].weight = static_cast<uint32_t>(sums[i] / divisor);
  return true;
}

/// Gateway API, GEP-1294: it says something of clients of its own namespace alone.
bool IsConsumer(const Route& route, const ParentRef& parent) {
  return parent.ns.value_or(route.key.ns) != route.key.ns;
}

struct Driven {
  DrivenSplit split;
  Finding resolved_refs{true, "ResolvedRefs", ""};
  bool expressible = true;
};

Driven DrivenBy(const ObjectSet& objects, const Route& route) {
  Driven driven;
  driven.split.source = fmt::format("{}/{}", NameOf(route.kind), route.key.name);
  // TCPRoute: connections to a backend without endpoints are rejected, by weight. HTTPRoute and GRPCRoute
  // demand an error for references that lead nowhere and where nothing may be chosen at all; for a backend
  // that only has no endpoint now they say "should". Argo Rollouts and Flagger change endpoints and weights
  // in either order, so there the others have its share.
  const bool any_weight = std::ranges::any_of(route.backends, [](const auto& b) { return b.weight > 0; });
  driven.split.empty =
      route.kind == RouteKind::kTcp || !any_weight ? EmptyBackend::kRefuseShare : EmptyBackend::kSkip;
  std::vector<uint64_t> sums;
  for (const BackendRef& backend : route.backends) {
    std::string name = NameIn(route, backend);
    const auto known = std::ranges::find(driven.split.backends, name, &DrivenBackend::name);
    if (known != driven.split.backends.end()) {  // named twice: its weights add up
      sums[static_cast<size_t>(known - driven.split.backends.begin())] += backend.weight;
      continue;
    }
    const Finding found = Resolve(objects, route.id(), backend);
    driven.split.backends.push_back(
        {std::move(name), {backend.ns, backend.name}, backend.port, 0, found.holds});
    sums.push_back(backend.weight);
    if (found.holds) continue;
    driven.split.empty = EmptyBackend::kRefuseShare;
    Finding& all = driven.resolved_refs;
    all = Refused(all.holds ? found.reason : all.reason,
                  all.holds ? found.message : all.message + "; " + found.message);
  }
  driven.expressible = Shorten(sums, driven.split.backends);
  return driven;
}

class Claimant {
 public:
  explicit Claimant(const ObjectSet& objects) : objects_(objects) {}

  Claims Run() {
    for (const Rollout* rollout : OldestFirst(objects_.rollouts)) {
      for (const std::string& service : {rollout->service, rollout->preview_service})
        if (!service.empty())
          taken_.emplace(ObjectKey{rollout->key.ns, service}, "Rollout " + ToString(rollout->key));
    }
    for (const TrafficSplit* split : OldestFirst(objects_.splits)) Claim(*split);
    std::vector<const Route*> routes = OldestFirst(objects_.routes);
    std::ranges::stable_sort(routes, [](const Route* a, const Route* b) {
      const bool a_tcp = a->kind == RouteKind::kTcp, b_tcp = b->kind == RouteKind::kTcp;
      return std::tie(a_tcp, a->created, a->key) < std::tie(b_tcp, b->created, b->key);
    });
    for (const Route* route : routes) Claim(*route);
    return std::move(claims_);
  }

 private:
  void Claim(const TrafficSplit& split) {
    const ObjectKey root{split.key.ns, split.service};
    if (!taken_.emplace(root, "TrafficSplit " + ToString(split.key)).second) return;
    DrivenSplit driven{.source = "TrafficSplit/" + split.key.name};
    for (const Backend& backend : split.backends)
      driven.backends.push_back({backend.service, {split.key.ns, backend.service}, {}, backend.weight});
    claims_.divisions[root].whole = std::move(driven);
  }

  void Claim(const Route& route) {
    RouteVerdict& verdict = claims_.routes[route.id()];
    const Driven driven = DrivenBy(objects_, route);
    verdict.resolved_refs = driven.resolved_refs;
    for (size_t i = 0; i < route.parents.size(); ++i) {
      if (route.parents[i].IsService()) verdict.accepted[i] = Attach(route, route.parents[i], driven);
    }
  }

  Finding Attach(const Route& route, const ParentRef& parent, const Driven& driven) {
    const ObjectKey key{parent.ns.value_or(route.key.ns), parent.name};
    if (!IsDnsLabel(key.ns) || !IsDnsLabel(key.name)) {
      return Refused(kNoMatchingParent, fmt::format("no Service can have the name {}", Quote(ToString(key))));
    }
    const auto service = objects_.services.find(key);
    if (service == objects_.services.end())
      return Refused(kNoMatchingParent, fmt::format("found no Service {}", ToString(key)));
    if (service->second.cluster_ips.empty()) {
      return Refused(kUnsupportedValue,
                     fmt::format("Service {} is headless: clients dial its endpoints themselves, so nothing "
                                 "can be divided",
                                 ToString(key)));
    }
    if (!route.unsupported.empty())
      return Refused(kUnsupportedValue, fmt::format("{}", fmt::join(route.unsupported, "; ")));
    if (!driven.expressible) {
      return Refused(
          kUnsupportedValue,
          fmt::format("the weights add up to proportions that integers up to {} cannot express", kMaxWeight));
    }
    if (IsConsumer(route, parent)) {
      const auto [known, is_new] = consumers_.emplace(ConsumersNumber(route.key.ns), route.key.ns);
      if (!is_new && known->second != route.key.ns) {
        return Refused(
            kUnsupportedValue,
            fmt::format("nodes cannot tell clients of namespace {} from those of {}, which has the "
                        "same number {:08x} and older routes; use a namespace of another name",
                        route.key.ns, known->second, known->first));
      }
    } else if (const auto taken = taken_.find(key); taken != taken_.end()) {
      return Refused(kConflicted, fmt::format("{} divides Service {}", taken->second, ToString(key)));
    }
    return AttachToPorts(route, parent, service->second, driven);
  }

  Finding AttachToPorts(const Route& route, const ParentRef& parent, const Service& service,
                        const Driven& driven) {
    const std::string clients = IsConsumer(route, parent) ? route.key.ns : "";
    std::vector<std::string> others;
    bool any = false, attached = false;
    for (const ServicePort& port : service.ports) {
      if (port.protocol != Protocol::kTcp || (parent.port && *parent.port != port.port)) continue;
      if (parent.section_name && !parent.section_name->empty() && *parent.section_name != port.name) continue;
      any = true;
      const auto [owner, is_new] = ports_.emplace(std::tuple(service.key, port.port, clients), route.id());
      if (is_new || owner->second == route.id()) {
        Division& division = claims_.divisions[service.key];
        (clients.empty() ? division.tcp : division.consumers[clients])[port.port] = driven.split;
        attached = true;
      } else {
        others.push_back(fmt::format("{} divides port {}", ToString(owner->second), port.port));
      }
    }
    if (!any)
      return Refused(kNoMatchingParent,
                     fmt::format("Service {}: found no such TCP port", ToString(service.key)));
    const std::string message = fmt::format("{}", fmt::join(others, "; "));
    return attached ? Finding{true, "Accepted", message} : Refused(kConflicted, message);
  }

  const ObjectSet& objects_;
  Claims claims_;
  std::map<ObjectKey, std::string> taken_;  // Services that are divided as a whole, and by whom
  std::map<std::tuple<ObjectKey, uint16_t, std::string>, RouteId> ports_;  // and whose clients; "": all
  std::map<uint32_t, std::string> consumers_;                              // namespaces by their number
};

}  // namespace

const DrivenSplit* Division::Of(const ServicePort& port) const {
  if (whole) return &*whole;
  const auto found = port.protocol == Protocol::kTcp ? tcp.find(port.port) : tcp.end();
  return found == tcp.end() ? nullptr : &found->second;
}

const DrivenSplit* Division::OwnOf(const std::string& ns, const ServicePort& port) const {
  const auto own = port.protocol == Protocol::kTcp ? consumers.find(ns) : consumers.end();
  if (own == consumers.end()) return nullptr;
  const auto found = own->second.find(port.port);
  return found == own->second.end() ? nullptr : &found->second;
}

uint32_t ConsumersNumber(std::string_view ns) {
  const uint64_t hash = Fnv1a(ns);
  const auto folded = static_cast<uint32_t>(hash ^ hash >> 32);
  return folded == 0 ? 1 : folded;
}

bool RouteVerdict::AnyAccepted() const {
  return std::ranges::any_of(accepted, [](const auto& entry) { return entry.second.holds; });
}

Claims ClaimsOf(const ObjectSet& objects) { return Claimant(objects).Run(); }

}  // namespace weir::model
