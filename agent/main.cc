// weir-agent: one per node. Programs the kernel of this node with the splits its controller sends.
//
// Order of start: flags, capabilities, lock, HTTP listener, datapath (adopts what is pinned), capabilities
// given up (but for the thread that ends connections), stream. Order of shutdown: HTTP, stream, io_context,
// datapath; pins and links stay and go on dividing.
#include <malloc.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>

#include "agent/app/app.h"
#include "agent/app/capabilities.h"
#include "agent/app/instance_lock.h"
#include "agent/datapath/environment.h"
#include "agent/datapath/kernel_datapath.h"
#include "agent/datapath/kernel_ending.h"
#include "common/flags.h"
#include "common/log.h"
#include "common/version.h"

namespace weir {
namespace {

struct Flags {
  app::App::Options app{.controller = "127.0.0.1:7400", .http = "127.0.0.1:7402"};
  datapath::Options datapath{.bpffs_dir = "/sys/fs/bpf/weir"};
  TlsFlags tls;
  LogOptions log;
  bool detach = false;
};

std::string HostName() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

void AddMetricsFlags(CLI::App& cli, metrics::FigureOptions& figures) {
  using metrics::HttpBuckets, metrics::Reporter, metrics::View;
  static const std::map<std::string, View> views{
      {"weir", View::kWeir}, {"istio", View::kIstio}, {"both", View::kBoth}};
  static const std::map<std::string, Reporter> reporters{{"destination", Reporter::kDestination},
                                                         {"source", Reporter::kSource}};
  static const std::map<std::string, HttpBuckets> buckets{{"otel", HttpBuckets::kOtel},
                                                          {"exact", HttpBuckets::kExact}};
  const auto add = [&](const char* name, auto& value, const auto& names, const char* help) {
    cli.add_option(name, value, help)->transform(CLI::CheckedTransformer(names))->group("Metrics");
  };
  add("--metrics-view", figures.view, views,
      "names under which /metrics shows what revisions did: weir, istio (where no Istio runs) or both "
      "(default: weir)");
  add("--istio-reporter", figures.reporter, reporters,
      "the reporter label of Istio's names: destination, as Flagger asks for, or source (default: "
      "destination)");
  add("--metrics-buckets", figures.buckets, buckets,
      "bounds of http_client_request_duration_seconds: otel (OpenTelemetry's) or exact (powers of two) "
      "(default: otel)");
  cli.add_option("--max-metrics-series", figures.max_series,
                 "revisions and status codes that /metrics shows at most")
      ->capture_default_str()
      ->group("Metrics");
}

void AddFlags(CLI::App& cli, Flags& flags) {
  cli.add_option("--node-name", flags.app.node_name, "this node's name (default: the host's name)");
  cli.add_option(
      "--cgroup", flags.datapath.cgroup_path,
      "cgroup2 directory whose processes' connections are divided (default: where cgroup2 is mounted)");
  cli.add_option("--bpffs", flags.datapath.bpffs_dir,
                 "directory on a BPF file system for pins; one per agent")
      ->capture_default_str();
  cli.add_option("--controller", flags.app.controller, "HOST:PORT of the controller's gRPC listener")
      ->capture_default_str();
  cli.add_option("--http", flags.app.http,
                 "HOST:PORT for /metrics, /healthz and /readyz; port 0: any free one")
      ->capture_default_str();
  cli.add_option("--max-services", flags.datapath.max_services,
                 "frontends (VIP, port, protocol) there is room for")
      ->capture_default_str();
  cli.add_option("--max-endpoints", flags.datapath.max_endpoints, "endpoints there is room for")
      ->capture_default_str();
  cli.add_option("--max-affinity", flags.datapath.max_affinity,
                 "client and service pairs remembered for session affinity")
      ->capture_default_str();
  AddMetricsFlags(cli, flags.app.figures);
  cli.add_flag("--detach", flags.detach,
               "remove every program, link and map of Weir's under --bpffs, say which, and exit");
  AddTlsFlags(cli, &flags.tls);
  AddLogFlags(cli, &flags.log);
  AddVersionFlag(cli, "weir-agent");
}

/// A node's memory is for its pods. What a full sync, a report or a scrape took goes back to the kernel: one
/// arena (threads hardly allocate at the same time), and big blocks always by mmap (by default, glibc raises
/// that bound to the greatest block it has seen freed).
void KeepMemorySmall() {
  constexpr int kBytes = 128 << 10;
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, kBytes);
  mallopt(M_TRIM_THRESHOLD, kBytes);
}

Status Detach(const std::string& bpffs_dir) {
  std::error_code error;
  if (!std::filesystem::exists(bpffs_dir, error) && !error) {
    std::printf("nothing to remove: %s does not exist\n", bpffs_dir.c_str());
    return OkStatus();
  }
  RETURN_IF_ERROR(datapath::CheckCapabilities());
  ASSIGN_OR_RETURN(const UniqueFd lock, app::LockDirectory(bpffs_dir));
  ASSIGN_OR_RETURN(const std::vector<std::string> removed, datapath::KernelDatapath::Detach(bpffs_dir));
  for (const std::string& path : removed) std::printf("removed %s\n", path.c_str());
  if (removed.empty()) std::printf("nothing to remove: nothing of Weir's under %s\n", bpffs_dir.c_str());
  return OkStatus();
}

/// Ends connections where this kernel and what was granted allow it; its thread begins here.
std::unique_ptr<datapath::Ending> OpenEnding(const datapath::KernelDatapath& datapath,
                                             const std::string& bpffs_dir) {
  auto ending =
      datapath::KernelEnding::Open(datapath.maps(), {.bpffs_dir = bpffs_dir, .on_thread_start = [] {
                                                       // What could not be given up is reported for the other
                                                       // threads.
                                                       app::DropCapabilitiesButForNamespaces().IgnoreError();
                                                     }});
  if (!ending.ok()) {
    LogWarn("open connections cannot be ended on this kernel", {{"error", ending.status()}});
    return std::make_unique<datapath::NoEnding>(ending.status());
  }
  if (const auto missing = app::MissingForNamespaces(); !missing.empty()) {
    LogWarn("open connections can be ended in the agent's own network namespace; others may be out of reach",
            {{"missing", fmt::format("{}", fmt::join(missing, ","))}});
  }
  return *std::move(ending);
}

Status Run(Flags& flags) {
  if (flags.app.node_name.empty()) flags.app.node_name = HostName();
  flags.app.limits = {flags.datapath.max_services, flags.datapath.max_endpoints};
  ASSIGN_OR_RETURN(const std::shared_ptr<TlsFiles> certificates, TlsFiles::Open(flags.tls, /*server=*/false));
  flags.app.tls = certificates;
  RETURN_IF_ERROR(datapath::CheckCapabilities());
  if (flags.datapath.cgroup_path.empty()) {
    const auto mount = datapath::FindCgroup2Mount();
    if (!mount) {
      return FailedPrecondition(
          "no cgroup2 in /proc/self/mountinfo: mount -t cgroup2 none /sys/fs/cgroup, or give --cgroup");
    }
    flags.datapath.cgroup_path = *mount;
  }
  flags.app.cgroup = flags.datapath.cgroup_path;
  RETURN_IF_ERROR(datapath::EnsureBpffsDirectory(flags.datapath.bpffs_dir));
  ASSIGN_OR_RETURN(const UniqueFd lock, app::LockDirectory(flags.datapath.bpffs_dir));
  const SystemClock clock;
  boost::asio::io_context context;
  ASSIGN_OR_RETURN(auto http, app::App::Listen(context, flags.app));  // before anything in the kernel changes
  ASSIGN_OR_RETURN(const auto datapath, datapath::KernelDatapath::Open(flags.datapath));
  const auto ending = OpenEnding(*datapath, flags.datapath.bpffs_dir);
  app::App app(context, clock, *datapath, flags.app, std::move(http), ending.get());
  ASSIGN_OR_RETURN(const std::vector<std::string> kept, app::DropCapabilities());
  LogInfo("agent started", {{"version", kVersion},
                            {"node", flags.app.node_name},
                            {"cgroup", flags.datapath.cgroup_path},
                            {"bpffs", flags.datapath.bpffs_dir},
                            {"generation_adopted", datapath->Generation()},
                            {"capabilities", fmt::format("{}", fmt::join(kept, ","))}});

  const TlsWatch watch(context, certificates);
  boost::asio::signal_set signals(context, SIGTERM, SIGINT);
  signals.async_wait([&](const boost::system::error_code& error, int number) {
    if (error) return;
    LogInfo("stopping, the split stays in force", {{"signal", number}});
    signals.clear();  // a second signal ends us at once
    app.Stop([&context] { context.stop(); });
  });
  std::printf("listening http=%s\n", app.http_address().c_str());
  std::fflush(stdout);
  app.Start();
  context.run();
  return OkStatus();
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  weir::Flags flags;
  CLI::App cli("Programs the kernel of this node with the splits its controller sends.", "weir-agent");
  weir::AddFlags(cli, flags);
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return cli.exit(error) == 0 ? 0 : 2;
  }
  weir::KeepMemorySmall();
  std::signal(SIGPIPE, SIG_IGN);  // a reader of ours that goes away is an error of one write
  weir::Status status = weir::InitLogging(flags.log);
  if (status.ok()) status = flags.detach ? weir::Detach(flags.datapath.bpffs_dir) : weir::Run(flags);
  if (status.ok()) return 0;
  weir::LogError("weir-agent cannot run", {{"error", status}});
  return 1;
}
