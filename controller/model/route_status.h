// status.parents[] of a Gateway API route: what Weir says of each Service parent, as the API asks. Pure.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "controller/model/claims.h"
#include "controller/model/objects.h"

namespace weir::model {

inline constexpr std::string_view kControllerName = "weir.dev/controller";

/// metav1.Condition.
struct Condition {
  std::string type, status, reason, message;  // status: "True", "False", "Unknown"
  int64_t observed_generation = 0;
  Created last_transition{};  // when `status` last changed
  bool operator==(const Condition&) const = default;
};

/// One entry of status.parents.
struct RouteParentStatus {
  ParentRef parent;
  std::string controller;
  std::vector<Condition> conditions;
  bool operator==(const RouteParentStatus&) const = default;
};

struct RouteFacts {
  RouteVerdict verdict;  // of this very Route: Admission::routes
  /// Every agent that counts has acked the generation that came of this very Route, or one after it.
  bool all_acked = false;
  Created now{};
  std::vector<RouteParentStatus> present;  // what the route says now, of all controllers
};

/// What status.parents is to be; equal to `present` where nothing is to be written. Entries of other
/// controllers stay as they are, Weir's are those of the parents that are Services. Conditions: Accepted
/// (Accepted, NoMatchingParent, UnsupportedValue, Conflicted) and ResolvedRefs (ResolvedRefs,
/// BackendNotFound, InvalidKind, RefNotPermitted).
///
/// A route that is accepted keeps the entry it has, with the old observedGeneration, until all have acked:
/// Flagger does not go on before. One that has no entry yet is Unknown, Pending, observedGeneration 0. That a
/// parent does not take it is said at once.
std::vector<RouteParentStatus> RouteStatus(const Route& route, const RouteFacts& facts);

/// status.parents of a route as the API server sends it; none where it has no status. INVALID_ARGUMENT where
/// it is not as the API has it.
Result<std::vector<RouteParentStatus>> ReadRouteParents(const boost::json::value& route);

/// {"parents": [...]}: the value of `status`.
boost::json::object WriteRouteParents(const std::vector<RouteParentStatus>& parents);

}  // namespace weir::model
