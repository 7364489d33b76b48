// weir.v1.WeirService over gRPC's callback API: each call is answered on the io_context.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include "controller/api/backend.h"
#include "controller/api/figures_watch.h"
#include "controller/api/watch.h"
#include "weir/v1/rollouts.grpc.pb.h"

namespace weir::api {

/// A status as gRPC carries it; the codes are the same numbers.
grpc::Status ToGrpc(const Status& status);

/// All arguments must outlive the server.
class WeirServiceImpl final : public v1::WeirService::CallbackService {
 public:
  WeirServiceImpl(boost::asio::io_context& context, Backend& backend, WatchHub& hub, FiguresHub& figures)
      : context_(context), backend_(backend), hub_(hub), figures_(figures) {}

  using Call = grpc::CallbackServerContext;
  using Unary = grpc::ServerUnaryReactor;

  Unary* Apply(Call* call, const v1::ApplyRequest* request, v1::ApplyResponse* response) override;
  Unary* Delete(Call* call, const v1::DeleteRequest* request, v1::DeleteResponse* response) override;
  Unary* GetRollout(Call* call, const v1::ObjectName* request, v1::Rollout* response) override;
  Unary* ListRollouts(Call* call, const v1::ListRequest* request,
                      v1::ListRolloutsResponse* response) override;
  Unary* Promote(Call* call, const v1::PromoteRequest* request, v1::Rollout* response) override;
  Unary* Abort(Call* call, const v1::ObjectName* request, v1::Rollout* response) override;
  Unary* Retry(Call* call, const v1::ObjectName* request, v1::Rollout* response) override;
  Unary* Pause(Call* call, const v1::ObjectName* request, v1::Rollout* response) override;
  Unary* Resume(Call* call, const v1::ObjectName* request, v1::Rollout* response) override;
  Unary* SetWeight(Call* call, const v1::SetWeightRequest* request, v1::Rollout* response) override;
  Unary* Undo(Call* call, const v1::UndoRequest* request, v1::Rollout* response) override;
  Unary* ListNodes(Call* call, const v1::ListNodesRequest* request, v1::ListNodesResponse* response) override;
  Unary* ListSplits(Call* call, const v1::ListRequest* request, v1::ListSplitsResponse* response) override;
  Unary* ListServices(Call* call, const v1::ListRequest* request,
                      v1::ListServicesResponse* response) override;
  Unary* ListWebhooks(Call* call, const v1::ListRequest* request,
                      v1::ListWebhooksResponse* response) override;
  Unary* ListFigures(Call* call, const v1::FiguresRequest* request, v1::FiguresResponse* response) override;
  Unary* ListAnalysisRuns(Call* call, const v1::ListRequest* request,
                          v1::ListAnalysisRunsResponse* response) override;
  Unary* GetVersion(Call* call, const v1::GetVersionRequest* request,
                    v1::GetVersionResponse* response) override;
  grpc::ServerWriteReactor<v1::RolloutEvent>* WatchRollouts(Call* call,
                                                            const v1::ListRequest* request) override;
  grpc::ServerWriteReactor<v1::FiguresResponse>* WatchFigures(Call* call,
                                                              const v1::FiguresRequest* request) override;

 private:
  template <typename Request, typename Response>
  Unary* Post(Call* call, const Request* request, Response* response,
              Result<Response> (Backend::*answer)(const Request&));

  /// The same for calls with manifests, which are read before, one call after the other, on a thread of their
  /// own: thousands take seconds, and the io_context's thread is who keeps the agents.
  template <typename Request, typename Response>
  Unary* PostManifests(Call* call, const Request* request, Response* response,
                       Result<Response> (Backend::*answer)(const Request&, Manifests));

  boost::asio::io_context& context_;
  Backend& backend_;
  WatchHub& hub_;
  FiguresHub& figures_;
  boost::asio::thread_pool reader_{1};  // joined first
};

}  // namespace weir::api
