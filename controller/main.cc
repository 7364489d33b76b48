// weir-controller: keeps the objects, runs the rollouts, tells the agents. With --kubernetes the objects, and
// what it must not forget, are in the Kubernetes API, and several replicas agree on who leads:
// controller/kubernetes/leader.
//
// Start: flags -> log -> store and what it holds -> HTTP and gRPC listeners -> "listening ..." on stdout.
// Shutdown (SIGTERM, SIGINT), in this order:
//   1. health says NOT_SERVING, /readyz 503; agents' streams and watches are closed with UNAVAILABLE
//   2. timers are cancelled
//   3. the gRPC server waits for its calls (2 s, then they are cancelled), while the io_context answers them
//   4. the HTTP listener closes; the io_context has nothing left and run() returns
//   5. the store is closed, and with it the lock on the directory
// Every change is durable before its effects, so a kill -9 at any moment loses nothing but step 1's courtesy.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>

#include "common/flags.h"
#include "common/log.h"
#include "common/version.h"
#include "controller/app/app.h"
#include "controller/kubernetes/leader/run.h"

namespace {

int Run(const weir::app::Options& options) {
  boost::asio::io_context context(1);
  // Taken before anything listens: a signal during the start is not lost.
  boost::asio::signal_set signals(context, SIGTERM, SIGINT);
  auto app = weir::app::App::Start(context, options);
  if (!app.ok()) {
    std::fprintf(stderr, "weir-controller: %s\n", weir::Message(app.status()).c_str());
    return 1;
  }
  weir::TlsWatch certificates(context, options.tls);
  signals.async_wait([&](boost::system::error_code error, int number) {
    if (error) return;
    weir::LogInfo("shutting down", {{"signal", number}});
    certificates.Stop();
    (*app)->Shutdown();
  });
  std::printf("listening grpc=%s http=%s\n", (*app)->grpc_address().c_str(), (*app)->http_address().c_str());
  std::fflush(stdout);
  weir::LogInfo("controller started", {{"version", weir::kVersion},
                                       {"grpc", (*app)->grpc_address()},
                                       {"http", (*app)->http_address()},
                                       {"state", options.state.string()}});
  context.run();
  weir::LogInfo("controller stopped");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App cli("The controller of Weir: keeps objects, runs rollouts, tells the agents.");
  weir::app::Options options;
  weir::LogOptions log;
  std::string state;
  options.listen = "127.0.0.1:7400";
  options.http = "127.0.0.1:7401";
  int heartbeat_ms = static_cast<int>(options.heartbeat_interval.count());
  cli.add_option("--listen", options.listen, "HOST:PORT of the gRPC listener, for agents and weirctl")
      ->capture_default_str();
  cli.add_option("--http", options.http, "HOST:PORT of /metrics, /healthz and /readyz")
      ->capture_default_str();
  auto* state_flag =
      cli.add_option("--state", state, "Directory that keeps objects and rollouts; made if missing");
  bool kubernetes = false;
  weir::kubernetes::ClusterOptions cluster;
  auto* kubernetes_flag =
      cli.add_flag("--kubernetes", kubernetes, "Objects and state are in the Kubernetes API, not in --state")
          ->excludes(state_flag);
  cli.add_option("--kubeconfig", cluster.kubeconfig,
                 "How to reach the API server; default: the pod's service account")
      ->needs(kubernetes_flag);
  cli.add_option("--kube-context", cluster.context, "Context of the kubeconfig; default: its current one")
      ->needs(kubernetes_flag);
  cli.add_option("--pod-name", cluster.pod_name,
                 "This replica's pod: holder of the Lease, labelled while it leads")
      ->needs(kubernetes_flag);
  cli.add_option(
         "--pod-namespace", cluster.pod_namespace,
         "Namespace of the Lease weir-controller and the ConfigMap weir-state; default: the access's own")
      ->needs(kubernetes_flag);
  int look_for_kinds_ms = static_cast<int>(cluster.look_for_kinds.count());
  cli.add_option("--look-for-kinds-ms", look_for_kinds_ms,
                 "How often to look for kinds whose CRDs are not installed, milliseconds")
      ->capture_default_str()
      ->check(CLI::Range(100, 3'600'000))
      ->needs(kubernetes_flag);
  cli.add_option("--heartbeat-ms", heartbeat_ms, "Interval of heartbeats on agents' streams, milliseconds")
      ->capture_default_str()
      ->check(CLI::Range(50, 60'000));
  weir::TlsFlags tls;
  weir::AddTlsFlags(cli, &tls);
  weir::AddLogFlags(cli, &log);
  weir::AddVersionFlag(cli, "weir-controller");
  CLI11_PARSE(cli, argc, argv);

  if (auto status = weir::InitLogging(log); !status.ok()) {
    std::fprintf(stderr, "weir-controller: %s\n", weir::Message(status).c_str());
    return 1;
  }
  auto files = weir::TlsFiles::Open(tls, /*server=*/true);
  if (!files.ok()) {
    std::fprintf(stderr, "weir-controller: %s\n", weir::Message(files.status()).c_str());
    return 1;
  }
  options.tls = *std::move(files);
  options.state = state;
  cluster.look_for_kinds = std::chrono::milliseconds(look_for_kinds_ms);
  options.heartbeat_interval = std::chrono::milliseconds(heartbeat_ms);
  if (kubernetes) {
    const auto status = weir::kubernetes::RunInCluster(options, cluster);
    if (!status.ok()) std::fprintf(stderr, "weir-controller: %s\n", weir::Message(status).c_str());
    return status.ok() ? 0 : 1;
  }
  if (state.empty()) {
    std::fprintf(stderr, "weir-controller: --state is missing: name a directory, or run with --kubernetes\n");
    return 2;
  }
  return Run(options);
}
