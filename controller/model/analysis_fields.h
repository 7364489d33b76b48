// What an AnalysisTemplate and a Rollout's analysis spell alike. Private to the model.
#pragma once

#include <string>
#include <vector>

#include "controller/analysis/template.h"
#include "controller/model/yaml_reader.h"

namespace weir::model {

/// A list of {name, value} or {name, valueFrom: {podTemplateHashValue: Stable | Latest}}, each name once. In
/// a Rollout one of value and valueFrom must be there, in a template at most one. Those with a complaint may
/// be left out.
enum class ArgumentsOf { kTemplate, kRollout };
std::vector<analysis::Argument> ReadArguments(const Cursor& list, ArgumentsOf of);

/// A list of {metricName}.
std::vector<std::string> ReadDryRun(const Cursor& list);

/// A list of {metricName, limit}.
std::vector<analysis::Retention> ReadRetention(const Cursor& list);

}  // namespace weir::model
