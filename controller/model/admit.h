// Which objects of a cluster can be together: there they come one by one, in any order, and one that is wrong
// must not hold up the others. Pure.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controller/model/claims.h"
#include "controller/model/objects.h"
#include "controller/model/vip_index.h"

namespace weir::model {

/// Any object; kind as KindOf gives it.
struct ObjectId {
  std::string kind;
  ObjectKey key;
  auto operator<=>(const ObjectId&) const = default;
};

struct Admission {
  ObjectSet admitted;  // ValidateSet(admitted, Origin::kCluster) is OK
  /// Why not, by object: "spec.service: found ..., expected ...; remedy", several joined by "; ".
  std::map<ObjectId, std::string> refused;
  /// Of every route, refused or not: what its status is to say.
  std::map<RouteId, RouteVerdict> routes;
};

/// Leaves out what breaks the rules between objects (ValidateSet). Of two objects of one kind that cannot be
/// together the older one stays, then the first by name; of a Rollout and a TrafficSplit the Rollout. A route
/// is refused when no parent takes it. Cost is in everything there is.
Admission Admit(const ObjectSet& candidates);

struct AdmissionChanges {
  std::vector<Object> puts;
  std::vector<ObjectId> removals;
};

/// Keeps an Admission up to date. One thread.
class Admitter {
 public:
  /// Takes up what came and went, removals first. Returns what changes of the admitted ones: applied to them,
  /// they are Admit() of all candidates. Costs what it touches where only EndpointSlices change; what there
  /// is of Rollouts, TrafficSplits, routes and templates where no Service changes; else what there is.
  AdmissionChanges Take(const AdmissionChanges& changes);

  const ObjectSet& admitted() const { return now_.admitted; }
  const std::map<ObjectId, std::string>& refused() const { return now_.refused; }
  const std::map<RouteId, RouteVerdict>& routes() const { return now_.routes; }

 private:
  ObjectSet candidates_;
  Admission now_;
  VipIndex vips_;  // of now_.admitted
};

}  // namespace weir::model
