// How a Deployment is led through a rollout without a second one: which of its fields say what, and when.
// Pure.
//
// The Deployment controller does the work; Weir only turns five fields, at most one write at a time, and
// looks again when something has changed. What the fields do together was read in pkg/controller/deployment
// (rolling.go, sync.go) and seen on a real control plane:
//
//   hold      paused, maxUnavailable 0: a new template waits, pods that die are replaced
//   surge n   maxSurge n, minReadySeconds 2000000000: n pods of the new template become Ready and so
//             endpoints, but never Available, so no old pod goes
//   stay      surge, paused, while connections to pods that are to go are waited for. A new template waits as
//             well: the Deployment controller would begin by removing pods that are not Available
//             (cleanupUnhealthyReplicas), which are those with all the traffic
//   release   minReadySeconds as the user has it: the new pods are Available at once, the others go
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "controller/kubernetes/workload/deployment.h"

namespace weir::kubernetes {

/// No pod is Available before 63 years have passed.
inline constexpr int64_t kNeverAvailableSeconds = 2'000'000'000;

/// What the engine holds of the Rollout.
struct RolloutProgress {
  std::string stable, canary;  // revisions; empty: none
  std::string wanted;          // revision
  bool aborted = false;
  bool settled = false;          // every node that counts has the present weights
  bool keeps_previous = false;   // blueGreen: the revision before is kept for a way back
  std::optional<uint32_t> pods;  // engine::CanaryPods
};

struct WorkloadFacts {
  std::string name;                        // of the Deployment, for messages
  const Deployment* deployment = nullptr;  // nullptr: there is none
  std::span<const ReplicaSet> sets;        // that it owns
  std::string rollout;                     // its name; in the Deployment's namespace
  RolloutProgress progress;
  bool leaving_may_go = false;  // no connection to pods that are to go is open, or they have had their time
};

/// The user's template that came during `stay`. Only the Deployment's own template can be released, so it is
/// put aside, into kNextAnnotation, until that is done.
enum class NextTemplate { kNone, kKept, kPutAside, kBroughtBack };

/// What the Deployment is to become.
struct WorkloadWrite {
  Knobs knobs;
  std::string template_of;  // ReplicaSet whose pod template it gets; empty: it keeps its own
  std::string holder, kept, template_revision;  // annotations; empty: removed
  NextTemplate next = NextTemplate::kNone;
  bool operator==(const WorkloadWrite&) const = default;
};

struct WorkloadPlan {
  std::string revision;  // the engine is to be given it, before anything is written; empty: it has it
  std::optional<WorkloadWrite> write;
  std::string waits_for;  // what keeps it from going on; for people
  std::string refused;    // why it cannot be led at all, with the remedy
  std::string leaving;    // revision whose pods are to go as soon as leaving_may_go; empty: none
};

/// The next thing to do. The same facts give the same plan; with nothing to do it is empty.
WorkloadPlan PlanWorkload(const WorkloadFacts& facts);

/// The Rollout goes: all fields are the user's again. A canary goes with it, as nobody has judged it.
WorkloadPlan PlanGivingBack(const WorkloadFacts& facts);

/// Carries `write` out on a Deployment as the API server gives it. `pod_template`: that of write.template_of,
/// else null.
void Edit(const WorkloadWrite& write, const boost::json::value& pod_template,
          boost::json::object& deployment);

}  // namespace weir::kubernetes
