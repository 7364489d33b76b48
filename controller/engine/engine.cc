#include "controller/engine/engine.h"

#include <algorithm>
#include <utility>

namespace weir::engine {
namespace {

/// One Step in the making: the state, what comes of it, and the time.
class Machine {
 public:
  Machine(State state, TimePoint now) : state_(std::move(state)), now_(now) {}

  void On(const SpecChanged& event);
  void On(const EndpointsObserved& event) { state_.ready = event.ready; }
  void On(const Published& event);
  void On(const AcksObserved& event);
  void On(const Tick&) {}
  void On(const Restarted&);
  void On(const Promote& event);
  void On(const Abort&);
  void On(const Retry&);
  void On(const UserPause&);
  void On(const Resume&);
  void On(const SetWeightByHand& event);
  void On(const Undo& event);

  /// Goes as far as the facts allow, then says what must be in force and when to look again.
  void Advance();
  bool rejected() const { return rejected_; }
  Decision Finish() && { return {std::move(state_), std::move(effects_)}; }

 private:
  void Emit(Effect effect) { effects_.push_back(std::move(effect)); }
  void Refuse(std::string reason) {
    rejected_ = true;
    Emit(Reject{std::move(reason)});
  }
  bool OnHold() const { return state_.hold == Hold::kUser || state_.spec.paused; }
  bool CanaryReady() const {
    const auto ready = state_.ready.find(state_.canary);
    return ready != state_.ready.end() && ready->second > 0;
  }
  bool Delivered() const { return state_.delivery == Delivery::kAcked; }
  bool RefuseUnlessUnderWay(const char* verb);

  void Want(const std::string& revision);
  void Begin(const std::string& revision);
  void ClearPause();
  void EndHold();
  void SkipStep();
  bool TryStep();
  void Complete();
  uint32_t WantedWeight() const;
  uint32_t PublishedShare() const;
  Publish WantedPublish() const;
  void PublishIfChanged();

