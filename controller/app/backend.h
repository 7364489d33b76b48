// The calls of weirctl, answered from core, dispatch and the agents' counts. The io_context's thread.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "controller/api/backend.h"
#include "controller/app/acks.h"
#include "controller/app/analysis_runner.h"
#include "controller/app/core.h"
#include "controller/app/observed.h"
#include "controller/app/status.h"
#include "controller/dispatch/dispatcher.h"
#include "controller/telemetry/cluster.h"
#include "controller/webhooks/sender.h"

namespace weir::app {

class BackendImpl final : public api::Backend {
 public:
  /// Where objects come from.
  struct Applying {
    bool from_cluster = false;  // the Kubernetes API: weirctl applies and deletes none
    std::function<std::string(const ObjectKey&)> remark;  // Outside::Remark; may be null
  };
  /// All must outlive it.
  BackendImpl(const Clock& clock, Core& core, dispatch::Dispatcher& dispatcher, Observed& observed,
              telemetry::Cluster& cluster, AckViews& acks, const AnalysisRunner& analysis,
              const webhooks::Sender& webhooks, Applying applying)
      : clock_(clock),
        core_(core),
        dispatcher_(dispatcher),
        observed_(observed),
        cluster_(cluster),
        acks_(acks),
        analysis_(analysis),
        webhooks_(webhooks),
        applying_(std::move(applying)) {}

  Result<v1::ApplyResponse> Apply(const v1::ApplyRequest& request, api::Manifests manifests) override;
  Result<v1::DeleteResponse> Delete(const v1::DeleteRequest& request, api::Manifests manifests) override;
  Result<v1::Rollout> GetRollout(const v1::ObjectName& request) override;
  Result<v1::ListRolloutsResponse> ListRollouts(const v1::ListRequest& request) override;
  Result<v1::Rollout> Promote(const v1::PromoteRequest& request) override;
  Result<v1::Rollout> Abort(const v1::ObjectName& request) override;
  Result<v1::Rollout> Retry(const v1::ObjectName& request) override;
  Result<v1::Rollout> Pause(const v1::ObjectName& request) override;
  Result<v1::Rollout> Resume(const v1::ObjectName& request) override;
  Result<v1::Rollout> SetWeight(const v1::SetWeightRequest& request) override;
  Result<v1::Rollout> Undo(const v1::UndoRequest& request) override;
  Result<v1::ListNodesResponse> ListNodes(const v1::ListNodesRequest& request) override;
  Result<v1::ListSplitsResponse> ListSplits(const v1::ListRequest& request) override;
  Result<v1::ListServicesResponse> ListServices(const v1::ListRequest& request) override;
  Result<v1::ListWebhooksResponse> ListWebhooks(const v1::ListRequest& request) override;
  Result<v1::FiguresResponse> ListFigures(const v1::FiguresRequest& request) override;
  Result<v1::ListAnalysisRunsResponse> ListAnalysisRuns(const v1::ListRequest& request) override;
  Result<v1::GetVersionResponse> GetVersion(const v1::GetVersionRequest& request) override;

 private:
  Status CheckRollout(const ObjectKey& key) const;
  v1::Rollout StatusOf(const ObjectKey& key);
  Result<v1::Rollout> Command(const ObjectKey& key, const engine::Event& event);
  Result<v1::DeleteResponse> DeleteNode(const std::string& name);

  const Clock& clock_;
  Core& core_;
  dispatch::Dispatcher& dispatcher_;
  Observed& observed_;
  telemetry::Cluster& cluster_;
  AckViews& acks_;
  const AnalysisRunner& analysis_;
  const webhooks::Sender& webhooks_;
  const Applying applying_;
};

}  // namespace weir::app
