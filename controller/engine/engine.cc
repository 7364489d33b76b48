#include "controller/engine/engine.h"

#include <algorithm>

#include "controller/engine/machine.h"

namespace weir::engine {

namespace {

/// What is kept and for how long may change in mid-rollout; all else of blue-green may not.
bool OtherStrategy(const Spec& a, const Spec& b) {
  if (a.blue_green.has_value() != b.blue_green.has_value()) return true;
  return a.blue_green && a.blue_green->post_promotion != b.blue_green->post_promotion;
}

}  // namespace

// ---- facts

void Machine::On(const SpecChanged& event) {
  if (event.spec == state_.given) return;
  const Spec before = std::exchange(state_.spec, event.spec);
  state_.given = event.spec;
  if (before.paused && !event.spec.paused && state_.hold == Hold::kNone) state_.manual_weight.reset();
  if (!event.spec.blue_green) DropPrevious();
  KeepEnding(before);
  const std::string target = state_.canary.empty() ? state_.stable : state_.canary;
  if (event.spec.revision.empty()) {
    return;  // none is known yet: nothing to go to
  }
  if (event.spec.revision != target || state_.stable.empty()) {
    Want(event.spec.revision);
  } else if (!state_.canary.empty() && !state_.aborted &&
             (event.spec.steps != before.steps || event.spec.max_weight != before.max_weight ||
              event.spec.background != before.background || OtherStrategy(event.spec, before))) {
    Emit(Note{"the steps were changed: starting again from step 0"});
    Begin(state_.canary);
  }
}

void Machine::Want(const std::string& revision) {
  if (state_.stable.empty()) {
    state_.stable = revision;
    Emit(Note{"revision " + revision + " is the first: stable at once"});
  } else if (revision == state_.stable) {
    Emit(Note{"back to stable revision " + revision});
    StopRuns();
    if (!state_.aborted && !state_.canary.empty()) PlanEnding(state_.canary, /*completed=*/false);
    state_.canary.clear();
    state_.aborted = false;
    state_.finishing = false;
    state_.step = 0;
    EndHold();
    ClearPause();
  } else if (revision == state_.previous && CanGoBack()) {
    ReturnToPrevious();
  } else {
    Emit(Note{"rollout of revision " + revision + " begins, stable is " + state_.stable});
    Begin(revision);
  }
}

void Machine::Begin(const std::string& revision) {
  if (revision == state_.previous) DropPrevious();  // a variant once, not twice
  StopRuns();
  CancelEnding();
  ++state_.attempt;
  state_.background_runs = 0;
  state_.full = false;
  state_.canary = revision;
  state_.step = 0;
  state_.finishing = false;
  state_.aborted = false;
  state_.started = now_;
  if (state_.hold == Hold::kFailSafe)
    ++state_.fail_safe_round;  // what nodes did was done to the attempt before
  state_.hold = Hold::kNone;
  state_.reason.clear();
  state_.manual_weight.reset();
  if (state_.spec.paused) state_.manual_weight = 0;  // paused before the first step: nothing yet
  ClearPause();
}

void Machine::On(const Published& event) {
  if (state_.delivery == Delivery::kNone || event.generation == state_.generation) return;
  state_.generation = event.generation;
  state_.delivery = Delivery::kPublished;
}

void Machine::On(const AcksObserved& event) {
  if (state_.generation == 0 || event.acks.generation != state_.generation) return;  // of an earlier publish
  state_.acks = event.acks;
  // Not for good: a node that comes back and does not ack holds the next raise.
  state_.delivery = event.acks.complete() ? Delivery::kAcked : Delivery::kPublished;
}

void Machine::On(const Restarted&) {
  // Whether the last effects were carried out is not known: they are harmless twice.
  if (state_.spec.revision != state_.given.revision) Emit(SetRevision{state_.spec.revision});
  publish_again_ = state_.delivery != Delivery::kNone;
  for (const auto* run : {&state_.foreground, &state_.background}) {
    if (*run && !(*run)->outcome) EmitStart(**run);
  }
}

// ---- commands

bool Machine::RefuseUnlessUnderWay(const char* verb) {
  if (state_.canary.empty()) {
    Refuse(std::string("nothing to ") + verb + ": no rollout is in progress, revision " + state_.stable +
           " is stable");
  } else if (state_.aborted) {
    Refuse("the rollout of revision " + state_.canary + " was aborted: retry it, or name another revision");
  } else {
    return false;
  }
  return true;
}

void Machine::On(const Promote& event) {
  if (RefuseUnlessUnderWay("promote")) return;
  if (!CanaryReady()) return Refuse("revision " + state_.canary + " has no ready endpoint to promote");
  if (state_.finishing && !OnHold() && (!state_.foreground || !event.full)) {
    if (state_.foreground) return Refuse("analysis after promotion is at work: promote --full skips it");
    return Refuse("the last step is done: revision " + state_.canary +
                  " becomes stable when every node has acknowledged");
  }
  const bool held = OnHold();
  EndHold();
  if (event.full) {
    StopRuns();
    ClearPause();
    state_.step = static_cast<uint32_t>(state_.spec.steps.size());
    state_.finishing = true;
    state_.full = true;
  } else if (!held || state_.pause_started) {
    SkipStep();
  }
}

void Machine::On(const Abort&) {
  if (state_.canary.empty() && CanGoBack()) return AbortAfterTheFlip();
  if (RefuseUnlessUnderWay("abort")) return;
  AbortBecause("");
}

void Machine::AbortBecause(std::string reason) {
  StopRuns();
  state_.aborted = true;
  state_.finishing = false;
  EndHold();
  ClearPause();
  Emit(Note{"aborted" + (reason.empty() ? "" : " (" + reason + ")") + ": all traffic back to revision " +
            state_.stable});
  state_.reason = std::move(reason);
  PlanEnding(state_.canary, /*completed=*/false);
}

void Machine::On(const Retry&) {
  if (!state_.aborted) return Refuse("nothing to retry: the rollout was not aborted");
  Emit(Note{"rollout of revision " + state_.canary + " is tried again"});
  Begin(state_.canary);
}

void Machine::On(const UserPause&) {
  if (RefuseUnlessUnderWay("pause")) return;
  if (OnHold()) return Refuse("the rollout is paused already");
  state_.hold = Hold::kUser;
}

void Machine::On(const Resume&) {
  if (RefuseUnlessUnderWay("resume")) return;
  if (!OnHold()) return Refuse("the rollout is not held: a pause step is ended by promote");
  EndHold();
}

void Machine::On(const SetWeightByHand& event) {
  if (RefuseUnlessUnderWay("set a weight for")) return;
  if (state_.spec.blue_green) return Refuse("blue-green knows no weights: promote gives all traffic at once");
  if (event.weight > state_.spec.max_weight) {
    return Refuse("weight " + std::to_string(event.weight) + " is above the maximum of " +
                  std::to_string(state_.spec.max_weight));
  }
  if (state_.finishing)
    return Refuse("the last step is done: abort, or let revision " + state_.canary + " become stable");
  if (!CanaryReady()) return Refuse("revision " + state_.canary + " has no ready endpoint");
  state_.manual_weight = event.weight;
  state_.hold = Hold::kUser;
}

void Machine::On(const Undo& event) {
  std::string revision = event.to_revision;
  if (revision.empty()) {
    if (!state_.canary.empty()) {
      revision = state_.stable;
    } else if (!state_.history.empty()) {
      revision = state_.history.back();
    } else {
      return Refuse("there is no revision before " + state_.stable + " to go back to");
    }
  } else if (revision != state_.stable &&
             std::find(state_.history.begin(), state_.history.end(), revision) == state_.history.end()) {
    return Refuse("revision " + revision + " was never stable here");
  }
  if (revision == state_.spec.revision) return Refuse("revision " + revision + " is the one wanted already");
  state_.spec.revision = revision;
  Emit(SetRevision{revision});
  Want(revision);
}

void Machine::ClearPause() {
  state_.pause_started.reset();
  state_.pause_until.reset();
}

void Machine::EndHold() {
  if (state_.hold == Hold::kFailSafe) ++state_.fail_safe_round;  // the nodes shall go on, too
  state_.hold = Hold::kNone;
  state_.reason.clear();
  state_.spec.paused = false;
  state_.manual_weight.reset();
}

const char* PhaseName(Phase phase) {
  switch (phase) {
    case Phase::kProgressing:
      return "Progressing";
    case Phase::kPaused:
      return "Paused";
    case Phase::kHealthy:
      return "Healthy";
    case Phase::kDegraded:
      return "Degraded";
  }
  return "Unknown";
}

Decision Step(const State& state, const Event& event, TimePoint now) {
  Machine machine(state, now);
  std::visit([&](const auto& concrete) { machine.On(concrete); }, event);
  if (!machine.rejected()) machine.Advance();
  return std::move(machine).Finish();
}

}  // namespace weir::engine
