#include "controller/kubernetes/leader/run.h"

#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <future>
#include <mutex>
#include <thread>

#include "common/log.h"
#include "common/version.h"
#include "controller/kubernetes/client/access.h"
#include "controller/kubernetes/client/lease.h"
#include "controller/kubernetes/leader/metrics.h"
#include "controller/kubernetes/leader/term.h"

namespace weir::kubernetes {
namespace {

constexpr std::string_view kLeaseName = "weir-controller";

/// One thread for all that goes to the API server, another (the caller's) for terms.
class Replica {
 public:
  Replica(app::Options options, ClusterOptions cluster)
      : options_(std::move(options)), cluster_(std::move(cluster)) {}
  ~Replica() {
    if (thread_.joinable()) {
      boost::asio::post(network_, [this] {
        standby_.reset();
        lease_.reset();
        client_->Stop();
        certificates_.Stop();
        signals_.cancel();
      });
      work_.reset();
      thread_.join();
    }
  }

  Status Init() {
    ASSIGN_OR_RETURN(Access access, cluster_.kubeconfig.empty()
                                        ? InCluster()
                                        : FromKubeconfig(cluster_.kubeconfig, cluster_.context));
    if (cluster_.pod_namespace.empty()) cluster_.pod_namespace = access.ns;
    LeaseOptions lease;
    lease.key = {cluster_.pod_namespace, std::string(kLeaseName)};
    lease.identity = cluster_.pod_name.empty() ? MadeUpName() : cluster_.pod_name;
    lease.lease_duration = cluster_.lease_duration;
    lease.renew_deadline = cluster_.renew_deadline;
    lease.retry_period = cluster_.retry_period;
    RETURN_IF_ERROR(CheckLeaseOptions(lease));
    ASSIGN_OR_RETURN(client_, Client::Create(network_, std::move(access)));
    LeaseCallbacks callbacks;
    callbacks.on_elected = [this] { Set([this] { elected_ = true; }); };
    callbacks.on_deposed = [this] {
      LogWarn("this controller leads no more", {});
      Set([this] {
        elected_ = false;
        if (term_ != nullptr) boost::asio::post(*term_context_, [term = term_] { term->Shutdown(); });
      });
    };
    callbacks.on_holder = [](const std::string& holder) {
      LogInfo("the Lease is held", {{"by", holder.empty() ? "nobody" : holder}});
    };
    lease_ = std::make_unique<Lease>(*client_, lease, std::move(callbacks));
    RETURN_IF_ERROR(ListenAsStandby());
    signals_.async_wait([this](boost::system::error_code error, int number) {
      if (error) return;
      LogInfo("shutting down", {{"signal", number}});
      // Given up, not left to run out: the other replica takes over at once.
      lease_->Stop([this](const Status&) { Set([this] { stopping_ = true; }); });
    });
    lease_->Start();
    thread_ = std::thread([this] { network_.run(); });
    return OkStatus();
  }

  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return elected_ || stopping_; });
      if (stopping_) return;
      lock.unlock();
      Lead();
      lock.lock();
    }
  }

 private:
  static std::string MadeUpName() {
    char host[256] = {};
    gethostname(host, sizeof(host) - 1);
    return fmt::format("{}-{}", host, getpid());
  }

  void Set(const std::function<void()>& what) {
    const std::lock_guard lock(mutex_);
    what();
    changed_.notify_all();
  }

  /// Whoever does not lead answers probes and metrics all the same. On the network's thread, or before it
  /// runs.
  Status ListenAsStandby() {
    HttpServer::Options http;
    http.listen = options_.http;
    http.tls = options_.tls;
    ASSIGN_OR_RETURN(standby_, HttpServer::Listen(network_, http));
    standby_->Handle("/healthz", [](const HttpRequest&) { return HttpResponse{.body = "ok\n"}; });
    standby_->Handle("/readyz", [](const HttpRequest&) { return HttpResponse{.body = "ok: a candidate\n"}; });
    standby_->Handle("/metrics", MetricsHandler({&metrics_, &process_metrics_, &tls_metrics_}));
    options_.http = standby_->address();  // the same port again, when it was any
    std::printf("candidate http=%s\n", standby_->address().c_str());
    std::fflush(stdout);
    return OkStatus();
  }

  template <typename What>
  void OnNetwork(What what) {
    std::promise<void> done;
    boost::asio::post(network_, [&] {
      what();
      done.set_value();
    });
    done.get_future().wait();
  }

  void Lead() {
    LogInfo("this controller leads", {{"version", kVersion}});
    OnNetwork([this] { standby_.reset(); });
    boost::asio::io_context context(1);
    Term::Options options;
    options.app = options_;
    options.pod_name = cluster_.pod_name;
    options.pod_namespace = cluster_.pod_namespace;
    options.look_for_kinds = cluster_.look_for_kinds;
    options.leads = [this] { return lease_->Held(); };
    options.metrics = &metrics_;
    options.on_started = [this](const app::App& app) {
      options_.listen = app.grpc_address();  // likewise
      std::printf("listening grpc=%s http=%s\n", app.grpc_address().c_str(), app.http_address().c_str());
      std::fflush(stdout);
    };
    {
      Term term(context, *client_, std::move(options));
      bool lost = false;
      Set([&] {
        term_ = &term;
        term_context_ = &context;
        lost = !elected_;
        metrics_.SetLeads(true);
      });
      term.Begin();
      if (lost) term.Shutdown();
      context.run();
      Set([&] {
        term_ = nullptr;
        metrics_.SetLeads(false);
      });
    }
    OnNetwork([this] {
      if (const Status status = ListenAsStandby(); !status.ok())
        LogError("nobody answers probes", {{"error", status}});
    });
  }

  app::Options options_;
  ClusterOptions cluster_;
  boost::asio::io_context network_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{network_.get_executor()};
  boost::asio::signal_set signals_{network_, SIGTERM, SIGINT};
  TlsWatch certificates_{network_, options_.tls};  // leading or not
  std::unique_ptr<Client> client_;
  std::unique_ptr<Lease> lease_;
  std::unique_ptr<HttpServer> standby_;
  LeaderMetrics metrics_;
  ProcessMetrics process_metrics_;
  TlsMetrics tls_metrics_{options_.tls};
  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool elected_ = false, stopping_ = false;
  Term* term_ = nullptr;
  boost::asio::io_context* term_context_ = nullptr;
};

}  // namespace

Status RunInCluster(const app::Options& options, const ClusterOptions& cluster) {
  Replica replica(options, cluster);
  RETURN_IF_ERROR(replica.Init());
  replica.Run();
  return OkStatus();
}

}  // namespace weir::kubernetes
