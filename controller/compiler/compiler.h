// From objects and weights to what agents shall hold. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "controller/model/claims.h"
#include "controller/model/objects.h"
#include "weir/v1/types.pb.h"

namespace weir::compiler {

/// The weights in force for a service that a Rollout divides: as of its last Publish.
struct RolloutWeights {
  std::string stable, canary;  // revisions; canary may be empty, stable too (then nothing is published)
  uint32_t stable_weight = 0, canary_weight = 0;
  std::string previous = {};  // blue-green: in the split with weight 0; may be empty
  uint32_t round = 0;         // weir.v1.FailSafe.round
  bool operator==(const RolloutWeights&) const = default;
};

struct Options {
  v1::OnEmpty on_empty = v1::ON_EMPTY_REFUSE;  // standalone; Kubernetes passes
  /// Agents take a controller for gone after this much silence: no failSafeAfter is shorter.
  std::chrono::milliseconds silence{0};
};

/// The frontends in force, by ToKey().
using Frontends = std::map<std::string, v1::Frontend>;

/// A frontend's identity as a map key: address bytes, port, protocol, and whose clients it is for.
std::string ToKey(const v1::FrontendKey& key);

/// Looks endpoints up by service without going through all slices: build once, keep up to date.
class Compiler {
 public:
  Compiler(Options options) : options_(options) {}

  /// All frontends. `weights` by rollout key; a rollout that is not in it has published nothing yet: its
  /// service is compiled without variants.
  Frontends Compile(const model::ObjectSet& objects,
                    const std::map<model::ObjectKey, RolloutWeights>& weights);

  /// Only those of one service, after a change of it, its slices, its rollout or split (or of the slices of a
  /// service that its split names). Cost is in that service's size, given the index of the last
  /// Index()/Compile() call.
  Frontends CompileService(const model::ObjectSet& objects,
                           const std::map<model::ObjectKey, RolloutWeights>& weights,
                           const model::ObjectKey& service);

  /// Takes up objects again: after any change but of slices alone.
  void Index(const model::ObjectSet& objects);

  /// Takes up one slice again: the service it belonged to, and the one it belongs to now. nullptr: it was not
  /// there, or is gone.
  void IndexSlice(const model::ObjectKey& slice, const std::string* before, const std::string* after);

  /// Services whose frontends depend on the slices of `service`: itself, roots of splits and routes that name
  /// it, and the preview Service of the rollout that divides it.
  std::vector<model::ObjectKey> Dependents(const model::ObjectKey& service) const;

  /// "TrafficSplit/web", "HTTPRoute/web": what divides the port by weights that others write, for all clients
  /// or for those of a namespace alone; "": nothing does.
  std::string SourceOf(const model::ObjectKey& service, const model::ServicePort& port,
                       const std::string& consumer_namespace = "") const;

 private:
  Options options_;
  std::map<model::ObjectKey, std::vector<model::ObjectKey>> slices_of_;  // service -> its slices
  using ObjectKey = model::ObjectKey;
  /// What decides on the frontends of one service; at most one of them has a say for everybody.
  struct Owners {
    const model::Rollout* rollout = nullptr;    // divides it
    const model::Rollout* previews = nullptr;   // has it as its preview Service
    const model::Division* division = nullptr;  // by ports: a TrafficSplit, routes; also for clients of some
                                                // namespaces alone
  };
  Owners OwnersOf(const model::ObjectSet& objects, const ObjectKey& service) const;
  /// For clients of namespaces with routes of their own; and `everybodys` says that there are some.
  void CompileConsumers(const model::ObjectSet& objects, const model::Division& division,
                        const model::ServicePort& port, const v1::Frontend& blank, v1::Frontend& everybodys,
                        Frontends& frontends) const;
  v1::Frontend CompileDriven(const model::ObjectSet& objects, const model::DrivenSplit& split,
                             const model::ServicePort& port, AddressFamily family,
                             v1::Frontend frontend) const;
  std::vector<const model::EndpointSlice*> SlicesOf(const model::ObjectSet& objects,
                                                    const ObjectKey& service) const;

  std::map<model::ObjectKey, model::ObjectKey> rollout_of_;             // service -> its rollout
  std::map<model::ObjectKey, model::ObjectKey> previewed_by_;           // preview service -> its rollout
  std::map<model::ObjectKey, model::ObjectKey> preview_of_;             // service -> its preview service
  std::map<model::ObjectKey, model::Division> divisions_;               // by root service
  std::multimap<model::ObjectKey, model::ObjectKey> roots_of_backend_;  // backend service -> root services
};

struct Difference {
  std::vector<v1::Frontend> upserts;
  std::vector<v1::FrontendKey> removals;
};
/// What turns `before` into `after`.
Difference Diff(const Frontends& before, const Frontends& after);

/// Ready endpoints per revision of a rollout's service, for the engine; an endpoint counts once however many
/// ports or slices it has.
struct RevisionEndpoints {
  uint32_t ready = 0, total = 0;
};
std::map<std::string, RevisionEndpoints> CountEndpoints(const model::ObjectSet& objects,
                                                        const model::Rollout& rollout);

}  // namespace weir::compiler
