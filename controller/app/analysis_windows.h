// What the cluster counted, as the built-in test wants it: canary and stable over the same seconds. Pure.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "controller/analysis/weir_metric.h"
#include "controller/model/objects.h"
#include "controller/telemetry/cluster.h"

namespace weir::app {

/// Requests are those that came to an end: answered, or with a connection that ended first. Connects that the
/// client itself gave up are not failed ones.
analysis::VariantFigures FiguresOf(const telemetry::Counts& counts);

/// One run's way through the seconds: each is taken once, in order, when no node that reports in time can add
/// to it any more. A second that nobody reported, or that came too late, is missing: never guessed, never
/// taken twice.
class WindowReader {
 public:
  WindowReader() = default;
  /// Reads from the second `next` on. `with_past` is for a run after the flip, when stable has no traffic any
  /// more: its seconds are those that TakePast() took, each put beside one of the canary's. When all are used
  /// there is nothing left to compare with.
  WindowReader(telemetry::Second next, bool with_past) : next_(next), with_past_(with_past) {}

  /// The minute of stable before `next`.
  void TakePast(const telemetry::Cluster& cluster, const model::Rollout& rollout, const std::string& stable);

  /// The windows up to the second `settled`, those with a count of either in them.
  std::vector<analysis::WindowFigures> Read(const telemetry::Cluster& cluster, const model::Rollout& rollout,
                                            const std::string& stable, const std::string& canary,
                                            telemetry::Second settled);

 private:
  telemetry::Second next_ = 0;
  bool with_past_ = false;
  std::deque<analysis::VariantFigures> past_;
};

}  // namespace weir::app
