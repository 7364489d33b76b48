#include "controller/kubernetes/workload/plan.h"

#include <fmt/format.h>

#include <algorithm>

namespace weir::kubernetes {
namespace {

namespace json = boost::json;

bool IsZero(const IntOrPercent& share) {
  if (share.is_string()) return share.get_string() == "0%" || share.get_string() == "0";
  return share.is_int64() && share.get_int64() == 0;
}

/// With maxUnavailable 0 the API server refuses a maxSurge of 0.
IntOrPercent AtLeastOne(const IntOrPercent& share) { return IsZero(share) ? IntOrPercent(1) : share; }

Knobs Hold(const Knobs& user) {
  Knobs knobs = user;
  knobs.paused = true;
  knobs.max_unavailable = 0;
  knobs.max_surge = AtLeastOne(user.max_surge);
  return knobs;
}

Knobs Release(const Knobs& user) {
  Knobs knobs = Hold(user);
  knobs.paused = false;
  return knobs;
}

Knobs Surge(uint32_t pods) {
  Knobs knobs;
  knobs.paused = false;
  knobs.max_surge = std::max<int64_t>(pods, 1);
  knobs.max_unavailable = 0;
  knobs.min_ready_seconds = kNeverAvailableSeconds;
  knobs.progress_deadline_seconds = kNeverAvailableSeconds + 1;  // must be above
  return knobs;
}

Knobs Stay(const Knobs& present) {
  Knobs knobs = present;
  knobs.paused = true;
  return knobs;
}

bool IsSurge(const Knobs& knobs) { return knobs.min_ready_seconds == kNeverAvailableSeconds; }

/// What the user has changed while it was held is the user's from now on.
Knobs WithUsersChanges(const Knobs& kept, const Knobs& present) {
  if (IsSurge(present)) return kept;  // all of it is Weir's
  Knobs user = kept;
  user.min_ready_seconds = present.min_ready_seconds;
  user.progress_deadline_seconds = present.progress_deadline_seconds;
  if (present.max_surge != AtLeastOne(kept.max_surge)) user.max_surge = present.max_surge;
  if (!IsZero(present.max_unavailable)) user.max_unavailable = present.max_unavailable;
  return user;
}

/// One look at a Deployment that is there.
class Planner {
 public:
  explicit Planner(const WorkloadFacts& facts)
      : facts_(facts), deployment_(*facts.deployment), progress_(facts.progress), current_(FindCurrent()) {
    if (current_ != nullptr) revision_ = current_->revision;
    for (const ReplicaSet& set : facts_.sets) {
      if (&set != current_ && (set.pods > 0 || set.replicas > 0)) others_ = &set;
    }
  }

  WorkloadPlan Next() {
    if (!deployment_.rolling_update) {
      return Refuse(fmt::format(
          "Deployment {} has strategy {}, which stops old pods before new ones are there; expected "
          "RollingUpdate: set spec.strategy.type",
          facts_.name, deployment_.strategy));
    }
    if (!deployment_.holder.empty() && deployment_.holder != facts_.rollout) {
      return Refuse(fmt::format("Deployment {} is held by Rollout {}: delete one of the two Rollouts",
                                facts_.name, deployment_.holder));
    }
    if (deployment_.holder.empty()) return Adopt();
    const auto kept = KnobsFromJson(deployment_.kept);
    if (!kept.ok()) {
      return Refuse(
          fmt::format("Deployment {}: annotation {}: {}; give back by hand what it kept, then remove the "
                      "annotations of weir.dev",
                      facts_.name, kKeptAnnotation, Message(kept.status())));
    }
    user_ = WithUsersChanges(*kept, deployment_.knobs);
    if (MustWait()) return LetGo();
    if (current_ == nullptr) return NewTemplate();
    if (revision_ != deployment_.template_revision && !ReappliedAfterAbort()) return UsersChoice();
    return Follow();
  }

  WorkloadPlan GiveBack() {
    if (deployment_.holder != facts_.rollout) return {};
    const auto kept = KnobsFromJson(deployment_.kept);
    WorkloadWrite write;
    write.knobs = kept.ok() ? WithUsersChanges(*kept, deployment_.knobs) : deployment_.knobs;
    if (revision_ != progress_.stable && !progress_.stable.empty()) {
      if (const ReplicaSet* stable = SetOf(progress_.stable)) write.template_of = stable->key.name;
    }
    if (deployment_.has_next) {  // the user's latest wish
      write.template_of.clear();
      write.next = NextTemplate::kBroughtBack;
    }
    WorkloadPlan plan;
    plan.write = std::move(write);
    return plan;
  }

 private:
  /// As FindNewReplicaSet (pkg/controller/deployment/util): of equals the oldest.
  const ReplicaSet* FindCurrent() const {
    const ReplicaSet* found = nullptr;
    for (const ReplicaSet& set : facts_.sets) {
      if (set.digest != deployment_.digest) continue;
      if (found == nullptr || std::tie(set.created, set.key) < std::tie(found->created, found->key))
        found = &set;
    }
    return found;
  }
  const ReplicaSet* SetOf(const std::string& revision) const {
    const auto found = std::ranges::find(facts_.sets, revision, &ReplicaSet::revision);
    return found == facts_.sets.end() ? nullptr : &*found;
  }

