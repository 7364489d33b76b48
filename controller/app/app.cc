#include "controller/app/app.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "common/address.h"
#include "common/log.h"
#include "controller/app/safety.h"

namespace weir::app {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kRetryDelay{1000};
constexpr milliseconds kTelemetryPace{1000};
constexpr milliseconds kShutdownGrace{2000};
// A look at the acknowledgements passes over all nodes; looks are this far apart per node, so that they stay
// a small part of the work while thousands of acknowledgements come in.
constexpr std::chrono::microseconds kSettlePacePerNode{2};

dispatch::Dispatcher::Options DispatchOptions(const Options& options, const store::Store& store) {
  dispatch::Dispatcher::Options dispatch;
  dispatch.controller_id = store.controller_id();
  dispatch.heartbeat_interval = options.heartbeat_interval;
  return dispatch;
}

compiler::Options CompilerOptions(const Options& options, const Foundation& foundation) {
  compiler::Options compiler;
  // In Kubernetes what has no endpoints is kube-proxy's to refuse.
  if (foundation.objects) compiler.on_empty = v1::ON_EMPTY_PASS;
  compiler.silence = options.heartbeat_interval * dispatch::Dispatcher::Options{}.missed_heartbeats_allowed;
  return compiler;
}

BackendImpl::Applying Applying(const Foundation& foundation) {
  BackendImpl::Applying applying;
  applying.from_cluster = foundation.objects.has_value();
  if (foundation.outside != nullptr)
    applying.remark = [outside = foundation.outside](const ObjectKey& key) { return outside->Remark(key); };
  return applying;
}

Status CheckOptions(const Options& options) {
  const TlsFlags tls = options.tls != nullptr ? options.tls->flags() : TlsFlags{};
  ASSIGN_OR_RETURN(const HostPort listen, ParseHostPort("--listen", options.listen));
  ASSIGN_OR_RETURN(const HostPort http, ParseHostPort("--http", options.http));
  RETURN_IF_ERROR(CheckListener("--listen", listen, tls));
  RETURN_IF_ERROR(CheckListener("--http", http, tls));
  return OkStatus();
}

}  // namespace

App::App(boost::asio::io_context& context, const Options& options, Foundation& foundation)
    : context_(context),
      store_(std::move(foundation.store)),
      outside_(foundation.outside),
      core_(*store_, clock_, *this, CompilerOptions(options, foundation),
            foundation.objects ? model::Origin::kCluster : model::Origin::kFiles),
      dispatcher_(DispatchOptions(options, *store_), clock_, *this),
      acks_(dispatcher_, clock_),
      endings_(core_, dispatcher_),
      providers_(context),
      analysis_(context, clock_, *store_, cluster_, providers_, *this),
      webhook_transport_(context),
      webhooks_(
          context, clock_, SystemRandom(), {},
          [this](HttpCall call, HttpClient::Done done) {
            webhook_transport_.Call(std::move(call), std::move(done));
          },
          *this),
      backend_(clock_, core_, dispatcher_, observed_, cluster_, acks_, analysis_, webhooks_,
               Applying(foundation)),
      watches_(context, backend_),
      figures_(context, backend_),
      metrics_(clock_, {core_, observed_}, cluster_, dispatcher_, acks_, analysis_, endings_, webhooks_),
      tls_metrics_(options.tls),
      agent_service_(context, dispatcher_),
      weir_service_(context, backend_, watches_, figures_),
      tick_interval_(
          std::max(milliseconds(1), options.heartbeat_interval / dispatch::Dispatcher::kTicksPerInterval)),
      tick_timer_(context),
      settle_timer_(context),
      expiry_timer_(context),
      retry_timer_(context),
      telemetry_timer_(context),
      wake_timer_(context) {}

App::~App() {
  if (shutdown_thread_.joinable()) shutdown_thread_.join();
}

