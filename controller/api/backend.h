// What the application answers to weirctl. Every function is called on the io_context's thread, does not
// block beyond one commit of the store, and changes all or nothing.
//
// Errors: NOT_FOUND "no rollout NS/NAME"; FAILED_PRECONDITION with the reason when the present state does not
// allow it; INVALID_ARGUMENT with file, line or field; UNAVAILABLE or RESOURCE_EXHAUSTED when the state could
// not be written.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "common/status.h"
#include "controller/api/manifests.h"
#include "weir/v1/rollouts.pb.h"

namespace weir::api {

using RolloutName = std::pair<std::string, std::string>;  // namespace, name

class Backend {
 public:
  virtual ~Backend() = default;

  /// `manifests`: what ReadManifests() made of request.files().
  virtual Result<v1::ApplyResponse> Apply(const v1::ApplyRequest& request, Manifests manifests) = 0;
  virtual Result<v1::DeleteResponse> Delete(const v1::DeleteRequest& request, Manifests manifests) = 0;
  virtual Result<v1::Rollout> GetRollout(const v1::ObjectName& request) = 0;
  virtual Result<v1::ListRolloutsResponse> ListRollouts(const v1::ListRequest& request) = 0;
  virtual Result<v1::Rollout> Promote(const v1::PromoteRequest& request) = 0;
  virtual Result<v1::Rollout> Abort(const v1::ObjectName& request) = 0;
  virtual Result<v1::Rollout> Retry(const v1::ObjectName& request) = 0;
  virtual Result<v1::Rollout> Pause(const v1::ObjectName& request) = 0;
  virtual Result<v1::Rollout> Resume(const v1::ObjectName& request) = 0;
  virtual Result<v1::Rollout> SetWeight(const v1::SetWeightRequest& request) = 0;
  virtual Result<v1::Rollout> Undo(const v1::UndoRequest& request) = 0;
  virtual Result<v1::ListNodesResponse> ListNodes(const v1::ListNodesRequest& request) = 0;
  virtual Result<v1::ListSplitsResponse> ListSplits(const v1::ListRequest& request) = 0;
  virtual Result<v1::ListServicesResponse> ListServices(const v1::ListRequest& request) = 0;
  virtual Result<v1::ListWebhooksResponse> ListWebhooks(const v1::ListRequest& request) = 0;
  virtual Result<v1::FiguresResponse> ListFigures(const v1::FiguresRequest& request) = 0;
  /// By namespace, and by the name of a run or of a rollout; empty: all.
  virtual Result<v1::ListAnalysisRunsResponse> ListAnalysisRuns(const v1::ListRequest& request) = 0;
  virtual Result<v1::GetVersionResponse> GetVersion(const v1::GetVersionRequest& request) = 0;
};

}  // namespace weir::api
