// Who divides which port of which Service, where several objects want to: Rollouts, TrafficSplits, Gateway
// API routes. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/model/objects.h"

namespace weir::model {

/// What becomes of the share of a backend without endpoints that may be chosen.
enum class EmptyBackend : uint8_t {
  kSkip,         // the others have it; with nothing anywhere, as for any Service
  kRefuseShare,  // calls are refused in its proportion
};

/// A Service that a split leads to.
struct DrivenBackend {
  std::string name;  // of the variant, unique in its split
  ObjectKey service;
  std::optional<uint16_t> port;  // on that Service; none: the number of the port that is divided
  uint32_t weight = 0;
  bool resolved = true;  // false: there is nothing it may lead to
  bool operator==(const DrivenBackend&) const = default;
};

/// A division by weights that others write.
struct DrivenSplit {
  std::string source;  // "TrafficSplit/web", "HTTPRoute/web"
  std::vector<DrivenBackend> backends;
  EmptyBackend empty = EmptyBackend::kSkip;
  bool operator==(const DrivenSplit&) const = default;
};

/// What is divided of one Service. Ports that nothing is said of are not.
struct Division {
  std::optional<DrivenSplit> whole;
  std::map<uint16_t, DrivenSplit> tcp;  // by number, from routes
  /// From routes of other namespaces: for clients of that namespace alone, in the place of all else.
  std::map<std::string, std::map<uint16_t, DrivenSplit>> consumers;

  /// nullptr: undivided.
  const DrivenSplit* Of(const ServicePort& port) const;
  /// The same for clients of a namespace; nullptr: they have what all have.
  const DrivenSplit* OwnOf(const std::string& ns, const ServicePort& port) const;
};

/// The number by which agents know the clients of a namespace: the same for ever, never 0. Two namespaces may
/// have the same.
uint32_t ConsumersNumber(std::string_view ns);

/// A condition of a route's status: Gateway API's words.
struct Finding {
  bool holds = true;
  std::string reason, message;
  bool operator==(const Finding&) const = default;
};

/// What Weir makes of a route.
struct RouteVerdict {
  std::map<size_t, Finding> accepted;  // by index in Route::parents; those that are no Services are left out
  Finding resolved_refs;
  bool operator==(const RouteVerdict&) const = default;

  /// Whether it divides anything.
  bool AnyAccepted() const;
};

struct Claims {
  std::map<ObjectKey, Division> divisions;
  std::map<RouteId, RouteVerdict> routes;
};

/// Of all objects. A Rollout has its Services before a TrafficSplit, a TrafficSplit its Service before
/// routes; of two TrafficSplits the older one has it. Of routes to one port HTTPRoute and GRPCRoute come
/// before TCPRoute, then the older one, then the first by name (Gateway API, conflict resolution). A route
/// whose ports at a parent all are others' is not accepted there. A route of another namespace than its
/// parent (GEP-1294, consumer route) divides it for clients of its own namespace, whoever divides it for all
/// others; among such routes of one namespace the same order holds. Cost is in the Rollouts, TrafficSplits
/// and routes.
Claims ClaimsOf(const ObjectSet& objects);

/// The objects of a map in the order in which they may claim: the older first, then by name.
template <typename Key, typename T>
std::vector<const T*> OldestFirst(const std::map<Key, T>& objects) {
  std::vector<const T*> sorted;
  sorted.reserve(objects.size());
  for (const auto& [key, object] : objects) sorted.push_back(&object);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const T* a, const T* b) { return a->created < b->created; });
  return sorted;
}

}  // namespace weir::model
