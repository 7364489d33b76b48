#include "controller/kubernetes/leader/workloads.h"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "common/log.h"
#include "controller/kubernetes/state/cluster_store.h"

namespace weir::kubernetes {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

constexpr std::string_view kFinalizer = "weir.dev/workload";
constexpr milliseconds kAgain{1000};
constexpr int kTries = 20;  // of one plan, where others write the same Deployment
/// Agents tell of open connections each second while weights divide, and for 5 s after: after two rounds what
/// they say is about the new weights.
constexpr milliseconds kLeastLeave{2500};

const Resource& Deployments() {
  static const Resource resource{"apps", "v1", "deployments"};
  return resource;
}
const Resource& ReplicaSets() {
  static const Resource resource{"apps", "v1", "replicasets"};
  return resource;
}

RolloutProgress ProgressOf(const engine::State& state) {
  RolloutProgress progress;
  progress.stable = state.stable;
  progress.canary = state.canary;
  progress.wanted = state.spec.revision;
  progress.aborted = state.aborted;
  progress.settled = state.delivery == engine::Delivery::kAcked;
  progress.keeps_previous = !state.previous.empty();
  progress.pods = engine::CanaryPods(state);
  return progress;
}

/// Whether what was planned for `planned` holds for what is there now: others may write what Weir does not
/// look at as often as they like.
bool SamePlan(Deployment planned, json::object present) {
  TrimDeployment(present);
  const auto read = ReadDeployment(present);
  if (!read.ok()) return false;
  planned.resource_version = read->resource_version;
  planned.generation = read->generation;  // annotations count as well: what else changed is compared
  planned.observed_generation = read->observed_generation;
  return planned == *read;
}

std::string Describe(const WorkloadWrite& write) {
  if (write.holder.empty()) return "given back";
  std::string text = write.template_of.empty() ? "" : "pod template of " + write.template_of + ", ";
  if (write.knobs.paused) return text + "held";
  if (write.knobs.min_ready_seconds == kNeverAvailableSeconds)
    return text + "canary pods: " + json::serialize(write.knobs.max_surge);
  return text + "old pods may go";
}

}  // namespace

Workloads::Workloads(boost::asio::io_context& context, const Clock& clock, Api& api, Host& host)
    : context_(context), clock_(clock), api_(api), host_(host), timer_(context) {}

// ---- what there is

void Workloads::RolloutsOf(const ObjectKey& deployment) {
  for (const auto& [key, metadata] : rollouts_) {
    const model::Rollout* rollout = key.ns == deployment.ns ? host_.FindRollout(key) : nullptr;
    if (rollout != nullptr && rollout->workload && rollout->workload->deployment == deployment.name)
      Changed(key);
  }
}

void Workloads::PutDeployment(const json::object& trimmed) {
  auto deployment = ReadDeployment(trimmed);
  const ObjectKey key = KeyOf(trimmed);
  if (!deployment.ok()) {
    LogWarn("a Deployment cannot be read",
            {{"deployment", model::ToString(key)}, {"error", deployment.status()}});
    return;
  }
  deployments_.insert_or_assign(key, *std::move(deployment));
  RolloutsOf(key);
}

void Workloads::PutReplicaSet(const json::object& trimmed) {
  auto set = ReadReplicaSet(trimmed);
  const ObjectKey key = KeyOf(trimmed);
  if (!set.ok()) {
    LogWarn("a ReplicaSet cannot be read", {{"replicaset", model::ToString(key)}, {"error", set.status()}});
    return;
  }
  sets_of_[set->owner].insert(key);
  const std::string owner = set->owner;
  sets_.insert_or_assign(key, *std::move(set));
  for (const auto& [name, deployment] : deployments_) {
    if (deployment.uid == owner) RolloutsOf(name);
  }
}

void Workloads::PutRollout(const ObjectKey& key, RolloutMetadata metadata) {
  rollouts_.insert_or_assign(key, std::move(metadata));
  Changed(key);
}

void Workloads::Remove(std::string_view kind, const ObjectKey& key) {
  if (kind == "Deployment") {
    deployments_.erase(key);
    RolloutsOf(key);
  } else if (kind == "ReplicaSet") {
    const auto set = sets_.find(key);
    if (set == sets_.end()) return;
    const auto of = sets_of_.find(set->second.owner);
    of->second.erase(key);
    if (of->second.empty()) sets_of_.erase(of);
    sets_.erase(set);
  } else {
    rollouts_.erase(key);
    leaving_.erase(key);
    remarks_.erase(key);
    dirty_.erase(key);
  }
}

const Deployment* Workloads::FindDeployment(const ObjectKey& key) const {
  const auto found = deployments_.find(key);
  return found == deployments_.end() ? nullptr : &found->second;
}

std::string Workloads::Remark(const ObjectKey& rollout) const {
  const auto found = remarks_.find(rollout);
  return found == remarks_.end() ? "" : found->second;
}

// ---- when it looks

void Workloads::Start() {
  started_ = true;
  for (const auto& [key, metadata] : rollouts_) Changed(key);
}

