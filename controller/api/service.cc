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
    if (call->IsCancelled()) {
      return reactor->Finish(
          {grpc::StatusCode::CANCELLED, "the client went, or its deadline passed; nothing was done"});
    }
    Result<Response> result = (backend_.*answer)(*request);
    if (result.ok()) *response = *std::move(result);
    reactor->Finish(ToGrpc(result.status()));
  });
  return reactor;
}

#define WEIR_UNARY(Name, Request, Response)                                             \
  WeirServiceImpl::Unary* WeirServiceImpl::Name(Call* call, const v1::Request* request, \
                                                v1::Response* response) {               \
    return Post(call, request, response, &Backend::Name);                               \
  }

WEIR_UNARY(Apply, ApplyRequest, ApplyResponse)
WEIR_UNARY(Delete, DeleteRequest, DeleteResponse)
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
