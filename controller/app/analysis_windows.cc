#include "controller/app/analysis_windows.h"

#include <algorithm>
#include <map>

namespace weir::app {
namespace {

using telemetry::Counter;
using telemetry::Counts;
using telemetry::Second;

static_assert(telemetry::Histogram::kBuckets == analysis::kLatencyBuckets);

/// Both Services of a rollout: before the flip of blueGreen the new revision is dialled by its preview only.
std::map<Second, std::map<std::string, Counts>> CountsOf(const telemetry::Cluster& cluster,
                                                         const model::Rollout& rollout, Second first,
                                                         Second end) {
  std::map<Second, std::map<std::string, Counts>> seconds;
  for (const std::string& service : {rollout.service, rollout.preview_service}) {
    if (service.empty()) continue;
    for (const telemetry::Window& window : cluster.Windows({rollout.key.ns, service}, first, end)) {
      for (const auto& [revision, counts] : window.revisions) seconds[window.second][revision].Add(counts);
    }
  }
  return seconds;
}

const Counts* Find(const std::map<std::string, Counts>& revisions, const std::string& revision) {
  const auto found = revisions.find(revision);
  return found == revisions.end() ? nullptr : &found->second;
}

}  // namespace

analysis::VariantFigures FiguresOf(const Counts& counts) {
  analysis::VariantFigures figures;
  const uint64_t lost = counts[Counter::kNoResponse];
  figures.requests = counts[Counter::kResponses] + lost;
  figures.errors = counts[Counter::kServerErrors] + lost;
  figures.connections = counts[Counter::kHttpConnections];
  figures.error_connections = counts[Counter::kErrorConnections];
  const uint64_t failed = counts[Counter::kFailed];
  figures.failed_connects = failed - std::min(failed, counts[Counter::kCanceled]);
  figures.connects = counts[Counter::kOpened] + figures.failed_connects;
  figures.latency = counts.latency.counts;
  return figures;
}

void WindowReader::TakePast(const telemetry::Cluster& cluster, const model::Rollout& rollout,
                            const std::string& stable) {
  for (const auto& [second, revisions] :
       CountsOf(cluster, rollout, next_ - telemetry::Ring::kSeconds, next_)) {
    if (const Counts* counts = Find(revisions, stable)) past_.push_back(FiguresOf(*counts));
  }
}

std::vector<analysis::WindowFigures> WindowReader::Read(const telemetry::Cluster& cluster,
                                                        const model::Rollout& rollout,
                                                        const std::string& stable, const std::string& canary,
                                                        Second settled) {
  std::vector<analysis::WindowFigures> windows;
  if (settled <= next_) return windows;
  for (const auto& [second, revisions] : CountsOf(cluster, rollout, next_, settled)) {
    analysis::WindowFigures window;
    const Counts* of_canary = Find(revisions, canary);
    const Counts* of_stable = Find(revisions, stable);
    if (with_past_) {
      if (of_canary == nullptr || past_.empty()) continue;
      window.stable = past_.front();
      past_.pop_front();
    } else if (of_stable != nullptr) {
      window.stable = FiguresOf(*of_stable);
    } else if (of_canary == nullptr) {
      continue;
    }
    if (of_canary != nullptr) window.canary = FiguresOf(*of_canary);
    windows.push_back(std::move(window));
  }
  next_ = settled;
  return windows;
}

}  // namespace weir::app