void Workloads::Stop() {
  stopped_ = true;
  timer_.cancel();
}

void Workloads::Changed(const ObjectKey& rollout) {
  dirty_.insert(rollout);
  LookSoon();
}

/// Not from within: what it leads to changes what is being looked at.
void Workloads::LookSoon() {
  if (!started_ || stopped_ || std::exchange(scheduled_, true)) return;
  boost::asio::post(context_, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired() || stopped_) return;
    scheduled_ = false;
    LookAtAll();
  });
}

void Workloads::LookAtAll() {
  for (const ObjectKey& key : std::exchange(dirty_, {})) Look(key);
  if (leaving_.empty()) return;
  timer_.expires_after(kAgain);
  timer_.async_wait([this](boost::system::error_code error) {
    if (error || stopped_) return;
    for (const auto& [key, leaving] : leaving_) Changed(key);
  });
}

// ---- what it does

WorkloadFacts Workloads::FactsOf(const ObjectKey& key, const model::Rollout& object) {
  WorkloadFacts facts;
  facts.name = object.workload->deployment;
  facts.rollout = key.name;
  facts.deployment = FindDeployment({key.ns, facts.name});
  std::vector<ReplicaSet>& sets = looked_at_[key];
  sets.clear();
  if (facts.deployment != nullptr) {
    if (const auto of = sets_of_.find(facts.deployment->uid); of != sets_of_.end()) {
      for (const ObjectKey& set : of->second) sets.push_back(sets_.at(set));
    }
  }
  facts.sets = sets;
  if (const app::RolloutEntry* entry = host_.FindEntry(key)) facts.progress = ProgressOf(entry->state);
  return facts;
}

bool Workloads::MayGo(const ObjectKey& key, const model::Rollout& object, const std::string& leaving) {
  if (leaving.empty()) {
    leaving_.erase(key);
    return false;
  }
  const auto found = leaving_.find(key);
  if (found == leaving_.end() || found->second.revision != leaving) {
    leaving_.insert_or_assign(key, Leaving{leaving, clock_.Now()});
    return object.workload->scale_down_delay == milliseconds(0);
  }
  const auto since = clock_.Now() - found->second.since;
  if (since >= object.workload->scale_down_delay) return true;
  const auto open = host_.OpenConnections(key, leaving);
  return since >= kLeastLeave && open && *open == 0;
}

void Workloads::Look(const ObjectKey& key) {
  const auto metadata = rollouts_.find(key);
  if (metadata == rollouts_.end()) return;
  if (writing_.contains(key)) {
    again_.insert(key);
    return;
  }
  if (metadata->second.deleting) return GiveBack(key, metadata->second);
  const model::Rollout* object = host_.FindRollout(key);
  if (object == nullptr || !object->workload) return;
  WorkloadFacts facts = FactsOf(key, *object);
  const app::RolloutEntry* entry = host_.FindEntry(key);
  if (facts.deployment != nullptr && entry != nullptr &&
      entry->state.replicas != facts.deployment->replicas) {
    if (const Status status = host_.Feed(key, engine::ReplicasObserved{facts.deployment->replicas});
        !status.ok())
      return Done(key, status, "the number of replicas could not be noted");
    return Changed(key);
  }
  WorkloadPlan plan = PlanWorkload(facts);
  facts.leaving_may_go = MayGo(key, *object, plan.leaving);
  if (facts.leaving_may_go) plan = PlanWorkload(facts);
  Say(key, plan);
  if (!plan.revision.empty()) return host_.WantRevision(key, plan.revision);  // its change brings us back
  if (plan.write && HoldFinalizer(key)) Write(key, *facts.deployment, *plan.write, kTries);
}

/// The Rollout is being deleted: nobody dials the canary any more, then its Deployment is the user's again.
void Workloads::GiveBack(const ObjectKey& key, const RolloutMetadata& metadata) {
  if (std::ranges::find(metadata.finalizers, kFinalizer) == metadata.finalizers.end()) return;
  const model::Rollout* object = host_.FindWritten(key);
  const app::RolloutEntry* entry = host_.FindEntry(key);
  if (object != nullptr && object->workload) {
    // One that is refused, as its Service is gone too, divides nothing.
    if (host_.FindRollout(key) != nullptr && entry != nullptr && !entry->state.canary.empty()) {
      if (!entry->state.aborted) {
        const Status status = host_.Feed(key, engine::Abort{});
        if (!status.ok()) return Done(key, status, "the rollout could not be aborted before its end");
        return;
      }
      if (entry->state.delivery != engine::Delivery::kAcked) return;
    }
    const WorkloadFacts facts = FactsOf(key, *object);
    if (const WorkloadPlan plan = PlanGivingBack(facts); plan.write)
      return Write(key, *facts.deployment, *plan.write, kTries);
  }
  std::vector<std::string> finalizers = metadata.finalizers;
  std::erase(finalizers, kFinalizer);
  WriteFinalizers(key, std::move(finalizers));
}