  State state_;
  const TimePoint now_;
  std::vector<Effect> effects_;
  bool rejected_ = false;
  bool publish_again_ = false;
};

// ---- facts

void Machine::On(const SpecChanged& event) {
  if (event.spec == state_.given) return;
  const Spec before = std::exchange(state_.spec, event.spec);
  state_.given = event.spec;
  if (before.paused && !event.spec.paused && state_.hold == Hold::kNone) state_.manual_weight.reset();
  const std::string target = state_.canary.empty() ? state_.stable : state_.canary;
  if (event.spec.revision.empty()) {
    return;  // none is known yet: nothing to go to
  }
  if (event.spec.revision != target || state_.stable.empty()) {
    Want(event.spec.revision);
  } else if (!state_.canary.empty() && !state_.aborted &&
             (event.spec.steps != before.steps || event.spec.max_weight != before.max_weight)) {
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
    state_.canary.clear();
    state_.aborted = false;
    state_.finishing = false;
    state_.step = 0;
    EndHold();
    ClearPause();
  } else {
    Emit(Note{"rollout of revision " + revision + " begins, stable is " + state_.stable});
    Begin(revision);
  }
}

void Machine::Begin(const std::string& revision) {
  state_.canary = revision;
  state_.step = 0;
  state_.finishing = false;
  state_.aborted = false;
  state_.started = now_;
  state_.hold = Hold::kNone;
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
  if (state_.finishing && !OnHold()) {
    return Refuse("the last step is done: revision " + state_.canary +
                  " becomes stable when every node has acknowledged");
  }
  const bool held = OnHold();
  EndHold();
  if (event.full) {
    ClearPause();
    state_.step = static_cast<uint32_t>(state_.spec.steps.size());
    state_.finishing = true;
  } else if (!held || state_.pause_started) {
    SkipStep();
  }
}

void Machine::On(const Abort&) {
  if (RefuseUnlessUnderWay("abort")) return;
  state_.aborted = true;
  state_.finishing = false;
  EndHold();
  ClearPause();
  Emit(Note{"aborted: all traffic back to revision " + state_.stable});
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

// ---- progress

void Machine::ClearPause() {
  state_.pause_started.reset();
  state_.pause_until.reset();
}

void Machine::EndHold() {
  state_.hold = Hold::kNone;
  state_.spec.paused = false;
  state_.manual_weight.reset();
}

void Machine::SkipStep() {
  ClearPause();
  if (state_.step < state_.spec.steps.size()) ++state_.step;
}

uint32_t Machine::WantedWeight() const {
  if (state_.canary.empty() || state_.aborted || !CanaryReady()) return 0;
  if (state_.finishing) return state_.spec.max_weight;
  if (state_.manual_weight) return std::min(*state_.manual_weight, state_.spec.max_weight);
  uint32_t weight = 0;
  for (uint32_t i = 0; i < state_.spec.steps.size() && i <= state_.step; ++i) {
    if (const auto* set = std::get_if<SetWeight>(&state_.spec.steps[i])) weight = set->weight;
  }
  return std::min(weight, state_.spec.max_weight);
}

/// The present canary's weight as last published, in units of today's max_weight; never rounded up.
uint32_t Machine::PublishedShare() const {
  uint64_t weight = 0;
  if (state_.canary == state_.published_stable && state_.published_canary.empty()) {
    weight = state_.published_max_weight;
  } else if (state_.canary == state_.published_canary) {
    weight = state_.published_weight;
  }
  if (weight == 0) return 0;
  return static_cast<uint32_t>(weight * state_.spec.max_weight / state_.published_max_weight);
}

Publish Machine::WantedPublish() const {
  const uint32_t all = state_.spec.max_weight;
  // More is given only when every node that counts holds what it was given before; less at once.
  const uint32_t weight = Delivered() ? WantedWeight() : std::min(WantedWeight(), PublishedShare());
  // The end is one generation: the new revision takes over and the old one is gone from the split.
  if (state_.finishing && weight == all) return {state_.canary, "", all, 0};
  return {state_.stable, state_.canary, all - weight, weight};
}

void Machine::PublishIfChanged() {
  const Publish wanted = WantedPublish();
  if (wanted.stable.empty()) return;
  if (state_.delivery != Delivery::kNone && wanted.stable == state_.published_stable &&
      wanted.canary == state_.published_canary && wanted.canary_weight == state_.published_weight &&
      state_.spec.max_weight == state_.published_max_weight) {
    return;
  }
  publish_again_ = false;
  state_.published_stable = wanted.stable;
  state_.published_canary = wanted.canary;
  state_.published_weight = wanted.canary_weight;
  state_.published_max_weight = state_.spec.max_weight;
  state_.generation = 0;
  state_.delivery = Delivery::kPublished;
  state_.acks = {};
  Emit(wanted);
}

void Machine::Complete() {
  state_.history.push_back(std::exchange(state_.stable, std::exchange(state_.canary, "")));
  if (state_.history.size() > kHistory) state_.history.erase(state_.history.begin());
  state_.finishing = false;
  Emit(Note{"revision " + state_.stable + " is stable"});
}

/// One step forward, if the present one is done.
bool Machine::TryStep() {
  if (!Delivered()) return false;
  if (state_.finishing) {
    Complete();
    return false;
  }
  if (state_.step >= state_.spec.steps.size()) {
    state_.finishing = true;
    return true;
  }
  if (const auto* pause = std::get_if<Pause>(&state_.spec.steps[state_.step])) {
    if (!state_.pause_started) {
      state_.pause_started = now_;
      if (pause->duration) state_.pause_until = now_ + *pause->duration;
    }
    if (!state_.pause_until || now_ < *state_.pause_until) return false;
  }
  SkipStep();
  return true;
}

void Machine::Advance() {
  PublishIfChanged();
  while (!state_.canary.empty() && !state_.aborted && !OnHold() && CanaryReady() && TryStep())
    PublishIfChanged();
  if (publish_again_) Emit(WantedPublish());
  if (state_.pause_until && now_ < *state_.pause_until && !OnHold()) Emit(WakeAt{*state_.pause_until});
}

}  // namespace

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
