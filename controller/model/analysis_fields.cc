#include "controller/model/analysis_fields.h"

#include <optional>
#include <set>

namespace weir::model {
namespace {

using analysis::Argument;

constexpr char kPattern[] = "a metric's name, or a pattern";

constexpr Refusal kInTemplate[] = {
    {"secretKeyRef", "Weir does not read Secrets", "give value, or an argument of the Rollout's"},
    {"fieldRef", "Weir's Rollout has no pods to read fields of", "give value"},
};
constexpr Refusal kInRollout[] = {
    {"fieldRef", "a Rollout's fields are not looked up", "write the value"},
    {"secretKeyRef", "there are no secrets to look up", "write the value in the template"},
};

/// nullopt after a complaint about what it is to be.
std::optional<Argument> ReadArgument(const Cursor& item, ArgumentsOf of) {
  if (!item.ExpectMap({"name", "value", "valueFrom"})) return std::nullopt;
  const auto name = item.RequireString("name", "the name of the argument");
  if (!name) return std::nullopt;
  Argument argument{.name = *name};
  const auto value = item.Find("value");
  const auto from = item.Find("valueFrom");
  if ((value && from) || (of == ArgumentsOf::kRollout && !value && !from)) {
    item.FailText(
        Complaint(value ? "value and valueFrom" : "neither value nor valueFrom", "one of the two", ""));
    return std::nullopt;
  }
  if (value) argument.value = value->String();
  if (!from) return argument;
  const auto& refused = of == ArgumentsOf::kRollout ? kInRollout : kInTemplate;
  if (!from->ExpectMap({"podTemplateHashValue"}, refused)) return std::nullopt;
  const auto revision = from->Require("podTemplateHashValue", "Stable or Latest");
  const auto word = revision ? revision->OneOf({"Stable", "Latest"}) : std::nullopt;
  if (!word) return std::nullopt;
  argument.from = *word == "Stable" ? Argument::From::kStable : Argument::From::kLatest;
  return argument;
}

}  // namespace

std::vector<Argument> ReadArguments(const Cursor& list, ArgumentsOf of) {
  std::vector<Argument> arguments;
  std::set<std::string> names;
  const auto items = list.Items();
  for (const Cursor& item : items) {
    auto argument = ReadArgument(item, of);
    if (!argument) continue;
    if (!names.insert(argument->name).second) item.Find("name")->Fail("each name once", "remove one of them");
    arguments.push_back(*std::move(argument));
  }
  return arguments;
}

std::vector<std::string> ReadDryRun(const Cursor& list) {
  std::vector<std::string> patterns;
  const auto items = list.Items();
  for (const Cursor& item : items) {
    if (!item.ExpectMap({"metricName"})) continue;
    if (auto name = item.RequireString("metricName", kPattern)) patterns.push_back(*std::move(name));
  }
  return patterns;
}

std::vector<analysis::Retention> ReadRetention(const Cursor& list) {
  std::vector<analysis::Retention> retention;
  const auto items = list.Items();
  for (const Cursor& item : items) {
    if (!item.ExpectMap({"metricName", "limit"})) continue;
    const auto name = item.RequireString("metricName", kPattern);
    const auto limit = item.Require("limit", "how many measurements are kept");
    const auto count = limit ? limit->Integer(1, analysis::kMaxKeptMeasurements) : std::nullopt;
    if (name && count) retention.push_back({*name, static_cast<uint32_t>(*count)});
  }
  return retention;
}

}  // namespace weir::model
