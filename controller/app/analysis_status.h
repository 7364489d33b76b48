// Runs of analyses as the API shows them. Pure functions of what the runner holds.
#pragma once

#include "controller/app/analysis_runner.h"
#include "weir/v1/rollouts.pb.h"

namespace weir::app {

/// Those that match, by rollout and begin; the request's name is a run's or a rollout's.
v1::ListAnalysisRunsResponse AnalysisRuns(const AnalysisRunner& runner, const v1::ListRequest& request);

/// The runs of the rollout's present attempt; and, in the message, how those at work stand.
void AddAnalyses(const AnalysisRunner& runner, const model::ObjectKey& rollout, const engine::State& state,
                 v1::Rollout& status);

}  // namespace weir::app
