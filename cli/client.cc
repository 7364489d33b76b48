#include "cli/client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "common/tls.h"

namespace weir::cli {
namespace {

constexpr int kMaxMessageBytes =
    256 << 20;  // a listing of 10,000 services with their endpoints is some 20 MiB
constexpr int kMaxReconnectBackoffMs = 1000;
constexpr std::chrono::seconds kLookAtCertificates{2};  // while the controller is away
constexpr std::chrono::milliseconds kBetweenAttempts{100};

}  // namespace

Client::Client(ClientOptions options, std::shared_ptr<TlsFiles> files)
    : options_(std::move(options)), files_(std::move(files)) {}

Result<std::unique_ptr<Client>> Client::Create(const ClientOptions& options) {
  ASSIGN_OR_RETURN(auto files, TlsFiles::Open(options.tls, /*server=*/false));
  std::unique_ptr<Client> client(new Client(options, std::move(files)));
  RETURN_IF_ERROR(client->Connect());
  return client;
}

Status Client::Connect() {
  ASSIGN_OR_RETURN(auto credentials, ChannelCredentials("--server", options_.server, files_));
  grpc::ChannelArguments arguments;
  // A proxy from the environment is for the web, not for a controller beside us.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectBackoffMs);
  channel_ = grpc::CreateCustomChannel(options_.server, credentials, arguments);
  stub_ = v1::WeirService::NewStub(channel_);
  return OkStatus();
}

bool Client::WaitForConnected(std::chrono::system_clock::time_point until) {
  while (true) {
    const auto some_time = std::min(until, std::chrono::system_clock::now() + kLookAtCertificates);
    if (channel_->WaitForConnected(some_time)) return true;
    if (std::chrono::system_clock::now() >= until) return false;
    // The flags were found good; files that cannot be used just now leave those read before.
    if (const Result<bool> changed = files_->Look(); changed.ok() && *changed) Connect().IgnoreError();
  }
}

Status Client::Explain(const grpc::Status& status) const {
  const std::string& detail = status.error_message();
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return Error(
          absl::StatusCode::kUnavailable,
          "no controller answers at {} ({}); is weir-controller running there? --server or WEIR_SERVER names "
          "its gRPC address{}",
          options_.server, detail,
          options_.tls.client_tls() ? "" : ", and --tls-ca is needed where it listens with TLS");
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Error(absl::StatusCode::kDeadlineExceeded,
                   "the controller at {} did not answer within {} ms; --request-timeout gives it longer",
                   options_.server, options_.call_timeout.count());
    case grpc::StatusCode::UNIMPLEMENTED:
      return Error(absl::StatusCode::kUnimplemented,
                   "what answers at {} does not know this call ({}): an older controller, or another program",
                   options_.server, detail);
    default:
      return Status(static_cast<absl::StatusCode>(status.error_code()), ToAbsl(detail));
  }
}

template <typename Event, typename Watch>
Status Client::Follow(Deadline deadline, const Watch& watch,
                      const std::function<bool(const Event&)>& on_event,
                      const std::function<void()>& on_lost) {
  const auto until = deadline.value_or(std::chrono::system_clock::time_point::max());
  bool answered = false, told = false;
  while (true) {
    grpc::ClientContext context;
    if (deadline) context.set_deadline(*deadline);
    const auto stream = watch(&context);
    Event event;
    while (stream->Read(&event)) {
      answered = true;
      told = false;
      if (!on_event(event)) {
        context.TryCancel();
        return OkStatus();
      }
    }
    const grpc::Status status = stream->Finish();
    if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED && deadline) {
      return Error(absl::StatusCode::kDeadlineExceeded, "the time is over");
    }
    // An OK end is a controller that stops in good order; one that does so cancels what is begun meanwhile.
    const bool gone = status.ok() || status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                      status.error_code() == grpc::StatusCode::CANCELLED;
    if (!answered || !gone) return Explain(status);
    if (std::exchange(told, true)) {
      std::this_thread::sleep_for(kBetweenAttempts);
    } else {
      on_lost();
    }
    if (!WaitForConnected(until)) return Error(absl::StatusCode::kDeadlineExceeded, "the time is over");
  }
}

Status Client::WatchRollouts(const v1::ListRequest& request, Deadline deadline,
                             const std::function<bool(const v1::RolloutEvent&)>& on_event,
                             const std::function<void()>& on_lost) {
  return Follow<v1::RolloutEvent>(
      deadline, [&](grpc::ClientContext* context) { return stub_->WatchRollouts(context, request); },
      on_event, on_lost);
}

Status Client::WatchFigures(const v1::FiguresRequest& request, Deadline deadline,
                            const std::function<bool(const v1::FiguresResponse&)>& on_figures,
                            const std::function<void()>& on_lost) {
  return Follow<v1::FiguresResponse>(
      deadline, [&](grpc::ClientContext* context) { return stub_->WatchFigures(context, request); },
      on_figures, on_lost);
}

}  // namespace weir::cli
