// The agent's own metrics. README.md lists them.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/histogram.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/datapath/datapath.h"
#include "agent/stream/client.h"

namespace weir::metrics {

/// Counts what the stream reports; reads the datapath when collected. One thread (the io_context's) for both.
class AgentMetrics final : public stream::Observer, public prometheus::Collectable {
 public:
  AgentMetrics(std::string node_name, datapath::Datapath& datapath);

  void Connected(bool connected) override { connected_ = connected; }
  void Reconnecting(std::string_view why) override;
  void Applied(std::chrono::nanoseconds took, const Status& status) override;
  void Nacked() override { ++nacks_; }
  void FiguresUnreadable() override { ++figures_errors_; }

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  std::string node_name_;
  datapath::Datapath& datapath_;
  bool connected_ = false;
  uint64_t nacks_ = 0, figures_errors_ = 0;
  mutable uint64_t stats_errors_ = 0;
  std::map<std::string, uint64_t, std::less<>> reconnects_;
  prometheus::Histogram apply_seconds_;
};

}  // namespace weir::metrics
