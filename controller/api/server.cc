#include "controller/api/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_builder.h>

#include "common/address.h"
#include "common/tls.h"

namespace weir::api {
namespace {

constexpr int kKeepaliveMs = 10'000;        // a peer that vanished is noticed by
constexpr int kKeepaliveTimeoutMs = 5'000;  // this much later
constexpr int kMinClientPingMs = 5'000;     // clients may ping this often
constexpr int kMaxMessageBytes = 64 << 20;  // weirctl apply of a whole cluster's manifests

}  // namespace

Result<std::unique_ptr<GrpcServer>> GrpcServer::Start(const Options& options,
                                                      const std::vector<grpc::Service*>& services) {
  ASSIGN_OR_RETURN(HostPort address, ParseHostPort("--listen", options.listen));
  ASSIGN_OR_RETURN(auto credentials, ServerCredentials("--listen", options.listen, options.tls));
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();

  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(address.ToString(), credentials, &port);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kMinClientPingMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  for (grpc::Service* service : services) builder.RegisterService(service);

  std::unique_ptr<GrpcServer> server(new GrpcServer);
  server->credentials_ = std::move(credentials);
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || (port == 0 && !address.unix_socket)) {
    return Error(
        absl::StatusCode::kUnavailable,
        "cannot listen on {} (--listen): is the port in use, or the address not of this machine? Give "
        "another --listen",
        address.ToString());
  }
  if (!address.unix_socket) address.port = static_cast<uint16_t>(port);
  server->address_ = address.ToString();
  return server;
}

void GrpcServer::SetServing(bool serving) {
  if (auto* health = server_->GetHealthCheckService(); health != nullptr) health->SetServingStatus(serving);
}

void GrpcServer::Shutdown(std::chrono::milliseconds grace) {
  server_->Shutdown(std::chrono::system_clock::now() + grace);
}

}  // namespace weir::api
