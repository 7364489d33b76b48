// The controller's gRPC listener: agents, weirctl, health and reflection on one port.
#pragma once

#include <grpcpp/server.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/tls_files.h"

namespace weir::api {

class GrpcServer {
 public:
  struct Options {
    std::string listen;                             // HOST:PORT; port 0: any free one
    std::shared_ptr<const TlsFiles> tls = nullptr;  // each handshake takes what is in force; null: no flags
  };

  /// Serves at once. The services must outlive it. Errors name the address and the remedy.
  static Result<std::unique_ptr<GrpcServer>> Start(const Options& options,
                                                   const std::vector<grpc::Service*>& services);

  /// "127.0.0.1:43210": with the port in use.
  const std::string& address() const { return address_; }
  /// What the standard health service answers, for the server and for each of its services.
  void SetServing(bool serving);
  /// Blocks until every call has ended; those that have not by the deadline are cancelled. Not on the
  /// io_context's thread: reactors need it to end.
  void Shutdown(std::chrono::milliseconds grace);

 private:
  GrpcServer() = default;
  std::shared_ptr<grpc::ServerCredentials> credentials_;  // outlive the server
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace weir::api
