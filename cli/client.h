// The connection to a controller. Errors come back as Status whose message says what to do.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/status.h"
#include "common/tls_files.h"
#include "weir/v1/rollouts.grpc.pb.h"

namespace weir::cli {

struct ClientOptions {
  std::string server;  // host:port
  TlsFlags tls;
  std::chrono::milliseconds call_timeout{10'000};
};

/// For one thread.
class Client {
 public:
  using Deadline = std::optional<std::chrono::system_clock::time_point>;  // nullopt: none

  /// Opens no connection yet; fails where the flags are wrong.
  static Result<std::unique_ptr<Client>> Create(const ClientOptions& options);

  /// One call within the call timeout: Call(&v1::WeirService::Stub::Abort, request).
  template <typename Request, typename Response>
  Result<Response> Call(grpc::Status (v1::WeirService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                      Response*),
                        const Request& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + options_.call_timeout);
    Response response;
    if (const grpc::Status status = (*stub_.*method)(&context, request, &response); !status.ok()) {
      return Explain(status);
    }
    return response;
  }

  /// Gives every event to `on_event` until it returns false (then OK) or the deadline is over
  /// (DEADLINE_EXCEEDED). A controller that goes away after the first answer is waited for: `on_lost` is
  /// told, and when it is back all present rollouts come again as TYPE_CURRENT.
  Status WatchRollouts(const v1::ListRequest& request, Deadline deadline,
                       const std::function<bool(const v1::RolloutEvent&)>& on_event,
                       const std::function<void()>& on_lost);

  /// Likewise for figures; `on_figures` has every answer.
  Status WatchFigures(const v1::FiguresRequest& request, Deadline deadline,
                      const std::function<bool(const v1::FiguresResponse&)>& on_figures,
                      const std::function<void()>& on_lost);

  const std::string& server() const { return options_.server; }

 private:
  Client(ClientOptions options, std::shared_ptr<TlsFiles> files);

  /// A channel with the certificates in force.
  Status Connect();
  /// False: not by then. Certificates that are renewed meanwhile are taken.
  bool WaitForConnected(std::chrono::system_clock::time_point until);
  Status Explain(const grpc::Status& status) const;
  /// Watch() is called for each stream, with its context.
  template <typename Event, typename Watch>
  Status Follow(Deadline deadline, const Watch& watch, const std::function<bool(const Event&)>& on_event,
                const std::function<void()>& on_lost);

  ClientOptions options_;
  std::shared_ptr<TlsFiles> files_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::WeirService::Stub> stub_;
};

}  // namespace weir::cli
