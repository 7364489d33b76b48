// What nodes do by themselves: they take an exposed canary out when they hear no controller, or when its
// connects fail (agent/guard). The rollout then waits for a person.
#include "controller/engine/machine.h"

namespace weir::engine {
namespace {

std::string ReasonOf(const TakenOutObserved& event) {
  std::string text = "revision " + event.canary + " was taken out by ";
  for (size_t i = 0; i < event.nodes.size(); ++i) text += (i == 0 ? "" : "; ") + event.nodes[i];
  return text;
}

}  // namespace

bool IsNews(const State& state, const TakenOutObserved& event) {
  if (event.nodes.empty() || state.canary.empty() || state.aborted || state.finishing) return false;
  if (state.spec.blue_green) return false;  // nothing is exposed before the flip
  if (event.canary != state.canary || event.round != state.fail_safe_round) return false;  // answered already
  return state.hold != Hold::kFailSafe || state.reason != ReasonOf(event);
}

/// Takes the place of another hold: they end together.
void Machine::On(const TakenOutObserved& event) {
  if (!IsNews(state_, event)) return;
  std::string text = ReasonOf(event);
  if (state_.hold != Hold::kFailSafe) Emit(Note{"paused: " + text});
  state_.hold = Hold::kFailSafe;
  state_.reason = std::move(text);
}

}  // namespace weir::engine
