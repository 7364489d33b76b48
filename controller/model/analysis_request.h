// From an analysis of a Rollout to what is asked of controller/analysis. Pure.
#pragma once

#include <string>

#include "controller/analysis/metric.h"
#include "controller/engine/engine.h"
#include "controller/model/objects.h"

namespace weir::model {

/// Without revisions and `background`, which its place decides.
analysis::RunRequest RequestOf(const engine::Analysis& analysis);

/// The AnalysisTemplates of a namespace. `objects` must outlive it.
analysis::FindTemplate TemplatesOf(const ObjectSet& objects, const std::string& ns);

}  // namespace weir::model
