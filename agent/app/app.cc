#include "agent/app/app.h"

#include <grpcpp/create_channel.h>

#include <boost/uuid/random_generator.hpp>
#include <boost/uuid/uuid_io.hpp>

#include "agent/health/health.h"
#include "common/address.h"
#include "common/kernel_release.h"
#include "common/tls.h"

namespace weir::app {
namespace {

constexpr std::chrono::milliseconds kGuardInterval{100};
constexpr int kMaxMessageBytes = 32 << 20;  // one frontend with 1,000,000 endpoints fits

/// A channel of its own for every attempt: names are resolved anew, the certificates are those in force, and
/// gRPC's own back-off between attempts does not come on top of ours.
Result<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& controller,
                                                   const std::shared_ptr<const TlsFiles>& tls) {
  ASSIGN_OR_RETURN(const HostPort address, ParseHostPort("--controller", controller));
  ASSIGN_OR_RETURN(const auto credentials, ChannelCredentials("--controller", controller, tls));
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  return grpc::CreateCustomChannel(address.ToString(), credentials, arguments);
}

Status CheckOptions(const App::Options& options) {
  if (options.node_name.empty() || options.node_name.size() > 253) {
    return InvalidArgument("--node-name: found {} characters, expected 1..253", options.node_name.size());
  }
  ASSIGN_OR_RETURN(const HostPort controller, ParseHostPort("--controller", options.controller));
  if (!controller.unix_socket && controller.port == 0) {
    return InvalidArgument("--controller {}: port 0 cannot be dialled, expected 1..65535",
                           options.controller);
  }
  return CheckDial("--controller", controller, options.tls != nullptr ? options.tls->flags() : TlsFlags{});
}

stream::Client::Options ClientOptions(const App::Options& options, guard::Guard& guard) {
  stream::Client::Options client;
  client.safety = &guard;
  client.node_name = options.node_name;
  client.instance = boost::uuids::to_string(boost::uuids::random_generator()());
  client.kernel_release = KernelRelease();
  client.limits = options.limits;
  return client;
}

}  // namespace

Result<std::unique_ptr<HttpServer>> App::Listen(boost::asio::io_context& context, const Options& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  return HttpServer::Listen(context, {.listen = options.http, .tls = options.tls});
}

App::App(boost::asio::io_context& context, const Clock& clock, datapath::Datapath& datapath,
         const Options& options, std::unique_ptr<HttpServer> http, datapath::Ending* ending)
    : guard_(datapath, clock),
      guard_timer_(context),
      guard_metrics_(guard_),
      no_ending_(FailedPrecondition("this agent runs without the means to end connections")),
      orders_(context, clock, datapath, ending != nullptr ? *ending : no_ending_),
      consumers_(context, datapath, options.cgroup),
      metrics_(options.node_name, datapath),
      ending_metrics_(orders_),
      consumer_metrics_(consumers_),
      tls_metrics_(options.tls),
      client_(
          context, clock, guard_, metrics_,
          [controller = options.controller, tls = options.tls] { return MakeChannel(controller, tls); },
          SystemRandom(), ClientOptions(options, guard_)),
      figure_metrics_(datapath, client_.book(), metrics_, options.figures),
      http_(std::move(http)) {
  client_.set_companion(&orders_);
  client_.set_consumers(&consumers_);
  http_->Handle("/metrics", MetricsHandler({&metrics_, &guard_metrics_, &ending_metrics_, &consumer_metrics_,
                                            &process_metrics_, &tls_metrics_},
                                           {&figure_metrics_}));
  http_->Handle("/healthz", [&datapath](const HttpRequest&) { return health::Healthz(datapath); });
  http_->Handle("/readyz", [this, &datapath](const HttpRequest&) {
    return health::Readyz(datapath, {client_.synced(), client_.connected(), client_.last_error()});
  });
}

void App::Start() {
  PollGuard();
  client_.Start();
}

void App::PollGuard() {
  if (stopping_) return;
  guard_.Poll();
  guard_timer_.expires_after(kGuardInterval);
  guard_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) PollGuard();
  });
}

void App::Stop(std::function<void()> done) {
  stopping_ = true;
  guard_timer_.cancel();
  http_->Stop();
  client_.Stop(std::move(done));
}

}  // namespace weir::app