void Workloads::Say(const ObjectKey& key, const WorkloadPlan& plan) {
  const std::string text = !plan.refused.empty()    ? plan.refused
                           : plan.waits_for.empty() ? ""
                                                    : "waiting for " + plan.waits_for;
  std::string& present = remarks_[key];
  if (present == text) return;
  present = text;
  if (!plan.refused.empty()) host_.RecordEvent(key, EventType::kWarning, "WorkloadRefused", plan.refused);
  host_.OnRemark(key);
}

/// Before anything of a Deployment is written: else nobody would give it back.
bool Workloads::HoldFinalizer(const ObjectKey& key) {
  const RolloutMetadata& metadata = rollouts_.at(key);
  if (std::ranges::find(metadata.finalizers, kFinalizer) != metadata.finalizers.end()) return true;
  std::vector<std::string> finalizers = metadata.finalizers;
  finalizers.emplace_back(kFinalizer);
  WriteFinalizers(key, std::move(finalizers));
  return false;
}

void Workloads::WriteFinalizers(const ObjectKey& key, std::vector<std::string> finalizers) {
  writing_.insert(key);
  const json::object patch{{"metadata",
                            {{"resourceVersion", rollouts_.at(key).resource_version},
                             {"finalizers", json::value_from(finalizers)}}}};
  api_.Send(MergePatchRequest(RolloutResource(), key, patch),
            [this, alive = std::weak_ptr<bool>(alive_), key](const Result<Response>& answer) {
              if (!alive.expired())
                Done(key, answer.status(), "the Rollout's finalizers could not be written");
            });
}

void Workloads::Write(const ObjectKey& key, const Deployment& deployment, const WorkloadWrite& write,
                      int tries) {
  writing_.insert(key);
  const auto guard = [this, alive = std::weak_ptr<bool>(alive_)](auto then) {
    return [alive, then](Result<Response> answer) {
      if (!alive.expired()) then(std::move(answer));
    };
  };
  api_.Send(GetRequest(Deployments(), deployment.key),
            guard([this, guard, key, write, tries, planned = deployment](Result<Response> answer) {
              if (!answer.ok()) return Done(key, answer.status(), "the Deployment could not be read");
              json::object present = answer->body.get_object();
              // Somebody was faster than the watch: the plan was made for another one.
              if (!SamePlan(planned, present)) return Done(key, OkStatus(), "");
              if (write.template_of.empty())
                return Put(key, planned, write, tries, std::move(present), nullptr);
              api_.Send(GetRequest(ReplicaSets(), {key.ns, write.template_of}),
                        guard([this, key, write, tries, planned, present](Result<Response> set) {
                          if (!set.ok()) return Done(key, set.status(), "the ReplicaSet could not be read");
                          const json::value* pod_template = Find(set->body, {"spec", "template"});
                          if (pod_template == nullptr)
                            return Done(key, Error(absl::StatusCode::kDataLoss, "spec.template is missing"),
                                        "the ReplicaSet");
                          Put(key, planned, write, tries, present, *pod_template);
                        }));
            }));
}

/// A conflict is tried again at once: the watch's news of somebody who writes all the time comes just when
/// the next write is due.
void Workloads::Put(const ObjectKey& key, const Deployment& planned, const WorkloadWrite& write, int tries,
                    json::object deployment, const json::value& pod_template) {
  Edit(write, pod_template, deployment);  // its resourceVersion is the one that was read
  api_.Send(UpdateRequest(Deployments(), planned.key, deployment),
            [this, alive = std::weak_ptr<bool>(alive_), key, planned, write,
             tries](const Result<Response>& answer) {
              if (alive.expired()) return;
              if (answer.status().code() == absl::StatusCode::kAborted && tries > 1 && !stopped_)
                return Write(key, planned, write, tries - 1);
              const std::string name = model::ToString(planned.key);
              if (answer.ok()) {
                LogInfo("Deployment written", {{"deployment", name}, {"what", Describe(write)}});
                host_.RecordEvent(key, EventType::kNormal, "DeploymentWritten",
                                  fmt::format("Deployment {}: {}", planned.key.name, Describe(write)));
              }
              Done(key, answer.status(), fmt::format("Deployment {} could not be written", name));
            });
}

/// What failed is tried again. What was written, by Weir or by somebody faster, is planned anew when the
/// watch brings it.
void Workloads::Done(const ObjectKey& key, const Status& status, const std::string& what) {
  writing_.erase(key);
  if (again_.erase(key) > 0) Changed(key);
  if (status.ok()) return;
  dirty_.insert(key);
  if (status.code() != absl::StatusCode::kAborted) {
    LogWarn(what, {{"rollout", model::ToString(key)}, {"error", status}});
    if (status.code() == absl::StatusCode::kInvalidArgument ||
        status.code() == absl::StatusCode::kPermissionDenied)
      host_.RecordEvent(key, EventType::kWarning, "WriteFailed", what + ": " + Message(status));
  }
  timer_.expires_after(kAgain);
  timer_.async_wait([this](boost::system::error_code error) {
    if (!error && !stopped_) LookSoon();
  });
}

}  // namespace weir::kubernetes