Result<std::unique_ptr<App>> App::Start(boost::asio::io_context& context, const Options& options) {
  RETURN_IF_ERROR(CheckOptions(options));  // before the state directory is made
  Foundation foundation;
  ASSIGN_OR_RETURN(foundation.store, store::Store::Open(options.state));
  auto app = Start(context, options, std::move(foundation));
  if (!app.ok()) return Annotate(app.status(), fmt::format("--state {}", options.state.string()));
  return app;
}

Result<std::unique_ptr<App>> App::Start(boost::asio::io_context& context, const Options& options,
                                        Foundation foundation) {
  RETURN_IF_ERROR(CheckOptions(options));
  std::unique_ptr<App> app(new App(context, options, foundation));
  RETURN_IF_ERROR(app->Init(options, std::move(foundation)));
  return app;
}

Status App::Init(const Options& options, Foundation foundation) {
  RETURN_IF_ERROR(foundation.objects ? core_.Load(*std::move(foundation.objects)) : core_.Load());
  dispatcher_.RestoreNodes(core_.nodes());
  ResetDispatch();
  endings_.Load();
  analysis_.Load(core_.TakeStoredRuns());
  RETURN_IF_ERROR(core_.Restart());
  analysis_.EndOthers();

  HttpServer::Options http;
  http.listen = options.http;
  http.tls = options.tls;
  ASSIGN_OR_RETURN(http_, HttpServer::Listen(context_, http));
  std::vector<prometheus::Collectable*> metrics = std::move(foundation.metrics);
  metrics.insert(metrics.begin(), {&metrics_, &process_metrics_, &tls_metrics_});
  http_->Handle("/metrics", MetricsHandler(metrics));
  http_->Handle("/healthz", [](const HttpRequest&) { return HttpResponse{.body = "ok\n"}; });
  http_->Handle("/readyz", [this](const HttpRequest&) {
    if (shutting_down_) return HttpResponse{.status = 503, .body = "shutting down\n"};
    if (!store_error_.empty()) return HttpResponse{.status = 503, .body = store_error_ + "\n"};
    return HttpResponse{.body = "ok\n"};
  });
  api::GrpcServer::Options grpc;
  grpc.listen = options.listen;
  grpc.tls = options.tls;
  ASSIGN_OR_RETURN(server_, api::GrpcServer::Start(grpc, {&agent_service_, &weir_service_}));
  server_->SetServing(true);
  started_ = true;
  for (const auto& [key, entry] : core_.rollouts()) OfferNotifications(key);
  Tick();
  ArmWake();
  ScheduleSettle();
  return OkStatus();
}

void App::ResetDispatch() {
  std::vector<dispatch::FrontendPtr> frontends;
  for (const auto& [service, compiled] : core_.frontends()) {
    for (const auto& [id, frontend] : compiled)
      frontends.push_back(std::make_shared<const v1::Frontend>(frontend));
  }
  dispatcher_.Reset(core_.generation(), frontends);
}

void App::OnPublished(uint64_t generation, const compiler::Difference& difference) {
  std::vector<dispatch::FrontendPtr> upserts;
  for (const auto& frontend : difference.upserts)
    upserts.push_back(std::make_shared<const v1::Frontend>(frontend));
  dispatcher_.Publish(generation, upserts, difference.removals);
}

void App::OnRolloutChanged(const ObjectKey& key) {
  store_error_.clear();
  if (!core_.rollouts().contains(key)) {
    analysis_.Forget(key);
    refusing_.erase(key);
    taken_out_.erase(key);
  }
  watches_.Changed({key.ns, key.name});
  endings_.Changed(key);
  if (outside_ != nullptr) outside_->OnRolloutChanged(key);
  OfferNotifications(key);
  ArmWake();
  ScheduleSettle();
}

void App::OfferNotifications(const ObjectKey& rollout) {
  const auto found = core_.rollouts().find(rollout);
  if (!started_ || found == core_.rollouts().end()) return;
  for (const webhooks::Notification& notification : found->second.outbox)
    webhooks_.Offer(rollout, notification);
}

const model::Webhook* App::FindWebhook(const ObjectKey& key) const {
  const auto found = core_.objects().webhooks.find(key);
  return found == core_.objects().webhooks.end() ? nullptr : &found->second;
}

