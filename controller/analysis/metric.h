// A run's metrics as they are carried out: templates merged, arguments put in, texts turned into numbers and
// conditions. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "controller/analysis/condition.h"
#include "controller/analysis/template.h"

namespace weir::analysis {

/// One metric of a run. Limits and defaults as Argo's.
struct Metric {
  std::string name;
  std::optional<Duration> interval;  // none: once
  Duration initial_delay{0};
  std::optional<uint32_t> count;  // none: until stopped
  int32_t failure_limit = 0;      // -1: none
  int32_t inconclusive_limit = 0;
  int32_t consecutive_error_limit = 4;
  int32_t consecutive_success_limit = 0;  // 0: none
  std::optional<Condition> success, failure;
  Provider provider;
  bool dry_run = false;
  uint32_t kept = kKeptMeasurements;
  /// Of a run read from the store: the fingerprint of the provider it had. While it is set the provider is
  /// not known, and nothing can be asked; see Reattach().
  std::string sealed;
};

struct RunRequest {
  std::vector<std::string> templates;
  std::vector<Argument> args;  // the rollout's
  std::vector<std::string> dry_run;
  std::vector<Retention> retention;
  std::string stable, latest;  // revisions, for podTemplateHashValue
  /// Background analysis may go on until it is stopped; a step has an end.
  bool background = false;
  /// untilConfident of the step: for every `weir` metric, and how long it may take (none: 10 min).
  bool until_confident = false;
  std::optional<Duration> limit;
};

/// A template by its name; nullptr if there is none. Built-in ones are looked up before.
using FindTemplate = std::function<const Template*(std::string_view)>;

/// The metrics of a run: templates merged, arguments put in. INVALID_ARGUMENT names the argument that has no
/// value, the metric and field that are wrong, the template that is missing.
Result<std::vector<Metric>> ResolveRun(const RunRequest& request, const FindTemplate& find);

/// Each {{args.NAME}} (spaces allowed) with what `value` gives; INVALID_ARGUMENT names one without value, and
/// braces that hold something else.
Result<std::string> Substitute(std::string_view text,
                               const std::function<const std::string*(std::string_view)>& value);

}  // namespace weir::analysis
