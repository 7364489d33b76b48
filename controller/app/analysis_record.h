// A run of an analysis with its place in a rollout, and the text the store keeps of it. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"
#include "controller/analysis/run.h"
#include "controller/engine/engine.h"
#include "controller/model/objects.h"

namespace weir::app {

struct AnalysisRecord {
  model::ObjectKey rollout;
  engine::AnalysisWhere where = engine::AnalysisWhere::kStep;
  uint32_t step = 0;           // of the rollout, at which it began
  std::string stable, canary;  // revisions
  analysis::Run run;           // its id tells it from the rollout's others
};

/// Secrets are not in it; see analysis::ToJson.
std::string ToStored(const AnalysisRecord& record);
/// DATA_LOSS for anything that ToStored does not write.
Result<AnalysisRecord> ParseStoredRun(const std::string& json);

/// "checkout-v2-1-step-2": the name people and the API use.
std::string NameOf(const AnalysisRecord& record);

/// Of a run that has ended.
engine::Outcome OutcomeOf(analysis::Phase phase);

}  // namespace weir::app
