#include "controller/model/rollout_analysis.h"

#include <fmt/format.h>

#include "controller/model/analysis_fields.h"
#include "controller/model/kinds.h"

namespace weir::model {
namespace {

constexpr Refusal kAnalysisRefused[] = {
    {"analysisRunMetadata", "a run is no object of its own and has no labels", "remove it"},
};
constexpr Refusal kTemplateRefused[] = {
    {"clusterScope", "templates belong to a namespace",
     "name an AnalysisTemplate of the Rollout's namespace"},
};

std::optional<std::string> ReadTemplate(const Cursor& item) {
  if (!item.ExpectMap({"templateName"}, kTemplateRefused)) return std::nullopt;
  return item.RequireString("templateName", "the name of an AnalysisTemplate", "such as weir-success-rate");
}

engine::AnalysisArg::From FromOf(analysis::Argument::From from) {
  switch (from) {
    case analysis::Argument::From::kStable:
      return engine::AnalysisArg::From::kStable;
    case analysis::Argument::From::kLatest:
      return engine::AnalysisArg::From::kLatest;
    case analysis::Argument::From::kValue:
      break;
  }
  return engine::AnalysisArg::From::kValue;
}

/// What every place has. The map has been looked at.
engine::Analysis ReadFields(const Cursor& field) {
  engine::Analysis analysis;
  const auto templates = field.Require("templates", "a list of {templateName: ...}",
                                       "built-in are weir-success-rate, weir-latency and weir-connect");
  if (templates) {
    const auto items = templates->Items();
    if (items.empty() && templates->node().kind == YamlNode::Kind::kSequence)
      templates->Fail("at least one template", "remove the analysis, or name one");
    for (const Cursor& item : items) {
      if (auto name = ReadTemplate(item)) analysis.templates.push_back(*std::move(name));
    }
  }
  if (const auto args = field.Find("args")) {
    for (auto& argument : ReadArguments(*args, ArgumentsOf::kRollout))
      analysis.args.push_back({argument.name, argument.value.value_or(""), FromOf(argument.from)});
  }
  if (const auto dry_run = field.Find("dryRun")) analysis.dry_run = ReadDryRun(*dry_run);
  if (const auto retention = field.Find("measurementRetention")) {
    for (auto& [metric, limit] : ReadRetention(*retention)) analysis.retention.push_back({metric, limit});
  }
  return analysis;
}

}  // namespace

engine::Analysis ReadAnalysis(const Cursor& field) {
  if (!field.ExpectMap({"templates", "args", "dryRun", "measurementRetention", "untilConfident", "limit"},
                       kAnalysisRefused)) {
    return {};
  }
  engine::Analysis analysis = ReadFields(field);
  analysis.until_confident = field.BooleanAt("untilConfident").value_or(false);
  const auto limit = field.Find("limit");
  if (!limit) return analysis;
  analysis.limit = ReadDuration(*limit, "leave it out for 10m");
  if (!analysis.until_confident)
    limit->Fail("it only beside untilConfident: true", "a metric's count ends an analysis");
  return analysis;
}

engine::BackgroundAnalysis ReadBackgroundAnalysis(const Cursor& field, size_t steps) {
  static constexpr Refusal kRefused[] = {
      kAnalysisRefused[0],
      {"untilConfident", "nothing waits for background analysis", "make it a step"},
      {"limit", "it goes on until the rollout ends", "make it a step"},
  };
  if (!field.ExpectMap({"templates", "args", "dryRun", "measurementRetention", "startingStep"}, kRefused))
    return {};
  engine::BackgroundAnalysis background{.analysis = ReadFields(field)};
  if (const auto start = field.Find("startingStep")) {
    const auto last = static_cast<int64_t>(steps == 0 ? 0 : steps - 1);
    background.starting_step = static_cast<uint32_t>(start->Integer(0, last).value_or(0));
  }
  return background;
}

}  // namespace weir::model
