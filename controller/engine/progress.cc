// How a rollout goes on: steps, weights, the end.
#include <algorithm>

#include "controller/engine/machine.h"

namespace weir::engine {

void Machine::SkipStep() {
  ClearPause();
  StopRun(state_.foreground);
  if (state_.step < state_.spec.steps.size()) ++state_.step;
}

uint32_t TargetWeight(const State& state) {
  if (state.canary.empty() || state.aborted) return 0;
  if (state.finishing) return state.spec.max_weight;
  if (state.spec.blue_green) return 0;  // nothing before the flip
  if (state.manual_weight) return std::min(*state.manual_weight, state.spec.max_weight);
  uint32_t weight = 0;
  for (uint32_t i = 0; i < state.spec.steps.size() && i <= state.step; ++i) {
    if (const auto* set = std::get_if<SetWeight>(&state.spec.steps[i])) weight = set->weight;
  }
  return std::min(weight, state.spec.max_weight);
}

bool Machine::Scaled() const {
  if (!state_.spec.scaled) return true;
  const auto wanted = CanaryPods(state_);
  const auto ready = state_.ready.find(state_.canary);
  return wanted && ready != state_.ready.end() && ready->second >= *wanted;
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
  // More is given only when there are the pods for it and every node that counts holds what it was given
  // before; less at once.
  const uint32_t weight =
      Delivered() && Scaled() ? WantedWeight() : std::min(WantedWeight(), PublishedShare());
  // The end is one generation: the new revision takes over and the old one is gone from the split.
  if (state_.finishing && weight == all)
    return {state_.canary, "", all, 0, KeptAtTheFlip(), state_.fail_safe_round};
  return {state_.stable, state_.canary, all - weight, weight, state_.previous, state_.fail_safe_round};
}

void Machine::PublishIfChanged() {
  const Publish wanted = WantedPublish();
  if (wanted.stable.empty()) return;
  if (state_.delivery != Delivery::kNone && wanted.stable == state_.published_stable &&
      wanted.canary == state_.published_canary && wanted.canary_weight == state_.published_weight &&
      wanted.previous == state_.published_previous && wanted.round == state_.published_round &&
      state_.spec.max_weight == state_.published_max_weight) {
    return;
  }
  publish_again_ = false;
  state_.published_stable = wanted.stable;
  state_.published_canary = wanted.canary;
  state_.published_previous = wanted.previous;
  state_.published_round = wanted.round;
  state_.published_weight = wanted.canary_weight;
  state_.published_max_weight = state_.spec.max_weight;
  state_.generation = 0;
  state_.delivery = Delivery::kPublished;
  state_.acks = {};
  Emit(wanted);
}

void Machine::Complete() {
  StopRuns();
  const std::string kept = KeptAtTheFlip();
  KeepPrevious(kept);
  const std::string before = state_.stable;
  state_.history.push_back(std::exchange(state_.stable, std::exchange(state_.canary, "")));
  if (state_.history.size() > kHistory) state_.history.erase(state_.history.begin());
  state_.finishing = false;
  Emit(Note{"revision " + state_.stable + " is stable"});
  if (kept.empty()) PlanEnding(before, /*completed=*/true);  // else once it is not kept any longer
}

/// One step forward, if the present one is done.
bool Machine::TryStep() {
  if (!Delivered() || !Scaled()) return false;
  if (state_.finishing) {
    if (PostPromotionDone()) Complete();
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
  if (const auto* analysis = std::get_if<Analysis>(&state_.spec.steps[state_.step])) {
    const AnalysisWhere where = state_.spec.blue_green ? AnalysisWhere::kPrePromotion : AnalysisWhere::kStep;
    if (!FinishedRun(state_.foreground, where, *analysis)) return false;
  }
  SkipStep();
  return true;
}

/// The earliest time at which something is due by itself.
void Machine::Wake() {
  std::optional<TimePoint> next = state_.previous_until;
  if (const auto& ending = state_.ending;
      ending && !ending->ordered && ending->due && now_ < *ending->due && (!next || *ending->due < *next))
    next = ending->due;
  if (state_.pause_until && now_ < *state_.pause_until && !OnHold() &&
      (!next || *state_.pause_until < *next)) {
    next = state_.pause_until;
  }
  if (next) Emit(WakeAt{*next});
}

void Machine::Advance() {
  DropPreviousWhenDue();
  PublishIfChanged();
  while (!state_.canary.empty() && !state_.aborted && !OnHold() && CanaryReady() && TryStep())
    PublishIfChanged();
  KeepBackground();
  OrderWhenDue();
  if (publish_again_) Emit(WantedPublish());
  Wake();
}

}  // namespace weir::engine
