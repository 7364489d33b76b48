#include "agent/app/app.h"

#include <grpcpp/create_channel.h>
#include <sys/utsname.h>

#include <boost/uuid/random_generator.hpp>
#include <boost/uuid/uuid_io.hpp>

#include "agent/health/health.h"
#include "common/address.h"
#include "common/tls.h"

namespace weir::app {
namespace {

constexpr int kMaxMessageBytes = 32 << 20;  // one frontend with 1,000,000 endpoints fits

std::string KernelRelease() {
  utsname name{};
  return ::uname(&name) == 0 ? name.release : "unknown";
}

/// A channel of its own for every attempt: names are resolved and certificates read anew, and gRPC's own
/// back-off between attempts does not come on top of ours.
Result<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& controller, const TlsFlags& tls) {
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
  RETURN_IF_ERROR(CheckTlsFlags(options.tls, false));
  RETURN_IF_ERROR(CheckDial("--controller", controller, options.tls));
  return LoadTls(options.tls).status();
}

}  // namespace

App::App(const Options& options, datapath::Datapath& datapath) : metrics_(options.node_name, datapath) {}

Result<std::unique_ptr<App>> App::Create(boost::asio::io_context& context, const Clock& clock,
                                         datapath::Datapath& datapath, const Options& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(auto http, HttpServer::Listen(context, {.listen = options.http, .tls = options.tls}));

  std::unique_ptr<App> app(new App(options, datapath));
  stream::Client::Options client;
  client.node_name = options.node_name;
  client.instance = boost::uuids::to_string(boost::uuids::random_generator()());
  client.kernel_release = KernelRelease();
  client.limits = options.limits;
  app->client_ = std::make_unique<stream::Client>(
      context, clock, datapath, app->metrics_,
      [controller = options.controller, tls = options.tls] { return MakeChannel(controller, tls); },
      SystemRandom(), std::move(client));
  app->http_ = std::move(http);
  app->http_->Handle("/metrics", MetricsHandler({&app->metrics_, &app->process_metrics_}));
  app->http_->Handle("/healthz", [&datapath](const HttpRequest&) { return health::Healthz(datapath); });
  app->http_->Handle("/readyz", [&datapath, stream = app->client_.get()](const HttpRequest&) {
    return health::Readyz(datapath, {stream->synced(), stream->connected(), stream->last_error()});
  });
  return app;
}

void App::Stop(std::function<void()> done) {
  http_->Stop();
  client_->Stop(std::move(done));
}

}  // namespace weir::app
