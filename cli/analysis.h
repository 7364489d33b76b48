// Runs of analyses, as rows and as a page of one run: every metric and every measurement.
#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "cli/table.h"
#include "cli/views.h"
#include "weir/v1/rollouts.pb.h"

namespace weir::cli {

/// Green for Successful, red for Failed and Error, yellow for Inconclusive, blue while it is at work.
Color OutcomeColor(std::string_view phase);
/// "step 1", "in the background", "before promotion", "after promotion".
std::string PlaceText(const v1::AnalysisRun& run);

std::vector<std::string> AnalysisHeader(const ViewOptions& options);
Row AnalysisRow(const v1::AnalysisRun& run, const ViewOptions& options);

/// `wide` adds conditions and limits.
void PrintAnalysis(const v1::AnalysisRun& run, const ViewOptions& options, bool use_color, std::ostream& out);

}  // namespace weir::cli
