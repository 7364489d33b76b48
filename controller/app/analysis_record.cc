#include "controller/app/analysis_record.h"

#include <array>
#include <boost/json.hpp>
#include <utility>

namespace weir::app {
namespace {

namespace json = boost::json;
using engine::AnalysisWhere;

constexpr std::array<std::pair<AnalysisWhere, std::string_view>, 4> kPlaces = {{
    {AnalysisWhere::kStep, "step"},
    {AnalysisWhere::kBackground, "background"},
    {AnalysisWhere::kPrePromotion, "prePromotion"},
    {AnalysisWhere::kPostPromotion, "postPromotion"},
}};

}  // namespace

std::string ToStored(const AnalysisRecord& record) {
  std::string_view place;
  for (const auto& [where, word] : kPlaces) {
    if (where == record.where) place = word;
  }
  // A run is large, and its text is not taken apart again.
  return json::serialize(json::object{{"namespace", record.rollout.ns},
                                      {"rollout", record.rollout.name},
                                      {"where", json::string(place.data(), place.size())},
                                      {"step", record.step},
                                      {"stable", record.stable},
                                      {"canary", record.canary},
                                      {"run", analysis::ToJson(record.run)}});
}

Result<AnalysisRecord> ParseStoredRun(const std::string& text) {
  AnalysisRecord record;
  std::string run;
  // Boost.JSON's checked access throws; the exceptions end here.
  try {
    const json::value parsed = json::parse(text);
    const json::object& all = parsed.as_object();
    record.rollout = {json::value_to<std::string>(all.at("namespace")),
                      json::value_to<std::string>(all.at("rollout"))};
    record.step = all.at("step").to_number<uint32_t>();
    record.stable = json::value_to<std::string>(all.at("stable"));
    record.canary = json::value_to<std::string>(all.at("canary"));
    run = json::value_to<std::string>(all.at("run"));
    const auto place = json::value_to<std::string>(all.at("where"));
    bool known = false;
    for (const auto& [where, word] : kPlaces) {
      if (word != place) continue;
      record.where = where;
      known = true;
    }
    if (!known) return Error(absl::StatusCode::kDataLoss, "where: found \"{}\"", place);
  } catch (const std::exception& exception) {
    return Error(absl::StatusCode::kDataLoss, "a field is missing or of another type: {}", exception.what());
  }
  ASSIGN_OR_RETURN(record.run, analysis::RunFromJson(run));
  return record;
}

std::string NameOf(const AnalysisRecord& record) { return record.rollout.name + "-" + record.run.id; }

engine::Outcome OutcomeOf(analysis::Phase phase) {
  switch (phase) {
    case analysis::Phase::kSuccessful:
      return engine::Outcome::kSuccessful;
    case analysis::Phase::kInconclusive:
      return engine::Outcome::kInconclusive;
    case analysis::Phase::kFailed:
      return engine::Outcome::kFailed;
    default:
      return engine::Outcome::kError;
  }
}

}  // namespace weir::app