void App::OnNotified(const ObjectKey& rollout, uint64_t number) {
  // Where it cannot be written the notification stays in the outbox, and is sent once more.
  const Status status = core_.StrikeOut(rollout, number);
  store_error_ = status.ok() ? "" : Message(status);
}

void App::OnAnalysis(const ObjectKey& rollout, const AnalysisEffect& effect) {
  if (const auto* start = std::get_if<engine::StartAnalysis>(&effect)) {
    analysis_.Start(rollout, *start);
  } else {
    analysis_.Stop(rollout, std::get<engine::StopAnalysis>(effect));
  }
}

void App::OnNote(const ObjectKey& rollout, const std::string& text) {
  if (outside_ != nullptr) outside_->OnNote(rollout, text);
}

Status App::OnFinished(const ObjectKey& rollout, const engine::AnalysisFinished& event) {
  Status status = core_.Feed(rollout, event);
  if (status.code() == absl::StatusCode::kNotFound) return OkStatus();  // nobody waits any more
  if (!status.ok()) store_error_ = Message(status);
  return status;
}

Result<std::map<std::string, uint32_t>> App::NumberNodes(const std::vector<std::string>& names) {
  return core_.NumberNodes(names);
}

std::vector<v1::ControllerMessage> App::OnWelcome(const dispatch::Node& node) {
  if (outside_ == nullptr) return {};
  std::vector<v1::ControllerMessage> first(1);
  *first.front().mutable_consumers() = outside_->ConsumersOn(node.name);
  return first;
}

void App::TellConsumers(const std::string& node, const v1::Consumers& consumers) {
  v1::ControllerMessage message;
  *message.mutable_consumers() = consumers;
  dispatcher_.Tell(node, message);
}

void App::OnNodesChanged() {
  acks_.Invalidate();
  ScheduleSettle();
}

void App::OnTelemetry(const dispatch::Node& node, const v1::Telemetry& telemetry) {
  observed_.Report(node.name, telemetry);
  // The time the node was welcomed tells its streams apart.
  cluster_.Report(node.name, node.connected_since, telemetry, clock_.Now());
  if (watches_.watchers() == 0 || shutting_down_ || std::exchange(telemetry_scheduled_, true)) return;
  telemetry_timer_.expires_after(kTelemetryPace);
  telemetry_timer_.async_wait([this](boost::system::error_code error) {
    telemetry_scheduled_ = false;
    if (error) return;
    for (const auto& [key, entry] : core_.rollouts()) watches_.Changed({key.ns, key.name});
  });
}

void App::OnEnded(const dispatch::Node& node, const v1::Ended& ended) {
  endings_.OnEnded(node.name, ended);
  ScheduleSettle();
}

void App::OnAgentAhead(uint64_t generation_held) {
  // Not now: the agent is being welcomed.
  boost::asio::post(context_, [this, generation_held] {
    if (generation_held <= core_.generation()) return;
    if (Status status = core_.SkipBeyond(generation_held); !status.ok()) {
      LogError("the generation could not be moved on", {{"error", status}});
      return;
    }
    ResetDispatch();
  });
}

void App::ScheduleSettle() {
  if (!started_ || shutting_down_ || std::exchange(settle_scheduled_, true)) return;
  settle_timer_.expires_after(kSettlePacePerNode * dispatcher_.nodes().size());
  settle_timer_.async_wait([this](boost::system::error_code error) {
    settle_scheduled_ = false;
    if (!error) Settle();
  });
}

