#include "controller/api/service.h"

#include <algorithm>
#include <boost/asio/post.hpp>

namespace weir::api {
namespace {

/// gRPC peers take 8 KiB of metadata, and a message is percent-encoded into it.
constexpr size_t kMaxMessageBytes = 4000;

/// Whole lines as far as they fit, then how many are left out.
std::string Fit(std::string message) {
  if (message.size() <= kMaxMessageBytes) return message;
  size_t end = message.rfind('\n', kMaxMessageBytes);
  if (end == std::string::npos) end = kMaxMessageBytes;
  const auto left_out = std::count(message.begin() + static_cast<ptrdiff_t>(end), message.end(), '\n');
  message.resize(end);
  return message +
         fmt::format("\n... and {} more lines; weirctl lint shows all", std::max<ptrdiff_t>(left_out, 1));
}

grpc::Status TooLate() {
  return {grpc::StatusCode::CANCELLED, "the client went, or its deadline passed; nothing was done"};
}

}  // namespace

grpc::Status ToGrpc(const Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), Fit(Message(status))};
}

// gRPC keeps request and response until the reactor has finished.
template <typename Request, typename Response>
WeirServiceImpl::Unary* WeirServiceImpl::Post(Call* call, const Request* request, Response* response,
                                              Result<Response> (Backend::*answer)(const Request&)) {
  Unary* reactor = call->DefaultReactor();
  boost::asio::post(context_, [this, call, request, response, reactor, answer] {
    if (call->IsCancelled()) return reactor->Finish(TooLate());
    Result<Response> result = (backend_.*answer)(*request);
    if (result.ok()) *response = *std::move(result);
    reactor->Finish(ToGrpc(result.status()));
  });
  return reactor;
}

template <typename Request, typename Response>
WeirServiceImpl::Unary* WeirServiceImpl::PostManifests(Call* call, const Request* request, Response* response,
                                                       Result<Response> (Backend::*answer)(const Request&,
                                                                                           Manifests)) {
  Unary* reactor = call->DefaultReactor();
  boost::asio::post(reader_, [this, call, request, response, reactor, answer] {
    if (call->IsCancelled()) return reactor->Finish(TooLate());
    auto manifests = std::make_shared<Result<Manifests>>(ReadManifests(request->files()));
    if (!manifests->ok()) return reactor->Finish(ToGrpc(manifests->status()));
    boost::asio::post(context_, [this, call, request, response, reactor, answer, manifests] {
      if (call->IsCancelled()) return reactor->Finish(TooLate());
      Result<Response> result = (backend_.*answer)(*request, *std::move(*manifests));
      if (result.ok()) *response = *std::move(result);
      reactor->Finish(ToGrpc(result.status()));
    });
  });
  return reactor;
}

WeirServiceImpl::Unary* WeirServiceImpl::Apply(Call* call, const v1::ApplyRequest* request,
                                               v1::ApplyResponse* response) {
  return PostManifests(call, request, response, &Backend::Apply);
}

WeirServiceImpl::Unary* WeirServiceImpl::Delete(Call* call, const v1::DeleteRequest* request,
                                                v1::DeleteResponse* response) {
  return PostManifests(call, request, response, &Backend::Delete);
}

#define WEIR_UNARY(Name, Request, Response)                                             \
  WeirServiceImpl::Unary* WeirServiceImpl::Name(Call* call, const v1::Request* request, \
                                                v1::Response* response) {               \
    return Post(call, request, response, &Backend::Name);                               \
  }

WEIR_UNARY(GetRollout, ObjectName, Rollout)
WEIR_UNARY(ListRollouts, ListRequest, ListRolloutsResponse)
WEIR_UNARY(Promote, PromoteRequest, Rollout)
WEIR_UNARY(Abort, ObjectName, Rollout)
WEIR_UNARY(Retry, ObjectName, Rollout)
WEIR_UNARY(Pause, ObjectName, Rollout)
WEIR_UNARY(Resume, ObjectName, Rollout)
WEIR_UNARY(SetWeight, SetWeightRequest, Rollout)
WEIR_UNARY(Undo, UndoRequest, Rollout)
WEIR_UNARY(ListNodes, ListNodesRequest, ListNodesResponse)
WEIR_UNARY(ListSplits, ListRequest, ListSplitsResponse)
WEIR_UNARY(ListServices, ListRequest, ListServicesResponse)
WEIR_UNARY(ListWebhooks, ListRequest, ListWebhooksResponse)
WEIR_UNARY(ListFigures, FiguresRequest, FiguresResponse)
WEIR_UNARY(ListAnalysisRuns, ListRequest, ListAnalysisRunsResponse)
WEIR_UNARY(GetVersion, GetVersionRequest, GetVersionResponse)

#undef WEIR_UNARY

grpc::ServerWriteReactor<v1::RolloutEvent>* WeirServiceImpl::WatchRollouts(Call*,
                                                                           const v1::ListRequest* request) {
  return hub_.NewWatch(*request);
}

grpc::ServerWriteReactor<v1::FiguresResponse>* WeirServiceImpl::WatchFigures(
    Call*, const v1::FiguresRequest* request) {
  return figures_.NewWatch(*request);
}

}  // namespace weir::api
