// A controller's API with canned answers, for tests of weirctl.
#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "weir/v1/rollouts.grpc.pb.h"

namespace weir::cli {

/// Listens on a free port of 127.0.0.1 until it is destroyed. What it answers is set before the call.
class FakeWeirService final : public v1::WeirService::Service {
 public:
  explicit FakeWeirService(int port = 0) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~FakeWeirService() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
  }
  FakeWeirService(const FakeWeirService&) = delete;
  FakeWeirService& operator=(const FakeWeirService&) = delete;

  int port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  // Answers.
  std::vector<v1::Rollout> rollouts;
  v1::ListSplitsResponse splits;
  v1::ListNodesResponse nodes;
  v1::ListServicesResponse services;
  v1::ListAnalysisRunsResponse runs;
  v1::ListWebhooksResponse webhooks;
  std::vector<v1::FiguresResponse> figures;  // one after the other, then as end_of_watch says
  grpc::Status failure;                      // of every call, where it is not OK
  std::optional<grpc::Status> end_of_watch;  // after the events sent so far; unset: a watch goes on

  int watches_ended_early = 0;  // so many watches end after the present state

  // The last request of each kind.
  v1::FiguresRequest figures_asked;
  v1::ApplyRequest applied;
  v1::DeleteRequest deleted;
  v1::PromoteRequest promoted;
  v1::SetWeightRequest weighted;
  v1::UndoRequest undone;
  std::string verb;  // "Abort shop/checkout"

  /// To every watch that runs, and to later ones after the present state.
  void Send(v1::RolloutEvent::Type type, const v1::Rollout& rollout) {
    v1::RolloutEvent event;
    event.set_type(type);
    *event.mutable_rollout() = rollout;
    {
      const std::lock_guard lock(mutex_);
      events_.push_back(std::move(event));
    }
    changed_.notify_all();
  }

