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
  bool Delivered() const;
  bool RefuseUnlessUnderWay(const char* verb);

  void Want(const std::string& revision);
  void Begin(const std::string& revision);
  void ClearPause();
  void EndHold();
  void SkipStep();
  bool TryStep();
  void Complete();
  uint32_t WantedWeight() const;
  Publish WantedPublish() const;
  void PublishIfChanged();

  State state_;
  const TimePoint now_;
  std::vector<Effect> effects_;
  bool rejected_ = false;
};

/// What share of the traffic a publish gives to a revision, of max_weight.
uint32_t ShareOf(const std::string& revision, const std::string& stable, const std::string& canary,
                 uint32_t weight, uint32_t max_weight) {
  if (revision == stable) return max_weight - (canary.empty() ? 0 : weight);
  return revision == canary ? weight : 0;
}

// ---- facts

void Machine::On(const SpecChanged& event) {
  if (event.spec == state_.given) return;
  const Spec before = std::exchange(state_.spec, event.spec);
  state_.given = event.spec;
  const std::string target = state_.canary.empty() ? state_.stable : state_.canary;
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
  if (event.acks.complete()) state_.delivery = Delivery::kAcked;
}

void Machine::On(const Restarted&) {
  // Whether the last publish was carried out is not known: it is harmless twice.
  if (state_.delivery != Delivery::kNone) Emit(WantedPublish());
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

/// What the last publish asked for has come far enough to go on: a raise is acked by all, a lowering waits
/// for nobody.
bool Machine::Delivered() const {
  if (state_.delivery == Delivery::kAcked) return true;
  return state_.delivery == Delivery::kPublished && state_.generation != 0 && !state_.raising;
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

Publish Machine::WantedPublish() const {
  const uint32_t all = state_.spec.max_weight;
  const uint32_t weight = WantedWeight();
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
  const auto share = [&](const std::string& stable, const std::string& canary, uint32_t weight,
                         uint32_t all) {
    return state_.canary.empty()
               ? 0.0
               : static_cast<double>(ShareOf(state_.canary, stable, canary, weight, all)) / all;
  };
  state_.raising = state_.delivery != Delivery::kNone &&
                   share(wanted.stable, wanted.canary, wanted.canary_weight, state_.spec.max_weight) >
                       share(state_.published_stable, state_.published_canary, state_.published_weight,
                             state_.published_max_weight);
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
