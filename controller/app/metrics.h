// What /metrics says of the controller, computed when asked. The io_context's thread, as the HTTP handler
// runs there.
//
// What the revisions' connections and requests do is exported by the agents, which counted them; here is only
// what the controller alone knows.
#pragma once

#include <prometheus/collectable.h>

#include "controller/app/acks.h"
#include "controller/app/analysis_runner.h"
#include "controller/app/core.h"
#include "controller/app/endings.h"
#include "controller/app/status.h"
#include "controller/dispatch/dispatcher.h"
#include "controller/telemetry/cluster.h"
#include "controller/webhooks/sender.h"

namespace weir::app {

class Metrics final : public prometheus::Collectable {
 public:
  /// All must outlive it.
  Metrics(const Clock& clock, const Facts& facts, telemetry::Cluster& cluster,
          const dispatch::Dispatcher& dispatcher, AckViews& acks, const AnalysisRunner& analysis,
          const Endings& endings, const webhooks::Sender& webhooks)
      : clock_(clock),
        facts_(facts),
        cluster_(cluster),
        dispatcher_(dispatcher),
        acks_(acks),
        analysis_(analysis),
        endings_(endings),
        webhooks_(webhooks) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  void AddRollouts(std::vector<prometheus::MetricFamily>& families) const;
  void AddAgents(std::vector<prometheus::MetricFamily>& families) const;
  void AddDispatch(std::vector<prometheus::MetricFamily>& families) const;
  void AddEndings(std::vector<prometheus::MetricFamily>& families) const;
  void AddAnalysis(std::vector<prometheus::MetricFamily>& families) const;
  void AddTelemetry(std::vector<prometheus::MetricFamily>& families) const;
  void AddWebhooks(std::vector<prometheus::MetricFamily>& families) const;

  const Clock& clock_;
  const Facts facts_;
  telemetry::Cluster& cluster_;
  const dispatch::Dispatcher& dispatcher_;
  AckViews& acks_;
  const AnalysisRunner& analysis_;
  const Endings& endings_;
  const webhooks::Sender& webhooks_;
};

}  // namespace weir::app
