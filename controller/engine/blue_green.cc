// Blue-green: the revision before stays in the split with weight 0 until scaleDownDelaySeconds have passed,
// so that the way back is one generation that waits for nobody.
#include "controller/engine/machine.h"

namespace weir::engine {

bool Machine::CanGoBack() const {
  if (state_.previous.empty() || !state_.previous_until || now_ >= *state_.previous_until) return false;
  const auto ready = state_.ready.find(state_.previous);
  return ready != state_.ready.end() && ready->second > 0;
}

/// Stable is what it was before the last flip; returns what it was until now.
std::string Machine::GoBack() {
  StopRuns();
  std::string left = std::exchange(state_.stable, std::exchange(state_.previous, ""));
  state_.previous_until.reset();
  if (!state_.history.empty()) state_.history.pop_back();  // `previous` is always the newest of it
  state_.finishing = false;
  EndHold();
  ClearPause();
  return left;
}

/// Back because another revision is wanted: no steps for what served all traffic a moment ago.
void Machine::ReturnToPrevious() {
  Emit(Note{"revision " + state_.stable + " gives way to revision " + state_.previous +
            ", which was kept: no steps"});
  std::string left = GoBack();
  PlanEnding(left, /*completed=*/false);
  state_.canary.clear();
  state_.aborted = false;
  state_.step = 0;
  state_.history.push_back(std::move(left));
}

/// Back because the rollout that ended was a mistake: as if it had been aborted before its end.
void Machine::AbortAfterTheFlip() {
  state_.canary = GoBack();
  state_.aborted = true;
  state_.full = false;
  PlanEnding(state_.canary, /*completed=*/false);
  Emit(Note{"aborted after the flip: all traffic back to revision " + state_.stable});
}

/// What the generation of the flip keeps beside the new revision.
std::string Machine::KeptAtTheFlip() const {
  const auto& blue_green = state_.spec.blue_green;
  return blue_green && blue_green->scale_down_delay > Duration{0} ? state_.stable : "";
}

void Machine::KeepPrevious(const std::string& revision) {
  DropPrevious();
  if (revision.empty()) return;
  state_.previous = revision;
  state_.previous_until = now_ + state_.spec.blue_green->scale_down_delay;
}

void Machine::DropPrevious() {
  if (!state_.previous.empty()) PlanEnding(state_.previous, /*completed=*/true);
  state_.previous.clear();
  state_.previous_until.reset();
}

void Machine::DropPreviousWhenDue() {
  if (!state_.previous_until || now_ < *state_.previous_until) return;
  Emit(Note{"revision " + state_.previous + " is not kept any longer"});
  DropPrevious();
}

}  // namespace weir::engine
