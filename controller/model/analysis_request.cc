#include "controller/model/analysis_request.h"

namespace weir::model {
namespace {

analysis::Argument::From FromOf(engine::AnalysisArg::From from) {
  using enum engine::AnalysisArg::From;
  if (from == kStable) return analysis::Argument::From::kStable;
  return from == kLatest ? analysis::Argument::From::kLatest : analysis::Argument::From::kValue;
}

}  // namespace

analysis::RunRequest RequestOf(const engine::Analysis& analysis) {
  analysis::RunRequest request;
  request.templates = analysis.templates;
  for (const engine::AnalysisArg& arg : analysis.args)
    request.args.push_back({.name = arg.name, .value = arg.value, .from = FromOf(arg.from)});
  request.dry_run = analysis.dry_run;
  for (const engine::AnalysisRetention& retention : analysis.retention)
    request.retention.push_back({.metric = retention.metric, .limit = retention.limit});
  request.until_confident = analysis.until_confident;
  request.limit = analysis.limit;
  return request;
}

analysis::FindTemplate TemplatesOf(const ObjectSet& objects, const std::string& ns) {
  return [&objects, ns](std::string_view name) -> const analysis::Template* {
    const auto found = objects.templates.find(ObjectKey{ns, std::string(name)});
    return found == objects.templates.end() ? nullptr : &found->second.spec;
  };
}

}  // namespace weir::model