  grpc::Status Apply(grpc::ServerContext*, const v1::ApplyRequest* request,
                     v1::ApplyResponse* response) override {
    applied = *request;
    if (!failure.ok()) return failure;
    const auto add = [&](const char* kind, v1::ObjectChange::Result result) {
      v1::ObjectChange* change = response->add_changes();
      change->set_kind(kind);
      change->set_namespace_("shop");
      change->set_name("checkout");
      change->set_result(result);
    };
    add("Service", v1::ObjectChange::RESULT_UNCHANGED);
    add("EndpointSlice", v1::ObjectChange::RESULT_CREATED);
    add("Rollout", v1::ObjectChange::RESULT_CONFIGURED);
    return grpc::Status::OK;
  }
  grpc::Status Delete(grpc::ServerContext*, const v1::DeleteRequest* request,
                      v1::DeleteResponse* response) override {
    deleted = *request;
    if (!failure.ok()) return failure;
    v1::ObjectChange* change = response->add_changes();
    change->set_kind(request->kind());
    change->set_namespace_(request->namespace_());
    change->set_name(request->name());
    change->set_result(v1::ObjectChange::RESULT_DELETED);
    return grpc::Status::OK;
  }
  grpc::Status GetRollout(grpc::ServerContext*, const v1::ObjectName* request,
                          v1::Rollout* response) override {
    return Answer(*request, response);
  }
  grpc::Status ListRollouts(grpc::ServerContext*, const v1::ListRequest* request,
                            v1::ListRolloutsResponse* response) override {
    for (const v1::Rollout& rollout : rollouts) {
      if (Matches(*request, rollout.namespace_(), rollout.name())) *response->add_rollouts() = rollout;
    }
    return failure;
  }
  grpc::Status ListAnalysisRuns(grpc::ServerContext*, const v1::ListRequest* request,
                                v1::ListAnalysisRunsResponse* response) override {
    for (const v1::AnalysisRun& run : runs.runs()) {
      if (Matches(*request, run.namespace_(), run.name()) ||
          Matches(*request, run.namespace_(), run.rollout()))
        *response->add_runs() = run;
    }
    return failure;
  }
  grpc::Status WatchRollouts(grpc::ServerContext* context, const v1::ListRequest* request,
                             grpc::ServerWriter<v1::RolloutEvent>* writer) override {
    for (const v1::Rollout& rollout : rollouts) {
      if (!Matches(*request, rollout.namespace_(), rollout.name())) continue;
      v1::RolloutEvent event;
      event.set_type(v1::RolloutEvent::TYPE_CURRENT);
      *event.mutable_rollout() = rollout;
      writer->Write(event);
    }
    size_t next = 0;
    std::unique_lock lock(mutex_);
    if (watches_ended_early > 0) {
      --watches_ended_early;
      return {grpc::StatusCode::UNAVAILABLE, "shutting down"};
    }
    while (true) {
      // The time limit is only for a client that went away without a further event.
      changed_.wait_for(lock, std::chrono::milliseconds(50),
                        [&] { return stopping_ || next < events_.size() || end_of_watch.has_value(); });
      if (stopping_) return {grpc::StatusCode::UNAVAILABLE, "shutting down"};
      if (context->IsCancelled()) return grpc::Status::CANCELLED;
      while (next < events_.size()) {
        if (!writer->Write(events_[next++])) return grpc::Status::CANCELLED;
      }
      if (end_of_watch) return *end_of_watch;
    }
  }
  grpc::Status Promote(grpc::ServerContext*, const v1::PromoteRequest* request,
                       v1::Rollout* response) override {
    promoted = *request;
    return Answer(*request, response);
  }
  grpc::Status Abort(grpc::ServerContext*, const v1::ObjectName* request, v1::Rollout* response) override {
    return Verb("Abort", *request, response);
  }
  grpc::Status Retry(grpc::ServerContext*, const v1::ObjectName* request, v1::Rollout* response) override {
    return Verb("Retry", *request, response);
  }
  grpc::Status Pause(grpc::ServerContext*, const v1::ObjectName* request, v1::Rollout* response) override {
    return Verb("Pause", *request, response);
  }
  grpc::Status Resume(grpc::ServerContext*, const v1::ObjectName* request, v1::Rollout* response) override {
    return Verb("Resume", *request, response);
  }
  grpc::Status SetWeight(grpc::ServerContext*, const v1::SetWeightRequest* request,
                         v1::Rollout* response) override {
    weighted = *request;
    return Answer(*request, response);
  }
  grpc::Status Undo(grpc::ServerContext*, const v1::UndoRequest* request, v1::Rollout* response) override {
    undone = *request;
    return Answer(*request, response);
  }
  grpc::Status ListNodes(grpc::ServerContext*, const v1::ListNodesRequest*,
                         v1::ListNodesResponse* response) override {
    *response = nodes;
    return failure;
  }
  grpc::Status ListSplits(grpc::ServerContext*, const v1::ListRequest*,
                          v1::ListSplitsResponse* response) override {
    *response = splits;
    return failure;
  }
  grpc::Status ListServices(grpc::ServerContext*, const v1::ListRequest*,
                            v1::ListServicesResponse* response) override {
    *response = services;
    return failure;
  }
  grpc::Status ListWebhooks(grpc::ServerContext*, const v1::ListRequest*,
                            v1::ListWebhooksResponse* response) override {
    *response = webhooks;
    return failure;
  }
  grpc::Status WatchFigures(grpc::ServerContext* context, const v1::FiguresRequest* request,
                            grpc::ServerWriter<v1::FiguresResponse>* writer) override {
    figures_asked = *request;
    if (!failure.ok()) return failure;
    for (const auto& response : figures) {
      if (!writer->Write(response)) return grpc::Status::OK;
    }
    std::unique_lock lock(mutex_);
    while (!end_of_watch && !stopping_ && !context->IsCancelled()) {
      changed_.wait_for(lock, std::chrono::milliseconds(10));  // gRPC tells of a cancelled call by no event
    }
    return end_of_watch.value_or(grpc::Status::OK);
  }
  grpc::Status GetVersion(grpc::ServerContext*, const v1::GetVersionRequest*,
                          v1::GetVersionResponse* response) override {
    response->set_version("9.8.7");
    return failure;
  }

 private:
  static bool Matches(const v1::ListRequest& request, const std::string& namespace_name,
                      const std::string& name) {
    return (request.namespace_().empty() || request.namespace_() == namespace_name) &&
           (request.name().empty() || request.name() == name);
  }

  template <typename Request>
  grpc::Status Answer(const Request& request, v1::Rollout* response) {
    if (!failure.ok()) return failure;
    for (const v1::Rollout& rollout : rollouts) {
      if (rollout.namespace_() == request.namespace_() && rollout.name() == request.name()) {
        *response = rollout;
        return grpc::Status::OK;
      }
    }
    return {grpc::StatusCode::NOT_FOUND, "no rollout " + request.namespace_() + "/" + request.name()};
  }

  grpc::Status Verb(const char* name, const v1::ObjectName& request, v1::Rollout* response) {
    verb = std::string(name) + " " + request.namespace_() + "/" + request.name();
    return Answer(request, response);
  }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<v1::RolloutEvent> events_;
  bool stopping_ = false;
};

}  // namespace weir::cli