void App::Settle() {
  std::vector<std::pair<ObjectKey, engine::Event>> news;
  const NodeList taken_out = NodesThatTookOut(dispatcher_.nodes());
  std::optional<MonotonicTime> expiry;
  // Routes wait for nodes as well, without any Rollout.
  if (outside_ != nullptr) expiry = acks_.For(model::Rollout{}.ack_timeout).next_expiry();
  for (const auto& [key, object] : core_.objects().rollouts) {
    const RolloutEntry& entry = core_.rollouts().at(key);
    const AckView& view = acks_.For(object.ack_timeout);
    auto observed = TakenOutOf(taken_out, object, entry.state);
    // After a restart, or when a node goes, the engine knows all of it already and tells nobody.
    if (observed.nodes != taken_out_[key]) {
      taken_out_[key] = observed.nodes;
      watches_.Changed({key.ns, key.name});
    }
    if (IsNews(entry.state, observed)) news.emplace_back(key, std::move(observed));
    if (view.next_expiry() && (!expiry || *view.next_expiry() < *expiry)) expiry = view.next_expiry();
    if (entry.state.generation == 0) continue;
    // The engine is not concerned, and tells nobody, where a node refuses what came after the rollout's
    // weights.
    if (auto refusing = view.Refusing(entry.state.generation); refusing != refusing_[key]) {
      refusing_[key] = std::move(refusing);
      watches_.Changed({key.ns, key.name});
    }
    engine::Acks acks = view.For(entry.state.generation);
    if (acks != entry.state.acks) news.emplace_back(key, engine::AcksObserved{std::move(acks)});
  }
  for (const auto& [key, event] : news) Feed(key, event);
  for (const auto& [key, ended] : endings_.News()) Feed(key, ended);
  endings_.Look();
  if (outside_ != nullptr) outside_->OnSettled();
  if (!expiry) return;
  expiry_timer_.expires_at(*expiry);
  expiry_timer_.async_wait([this](boost::system::error_code error) {
    if (!error) OnNodesChanged();
  });
}

bool App::AllAcked(uint64_t generation) {
  return acks_.For(model::Rollout{}.ack_timeout).For(generation).complete();
}

void App::Feed(const ObjectKey& rollout, const engine::Event& event) {
  Status status = core_.Feed(rollout, event);
  if (status.ok() || shutting_down_) return;
  // Nothing has changed, in memory neither; the same facts are fed again.
  store_error_ = Message(status);
  retry_timer_.expires_after(kRetryDelay);
  retry_timer_.async_wait([this](boost::system::error_code error) {
    if (error) return;
    OnWake();
    ScheduleSettle();
  });
}

void App::ArmWake() {
  if (!started_ || shutting_down_) return;
  auto next = core_.NextWake();
  if (!next) {
    wake_timer_.cancel();
    return;
  }
  wake_timer_.expires_at(std::chrono::time_point_cast<std::chrono::system_clock::duration>(*next));
  wake_timer_.async_wait([this](boost::system::error_code error) {
    if (!error) OnWake();
  });
}

void App::OnWake() {
  for (const ObjectKey& key : core_.Due()) Feed(key, engine::Tick{});
  // Where the timer was early by less than the engine's millisecond; after a failure the retry takes over.
  if (core_.Due().empty()) ArmWake();
}

void App::Tick() {
  dispatcher_.Tick();
  if (shutting_down_) return;
  tick_timer_.expires_after(tick_interval_);
  tick_timer_.async_wait([this](boost::system::error_code error) {
    if (!error) Tick();
  });
}

void App::Shutdown() {
  if (std::exchange(shutting_down_, true)) return;
  server_->SetServing(false);
  grpc::Status status(grpc::StatusCode::UNAVAILABLE, "the controller is shutting down");
  dispatcher_.Shutdown(status);
  watches_.Shutdown(status);
  figures_.Shutdown(status);
  analysis_.Shutdown();
  webhooks_.Shutdown();
  webhook_transport_.Stop();
  for (auto* timer : {&tick_timer_, &settle_timer_, &expiry_timer_, &retry_timer_, &telemetry_timer_})
    timer->cancel();
  wake_timer_.cancel();
  // Calls end on the io_context, so it must run while the server waits for them.
  auto work = boost::asio::make_work_guard(context_);
  shutdown_thread_ = std::thread([this, work = std::move(work)]() mutable {
    server_->Shutdown(kShutdownGrace);
    boost::asio::post(context_, [this] { http_->Stop(); });
    work.reset();
  });
}

}  // namespace weir::app
