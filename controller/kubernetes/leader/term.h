// One leadership: the objects of the cluster, an App on top of them, Deployments led, statuses written. It
// begins when the Lease is won and ends when it is lost, or by Shutdown(). The controller's thread but where
// said.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/clock.h"
#include "controller/app/app.h"
#include "controller/kubernetes/client/event_recorder.h"
#include "controller/kubernetes/leader/informers.h"
#include "controller/kubernetes/leader/refusals.h"
#include "controller/kubernetes/leader/routes.h"
#include "controller/kubernetes/leader/statuses.h"
#include "controller/kubernetes/leader/workloads.h"
#include "controller/kubernetes/source/catalog.h"

namespace weir::kubernetes {

class Term final : public app::Outside,
                   public prometheus::Collectable,
                   private InformerListener,
                   private Workloads::Host {
 public:
  struct Options {
    app::Options app;
    std::string pod_name;  // empty: no pod to label
    std::string pod_namespace;
    std::chrono::milliseconds look_for_kinds{60'000};  // Informers
    /// Any thread: whether this controller may act.
    std::function<bool()> leads;
    /// The App listens.
    std::function<void(const app::App&)> on_started;
    prometheus::Collectable* metrics = nullptr;
  };

  /// `client` and its io_context must outlive it.
  Term(boost::asio::io_context& context, Client& client, Options options);
  ~Term() override;

  void Begin();
  /// Nothing is sent or written any more; the io_context runs out of work soon. May be called again.
  void Shutdown();

  /// The cluster as it is followed and written. On the io_context's thread.
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  // app::Outside
  void OnRolloutChanged(const ObjectKey& key) override;
  void OnSettled() override;
  void OnNote(const ObjectKey& rollout, const std::string& text) override;
  std::string Remark(const ObjectKey& rollout) const override;
  v1::Consumers ConsumersOn(const std::string& node) const override { return consumers_.On(node); }
  // InformerListener
  void OnPut(std::string_view kind, boost::json::object object) override;
  void OnDelete(std::string_view kind, const ObjectKey& key) override;
  void OnPod(const ObjectKey& pod, std::optional<PodLabels> labels) override;
  void OnPodsReady(const std::set<std::string>& labels) override;
  void OnConsumer(const ObjectKey& pod, std::optional<PodPlace> place) override;
  void OnConsumersReady(const std::string& ns) override;
  void OnReady() override;
  // Workloads::Host
  const model::Rollout* FindRollout(const ObjectKey& key) const override;
  const model::Rollout* FindWritten(const ObjectKey& key) const override;
  const app::RolloutEntry* FindEntry(const ObjectKey& key) const override;
  Status Feed(const ObjectKey& rollout, const engine::Event& event) override;
  void WantRevision(const ObjectKey& rollout, const std::string& revision) override;
  std::optional<uint64_t> OpenConnections(const ObjectKey& rollout,
                                          const std::string& revision) const override;
  void OnRemark(const ObjectKey& rollout) override;
  void RecordEvent(const ObjectKey& rollout, EventType type, const std::string& reason,
                   const std::string& note) override;

  Status StartApp();
  void PutRollout(const boost::json::object& object);
  void PutRoute(model::RouteKind kind, boost::json::object object);
  void FlushSoon(std::chrono::milliseconds delay);
  void WatchPods();
  void WatchConsumers();
  void TellConsumers();
  void Flush();
  void TakeRefusals();
  void Record(const EventSubject& subject, EventType type, const std::string& reason,
              const std::string& note);
  std::optional<StatusToWrite> MakeStatus(const StatusKey& key);
  void WriteRouteStatuses();
  void LabelPods();
  void SetLeaderLabel(const std::string& pod, bool leads);

  boost::asio::io_context& context_;
  Client& client_;
  const Options options_;
  SystemClock clock_;
  Api api_;
  Catalog catalog_;
  Workloads workloads_;
  Statuses statuses_;
  std::shared_ptr<EventRecorder> events_;  // on the Client's thread
  std::unique_ptr<app::App> app_;
  std::unique_ptr<Informers> informers_;
  app::ObjectChanges pending_;                                // that the store has not taken yet
  std::set<std::string> labels_;                              // by which pods are told
  bool pods_ready_ = true;                                    // all of them have been
  std::map<ObjectKey, boost::json::value> rollout_statuses_;  // as last seen
  std::map<ObjectKey, RolloutMetadata> rollouts_;
  Consumers consumers_;
  Routes routes_;
  Refusals refusals_;
  bool more_than_endpoints_ = false;                 // has changed since the last look at what is refused
  std::map<ObjectKey, std::string> core_revisions_;  // that the engine has, of Rollouts with a workload
  boost::asio::steady_timer flush_timer_, label_timer_;
  bool flush_scheduled_ = false, ready_ = false, stopped_ = false;
  uint64_t failed_changes_ = 0;
  std::string start_error_;  // the last reason why the App did not start: told once
};

}  // namespace weir::kubernetes