  WorkloadPlan Refuse(std::string why) const {
    WorkloadPlan plan;
    plan.refused = std::move(why);
    return plan;
  }
  WorkloadPlan Wait(std::string what) const {
    WorkloadPlan plan;
    plan.waits_for = std::move(what);
    return plan;
  }

  /// Held, with this template; nothing to write where it is so already.
  WorkloadPlan Write(const Knobs& knobs, const std::string& template_revision,
                     const std::string& template_of = "", NextTemplate next = NextTemplate::kNone) const {
    WorkloadPlan plan;
    const std::string kept = ToJson(user_);
    const bool next_changes =
        next != NextTemplate::kKept && (deployment_.has_next || next != NextTemplate::kNone);
    if (!template_of.empty() || knobs != deployment_.knobs || kept != deployment_.kept ||
        template_revision != deployment_.template_revision || next_changes) {
      plan.write = WorkloadWrite{knobs, template_of, facts_.rollout, kept, template_revision, next};
    }
    return plan;
  }

  /// Takes hold of one that runs, and changes nothing that serves.
  WorkloadPlan Adopt() {
    if (deployment_.observed_generation < deployment_.generation || current_ == nullptr ||
        others_ != nullptr) {
      return Wait(fmt::format("Deployment {} to end its own rollout", facts_.name));
    }
    if (progress_.wanted != revision_) {
      WorkloadPlan plan;
      plan.revision = revision_;
      return plan;
    }
    WorkloadPlan plan;
    plan.write =
        WorkloadWrite{Hold(deployment_.knobs), "", facts_.rollout, ToJson(deployment_.knobs), revision_};
    return plan;
  }

  /// A template that no ReplicaSet has yet. Its hash is the Deployment controller's to say, so a pod of it is
  /// asked for.
  WorkloadPlan NewTemplate() const {
    WorkloadPlan plan = Write(Surge(1), deployment_.template_revision);
    plan.waits_for = fmt::format("the first pod of Deployment {}'s new template", facts_.name);
    return plan;
  }

  /// What was aborted is not tried again because somebody, or a GitOps controller, applies it once more.
  bool ReappliedAfterAbort() const { return progress_.aborted && revision_ == progress_.canary; }

  /// The template is another than the one Weir acted on last: the engine is told first, then it is noted.
  WorkloadPlan UsersChoice() const {
    if (progress_.wanted == revision_) return Write(deployment_.knobs, revision_);
    WorkloadPlan plan;
    plan.revision = revision_;
    return plan;
  }

  /// The template is as it was; what the engine wants may be another (abort, retry, undo).
  WorkloadPlan Follow() const {
    const std::string& target = progress_.aborted ? progress_.stable : progress_.wanted;
    if (!target.empty() && target != revision_) return ChangeTemplate(target);
    if (!progress_.canary.empty() && progress_.canary == revision_) return Lead();
    if (progress_.stable != revision_) return Wait("the rollout to begin");
    if (others_ != nullptr) return LetGo();
    return Write(Hold(user_), revision_, "",
                 deployment_.has_next ? NextTemplate::kBroughtBack : NextTemplate::kNone);
  }

  WorkloadPlan ChangeTemplate(const std::string& target) const {
    if (revision_ != deployment_.template_revision) {  // the aborted one, applied again
      WorkloadPlan plan =
          Write(others_ != nullptr && IsSurge(deployment_.knobs) ? deployment_.knobs : Hold(user_),
                deployment_.template_revision);
      plan.waits_for = fmt::format("retry: revision {} was aborted", revision_);
      return plan;
    }
    const ReplicaSet* set = SetOf(target);
    if (set == nullptr) {
      return Refuse(fmt::format(
          "Deployment {} has no ReplicaSet of revision {} any more: apply its template, and raise "
          "spec.revisionHistoryLimit",
          facts_.name, target));
    }
    // Back to stable: nobody dials the canary any more before its pods may go.
    if (target == progress_.stable && !progress_.settled)
      return Wait("every node to take the canary's weight away");
    if (target == progress_.stable)
      return Write(Stay(IsSurge(deployment_.knobs) ? deployment_.knobs : Surge(1)), target, set->key.name);
    // As a template of the user's would: see `stay`.
    if (revision_ == progress_.stable && IsEmpty(set) && !Leaving().empty()) return LetGo();
    return Write(Surge(progress_.pods.value_or(1)), target, set->key.name);
  }

  /// As many pods as the engine wants; fewer only once every node has the weights that need fewer.
  WorkloadPlan Lead() const {
    Knobs knobs = Surge(progress_.pods.value_or(1));
    const Knobs& present = deployment_.knobs;
    if (!progress_.settled && IsSurge(present) && present.max_surge.is_int64() &&
        present.max_surge.get_int64() > knobs.max_surge.get_int64()) {
      knobs.max_surge = present.max_surge;
    }
    return Write(knobs, revision_);
  }

