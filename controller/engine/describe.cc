// What people see of a State.
#include "controller/engine/engine.h"

namespace weir::engine {
namespace {

std::string Join(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

uint32_t Ready(const State& state) {
  const auto ready = state.ready.find(state.canary);
  return ready == state.ready.end() ? 0 : ready->second;
}

/// What of the canary's pods is not there yet; empty where nothing is to be waited for.
std::string WaitsForPods(const State& state) {
  const uint32_t ready = Ready(state);
  if (!state.spec.scaled) return ready > 0 ? "" : "waiting for a ready endpoint of revision " + state.canary;
  const auto wanted = CanaryPods(state);
  if (!wanted) return "waiting for its workload to be seen";
  if (*wanted == 0) return "waiting for pods: the workload is scaled to 0";
  if (ready >= *wanted) return "";
  return "waiting for pods of revision " + state.canary + ": " + std::to_string(ready) + " of " +
         std::to_string(*wanted) + " ready";
}

/// Why a raise of weight is not done yet.
std::string WaitsForNodes(const State& state) {
  if (state.generation == 0) return "publishing the weights";
  const Acks& acks = state.acks;
  if (!acks.refusing.empty()) return "held back: refused by " + Join(acks.refusing);
  if (acks.generation != state.generation) {
    return "waiting for nodes to acknowledge generation " + std::to_string(state.generation);
  }
  return "waiting for " + std::to_string(acks.desired - acks.acked) + " of " + std::to_string(acks.desired) +
         " nodes to acknowledge generation " + std::to_string(state.generation);
}

/// A pause step that has not ended.
void DescribePause(const State& state, TimePoint now, const std::string& at, Description& description) {
  description.phase = Phase::kPaused;
  description.paused = true;
  if (state.pause_until) description.pause_remaining = *state.pause_until - now;
  if (state.spec.blue_green) {  // Argo's word for it
    description.message = "BlueGreenPause: revision " + state.canary +
                          (state.pause_until ? " is promoted when the pause ends"
                                             : " is ready; promote to give it all traffic");
  } else {
    description.message = state.pause_until ? "pausing at " + at : "paused at " + at + "; promote to go on";
  }
}

/// What to know about nodes whatever the phase.
std::string NodeRemarks(const State& state) {
  std::string remarks;
  if (state.acks.generation != 0 && state.acks.desired == 0) remarks += "no agent is connected";
  if (!state.acks.behind.empty()) {
    remarks += std::string(remarks.empty() ? "" : "; ") +
               "out of reach and not waited for: " + Join(state.acks.behind);
  }
  return remarks;
}

void DescribeCanary(const State& state, TimePoint now, Description& description) {
  const std::string at =
      "step " + std::to_string(state.step) + " of " + std::to_string(state.spec.steps.size());
  if (state.hold == Hold::kInconclusive || state.hold == Hold::kFailSafe) {
    description.phase = Phase::kPaused;
    description.paused = true;
    description.message = state.reason + "; promote or resume to go on, or abort";
  } else if (state.spec.paused || state.hold == Hold::kUser) {
    description.phase = Phase::kPaused;
    description.paused = true;
    description.message =
        state.manual_weight && state.hold == Hold::kUser
            ? "weight " + std::to_string(*state.manual_weight) + " set by hand; resume or promote to go on"
            : "paused by the user at " + at + "; resume or promote to go on";
  } else if (const std::string waits = WaitsForPods(state); !waits.empty()) {
    description.message = waits;
  } else if (state.pause_started && (!state.pause_until || now < *state.pause_until)) {
    DescribePause(state, now, at, description);
  } else if (state.delivery != Delivery::kAcked) {
    description.message = WaitsForNodes(state);
  } else if (state.foreground && !state.foreground->outcome) {
    description.message = AnalysisText(state.foreground->where, state.foreground->step) + " is at work";
  }
}

}  // namespace

Description Describe(const State& state, TimePoint now) {
  Description description;
  description.phase = Phase::kProgressing;
  if (state.stable.empty()) {
    description.message = "no revision is named yet";
  } else if (state.canary.empty()) {
    description.phase = Phase::kHealthy;
  } else if (state.aborted) {
    description.phase = Phase::kDegraded;
    description.message = "revision " + state.canary + " was aborted" +
                          (state.reason.empty() ? "" : ": " + state.reason) +
                          "; retry it, undo, or name another revision";
  } else {
    DescribeCanary(state, now, description);
  }
  if (!state.canary.empty()) {
    const bool takes_over = state.published_stable == state.canary;
    description.canary_weight = takes_over ? state.published_max_weight : state.published_weight;
  }
  if (state.previous_until && now < *state.previous_until) {
    description.previous_remaining = *state.previous_until - now;
  }
  description.ending = DescribeEnding(state, now);
  for (const std::string& remarks : {description.ending, NodeRemarks(state)}) {
    if (remarks.empty()) continue;
    description.message += (description.message.empty() ? "" : "; ") + remarks;
  }
  return description;
}

}  // namespace weir::engine
