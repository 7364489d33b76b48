// start and end of a range query: now(), date("2026-01-31T12:00:00Z"), each with durations added or taken
// off: now() - duration("5m"). What else expr has for dates is refused.
#pragma once

#include <string_view>

#include "common/status.h"
#include "controller/analysis/template.h"

namespace weir::analysis {

/// INVALID_ARGUMENT "column N: ...".
Result<TimePoint> EvaluateTime(std::string_view expression, TimePoint now);

}  // namespace weir::analysis
