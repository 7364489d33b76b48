// How many pods a canary needs: Argo Rollouts' rules for a canary with traffic routing.
#include <algorithm>

#include "controller/engine/machine.h"

namespace weir::engine {
namespace {

uint32_t ShareOf(uint32_t replicas, uint32_t part, uint32_t whole) {
  return static_cast<uint32_t>((uint64_t{replicas} * part + whole - 1) / whole);  // a part of a pod is a pod
}

}  // namespace

std::optional<uint32_t> CanaryPods(const State& state) {
  if (!state.spec.scaled || !state.replicas) return std::nullopt;
  if (state.canary.empty() || state.aborted) return 0;
  const uint32_t replicas = *state.replicas;
  if (replicas == 0) return 0;  // the user wants none, and there is no traffic to give away
  // Before it takes over it must be able to: with all pods, and while those of stable are still there.
  if (state.finishing || state.spec.blue_green) return replicas;
  uint32_t pods = ShareOf(replicas, TargetWeight(state), state.spec.max_weight);
  for (uint32_t i = 0; i < state.spec.steps.size() && i <= state.step; ++i) {
    const auto* scale = std::get_if<SetCanaryScale>(&state.spec.steps[i]);
    if (scale == nullptr) continue;
    pods = scale->replicas  ? *scale->replicas
           : scale->percent ? ShareOf(replicas, *scale->percent, 100)
                            : ShareOf(replicas, TargetWeight(state), state.spec.max_weight);
  }
  // Without one the rollout could not go on; more than the workload has, its Deployment does not make.
  return std::clamp(pods, 1U, replicas);
}

}  // namespace weir::engine
