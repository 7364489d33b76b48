#include "controller/model/rollout_analysis.h"

#include <fmt/format.h>

#include <set>

#include "controller/model/kinds.h"

namespace weir::model {
namespace {

constexpr int64_t kMaxRetained = 1000;

constexpr Refusal kAnalysisRefused[] = {
    {"analysisRunMetadata", "a run is no object of its own and has no labels", "remove it"},
};
constexpr Refusal kTemplateRefused[] = {
    {"clusterScope", "templates belong to a namespace",
     "name an AnalysisTemplate of the Rollout's namespace"},
};
constexpr Refusal kValueFromRefused[] = {
    {"fieldRef", "a Rollout's fields are not looked up", "write the value"},
    {"secretKeyRef", "there are no secrets to look up", "write the value in the template"},
};

std::optional<std::string> ReadTemplate(const Cursor& item) {
  if (!item.ExpectMap({"templateName"}, kTemplateRefused)) return std::nullopt;
  return item.RequireString("templateName", "the name of an AnalysisTemplate", "such as weir-success-rate");
}

/// value, or valueFrom: {podTemplateHashValue: Stable | Latest}.
std::optional<engine::AnalysisArg> ReadArg(const Cursor& item) {
  if (!item.ExpectMap({"name", "value", "valueFrom"})) return std::nullopt;
  const auto name = item.RequireString("name", "the name of an argument of the template");
  if (!name) return std::nullopt;
  engine::AnalysisArg arg{.name = *name};
  const auto value = item.Find("value");
  const auto from = item.Find("valueFrom");
  if (value.has_value() == from.has_value()) {
    item.FailText(
        Complaint(value ? "value and valueFrom" : "neither value nor valueFrom", "one of the two", ""));
    return std::nullopt;
  }
  if (value) {
    arg.value = value->String().value_or("");
    return arg;
  }
  if (!from->ExpectMap({"podTemplateHashValue"}, kValueFromRefused)) return std::nullopt;
  const auto revision = from->Require("podTemplateHashValue", "Stable or Latest");
  const auto word = revision ? revision->OneOf({"Stable", "Latest"}) : std::nullopt;
  if (!word) return std::nullopt;
  arg.from = *word == "Stable" ? engine::AnalysisArg::From::kStable : engine::AnalysisArg::From::kLatest;
  return arg;
}

void ReadArgs(const Cursor& field, engine::Analysis& analysis) {
  std::set<std::string> names;
  const auto items = field.Items();
  for (const Cursor& item : items) {
    const auto arg = ReadArg(item);
    if (!arg) continue;
    if (!names.insert(arg->name).second) item.Find("name")->Fail("each argument once", "remove one of them");
    analysis.args.push_back(*arg);
  }
}

void ReadDryRun(const Cursor& field, engine::Analysis& analysis) {
  const auto items = field.Items();
  for (const Cursor& item : items) {
    if (!item.ExpectMap({"metricName"})) continue;
    if (const auto name = item.RequireString("metricName", "a metric's name, or a pattern"))
      analysis.dry_run.push_back(*name);
  }
}

void ReadRetention(const Cursor& field, engine::Analysis& analysis) {
  const auto items = field.Items();
  for (const Cursor& item : items) {
    if (!item.ExpectMap({"metricName", "limit"})) continue;
    const auto name = item.RequireString("metricName", "a metric's name, or a pattern");
    const auto limit = item.Require("limit", "how many measurements are kept");
    const auto count = limit ? limit->Integer(1, kMaxRetained) : std::nullopt;
    if (name && count) analysis.retention.push_back({*name, static_cast<uint32_t>(*count)});
  }
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
  if (const auto args = field.Find("args")) ReadArgs(*args, analysis);
  if (const auto dry_run = field.Find("dryRun")) ReadDryRun(*dry_run, analysis);
  if (const auto retention = field.Find("measurementRetention")) ReadRetention(*retention, analysis);
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