  bool Stays() const { return IsSurge(deployment_.knobs) && deployment_.knobs.paused; }
  /// A template without pods came during `stay`.
  bool MustWait() const {
    return Stays() && revision_ != progress_.stable && SetOf(progress_.stable) != nullptr &&
           IsEmpty(current_);
  }
  static bool IsEmpty(const ReplicaSet* set) {
    return set == nullptr || (set->pods == 0 && set->replicas == 0);
  }

  /// A revision besides stable that has pods.
  std::string Leaving() const {
    for (const ReplicaSet& set : facts_.sets) {
      if (set.revision != progress_.stable && (set.pods > 0 || set.replicas > 0)) return set.revision;
    }
    return "";
  }

  /// All traffic is where it belongs; the other pods go when nobody talks to them any more. The template is
  /// stable's, or one that came meanwhile and waits.
  WorkloadPlan LetGo() const {
    const std::string leaving = Leaving();
    const bool settled = progress_.settled && !progress_.keeps_previous;
    if (!settled || !(facts_.leaving_may_go || leaving.empty())) {
      WorkloadPlan plan = Write(IsSurge(deployment_.knobs) ? Stay(deployment_.knobs) : deployment_.knobs,
                                deployment_.template_revision, "", NextTemplate::kKept);
      plan.waits_for = !progress_.settled         ? "every node to take the weights"
                       : progress_.keeps_previous ? "the way back to be over"
                                                  : fmt::format("connections to revision {} to end", leaving);
      if (settled) plan.leaving = leaving;
      return plan;
    }
    WorkloadPlan plan = revision_ == progress_.stable
                            ? Write(Release(user_), revision_, "", NextTemplate::kKept)
                            : Write(Release(user_), progress_.stable, SetOf(progress_.stable)->key.name,
                                    NextTemplate::kPutAside);
    plan.leaving = leaving;
    return plan;
  }

  const WorkloadFacts& facts_;
  const Deployment& deployment_;
  const RolloutProgress& progress_;
  const ReplicaSet* current_;           // of the present template
  const ReplicaSet* others_ = nullptr;  // another one with pods
  std::string revision_;                // of current_
  Knobs user_;
};

void SetOrErase(json::object& object, std::string_view name, const std::string& value) {
  if (value.empty()) {
    object.erase(name);
  } else {
    object[name] = value;
  }
}

json::object& MemberObject(json::object& object, std::string_view name) {
  json::value& member = object[name];
  if (!member.is_object()) member.emplace_object();
  return member.get_object();
}

}  // namespace

WorkloadPlan PlanWorkload(const WorkloadFacts& facts) {
  if (facts.deployment != nullptr) return Planner(facts).Next();
  WorkloadPlan plan;
  plan.waits_for = fmt::format("Deployment {}, which does not exist", facts.name);
  return plan;
}

WorkloadPlan PlanGivingBack(const WorkloadFacts& facts) {
  return facts.deployment == nullptr ? WorkloadPlan{} : Planner(facts).GiveBack();
}

void Edit(const WorkloadWrite& write, const json::value& pod_template, json::object& deployment) {
  json::object& annotations = MemberObject(MemberObject(deployment, "metadata"), "annotations");
  SetOrErase(annotations, kHolderAnnotation, write.holder);
  SetOrErase(annotations, kKeptAnnotation, write.kept);
  SetOrErase(annotations, kTemplateAnnotation, write.template_revision);
  json::object& spec = MemberObject(deployment, "spec");
  if (write.next == NextTemplate::kPutAside) annotations[kNextAnnotation] = json::serialize(spec["template"]);
  if (write.next == NextTemplate::kBroughtBack)
    spec["template"] = json::parse(annotations.at(kNextAnnotation).as_string());
  if (write.next == NextTemplate::kNone || write.next == NextTemplate::kBroughtBack)
    annotations.erase(kNextAnnotation);
  spec["paused"] = write.knobs.paused;
  spec["minReadySeconds"] = write.knobs.min_ready_seconds;
  spec["progressDeadlineSeconds"] = write.knobs.progress_deadline_seconds;
  json::object& rolling = MemberObject(MemberObject(spec, "strategy"), "rollingUpdate");
  rolling["maxSurge"] = write.knobs.max_surge;
  rolling["maxUnavailable"] = write.knobs.max_unavailable;
  if (write.template_of.empty()) return;
  json::value& wanted = spec["template"];
  wanted = pod_template;
  json::object& metadata =
      MemberObject(wanted.is_object() ? wanted.get_object() : wanted.emplace_object(), "metadata");
  if (json::value* labels = metadata.if_contains("labels"); labels != nullptr && labels->is_object())
    labels->get_object().erase(kHashLabel);
}

}  // namespace weir::kubernetes
