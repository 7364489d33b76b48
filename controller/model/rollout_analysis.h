// The analyses that a Rollout asks for, in Argo's spelling. Private to this folder.
#pragma once

#include "controller/engine/engine.h"
#include "controller/model/yaml_reader.h"

namespace weir::model {

/// {templates, args, dryRun, measurementRetention} of a step or of blue-green, and Weir's untilConfident and
/// limit.
engine::Analysis ReadAnalysis(const Cursor& field);

/// The same beside the steps: with startingStep, of `steps` there are; without an end to wait for.
engine::BackgroundAnalysis ReadBackgroundAnalysis(const Cursor& field, size_t steps);

}  // namespace weir::model
