// One controller: wiring, timers, listeners, start and shutdown.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/system_timer.hpp>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "common/clock.h"
#include "common/http.h"
#include "common/metrics.h"
#include "common/status.h"
#include "common/tls_files.h"
#include "common/tls_metrics.h"
#include "controller/api/figures_watch.h"
#include "controller/api/server.h"
#include "controller/api/service.h"
#include "controller/api/watch.h"
#include "controller/app/acks.h"
#include "controller/app/analysis_runner.h"
#include "controller/app/backend.h"
#include "controller/app/core.h"
#include "controller/app/endings.h"
#include "controller/app/metrics.h"
#include "controller/app/observed.h"
#include "controller/dispatch/dispatcher.h"
#include "controller/dispatch/service.h"
#include "controller/store/store.h"
#include "controller/telemetry/cluster.h"
#include "controller/webhooks/sender.h"
#include "controller/webhooks/transport.h"

namespace weir::app {

struct Options {
  std::string listen;  // gRPC
  std::string http;
  std::filesystem::path state;
  std::shared_ptr<TlsFiles> tls = nullptr;  // whoever starts the App has them looked at; null: no flags
  std::chrono::milliseconds heartbeat_interval{3000};
};

/// Where an App's objects come from when they are not applied by weirctl, and who else wants to hear of
/// rollouts. On the io_context's thread.
class Outside {
 public:
  virtual ~Outside() = default;
  /// Changed, gone, or acknowledged by another number of nodes.
  virtual void OnRolloutChanged(const ObjectKey& key) = 0;
  /// Acknowledgements may have changed.
  virtual void OnSettled() = 0;
  /// What became of a rollout: "rollout of revision v2 begins, stable is v1".
  virtual void OnNote(const ObjectKey& rollout, const std::string& text) = 0;
  /// What is to be said beside a rollout's own message; empty: nothing.
  virtual std::string Remark(const ObjectKey& rollout) const = 0;
  /// The node's pods that are consumers; for whoever has just come.
  virtual v1::Consumers ConsumersOn(const std::string& node) const = 0;
};

/// What an App is built upon.
struct Foundation {
  std::unique_ptr<store::Store> store;
  std::optional<model::ObjectSet> objects;        // from outside; none: the store's
  Outside* outside = nullptr;                     // outlives the App
  std::vector<prometheus::Collectable*> metrics;  // of others, for /metrics; likewise
};

/// Everything but the constructor's caller runs on the io_context, by one thread.
class App final : private CoreListener,
                  private dispatch::Observer,
                  private AnalysisRunner::Host,
                  private webhooks::Owner {
 public:
  /// Opens the store, takes up what it holds, listens. Errors name the flag, path or address and the remedy.
  static Result<std::unique_ptr<App>> Start(boost::asio::io_context& context, const Options& options);
  /// The same upon another foundation than the store in options.state.
  static Result<std::unique_ptr<App>> Start(boost::asio::io_context& context, const Options& options,
                                            Foundation foundation);
  /// After Shutdown and after the io_context ran out of work, or where Start failed.
  ~App() override;

  const std::string& grpc_address() const { return server_->address(); }
  std::string http_address() const { return http_->address(); }

  /// Begins to end: new calls are refused, streams and watches closed, listeners stopped. The io_context runs
  /// out of work when it is done. May be called again.
  void Shutdown();

  /// For whoever gives the objects.
  Core& core() { return core_; }
  api::Backend& backend() { return backend_; }
  const telemetry::Cluster& cluster() const { return cluster_; }
  /// The node's pods that are consumers have changed; behind all that it was told before.
  void TellConsumers(const std::string& node, const v1::Consumers& consumers);
  /// Every agent that counts, by the default ackTimeout, holds that generation or a later one.
  bool AllAcked(uint64_t generation);

 private:
  App(boost::asio::io_context& context, const Options& options, Foundation& foundation);
  Status Init(const Options& options, Foundation foundation);

  // CoreListener
  void OnPublished(uint64_t generation, const compiler::Difference& difference) override;
  void OnRolloutChanged(const ObjectKey& key) override;
  void OnAnalysis(const ObjectKey& rollout, const AnalysisEffect& effect) override;
  void OnNote(const ObjectKey& rollout, const std::string& text) override;
  // AnalysisRunner::Host
  const model::ObjectSet& Objects() const override { return core_.objects(); }
  Status OnFinished(const ObjectKey& rollout, const engine::AnalysisFinished& event) override;
  void OnRunChanged(const ObjectKey& rollout) override { watches_.Changed({rollout.ns, rollout.name}); }
  // dispatch::Observer
  Result<std::map<std::string, uint32_t>> NumberNodes(const std::vector<std::string>& names) override;
  std::vector<v1::ControllerMessage> OnWelcome(const dispatch::Node& node) override;
  void OnNodesChanged() override;
  void OnTelemetry(const dispatch::Node& node, const v1::Telemetry& telemetry) override;
  void OnAgentAhead(uint64_t generation_held) override;
  void OnEnded(const dispatch::Node& node, const v1::Ended& ended) override;
  // webhooks::Owner
  const model::Webhook* FindWebhook(const ObjectKey& key) const override;
  void OnNotified(const ObjectKey& rollout, uint64_t number) override;

  void ResetDispatch();
  void ScheduleSettle();
  void Settle();
  void ArmWake();
  void OnWake();
  void Feed(const ObjectKey& rollout, const engine::Event& event);
  void Tick();
  void OfferNotifications(const ObjectKey& rollout);

  boost::asio::io_context& context_;
  SystemClock clock_;
  std::unique_ptr<store::Store> store_;
  Outside* const outside_;
  Core core_;
  dispatch::Dispatcher dispatcher_;
  Observed observed_;
  telemetry::Cluster cluster_;
  AckViews acks_;
  Endings endings_;
  HttpProviders providers_;
  AnalysisRunner analysis_;
  webhooks::Transport webhook_transport_;
  webhooks::Sender webhooks_;
  BackendImpl backend_;
  api::WatchHub watches_;
  api::FiguresHub figures_;
  Metrics metrics_;
  ProcessMetrics process_metrics_;
  TlsMetrics tls_metrics_;
  dispatch::AgentServiceImpl agent_service_;
  api::WeirServiceImpl weir_service_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<api::GrpcServer> server_;

  const std::chrono::milliseconds tick_interval_;
  boost::asio::steady_timer tick_timer_;
  boost::asio::steady_timer settle_timer_;     // acknowledgements are looked at again
  boost::asio::steady_timer expiry_timer_;     // a node stops to count
  boost::asio::steady_timer retry_timer_;      // after the store refused a change
  boost::asio::steady_timer telemetry_timer_;  // watchers hear of counts once a second
  boost::asio::system_timer wake_timer_;       // the engine's WakeAt
  bool settle_scheduled_ = false, telemetry_scheduled_ = false, started_ = false, shutting_down_ = false;
  std::string store_error_;  // of the last change that was not the fault of a caller; empty when the last one
                             // went well
  // Nodes that refuse, and those that took the canary out: as watchers of the rollout know it.
  std::map<ObjectKey, std::vector<std::string>> refusing_, taken_out_;
  std::thread shutdown_thread_;
};

}  // namespace weir::app
