#include "controller/kubernetes/leader/term.h"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "common/log.h"
#include "controller/app/stored.h"
#include "controller/kubernetes/leader/metrics.h"
#include "controller/kubernetes/leader/rollout_status.h"
#include "controller/kubernetes/state/cluster_store.h"

namespace weir::kubernetes {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

constexpr milliseconds kPace{20};     // what comes in one burst is taken in one change
constexpr milliseconds kAgain{1000};  // after the API server did not take a change
constexpr std::string_view kLeaderLabel = "weir.dev/leader";

const Resource& PodResource() {
  static const Resource resource{"", "v1", "pods"};
  return resource;
}

RolloutMetadata MetadataOf(const json::object& object) {
  RolloutMetadata metadata;
  metadata.uid = Text(object, {"metadata", "uid"});
  metadata.resource_version = ResourceVersionOf(object);
  if (const json::value* generation = Find(object, {"metadata", "generation"});
      generation != nullptr && generation->is_int64())
    metadata.generation = generation->get_int64();
  metadata.deleting = Find(object, {"metadata", "deletionTimestamp"}) != nullptr;
  if (const json::value* all = Find(object, {"metadata", "finalizers"}); all != nullptr && all->is_array()) {
    for (const json::value& finalizer : all->get_array()) {
      if (finalizer.is_string()) metadata.finalizers.emplace_back(finalizer.get_string());
    }
  }
  return metadata;
}

/// `later` after `earlier`, as one change. Mostly there is no earlier one.
void Merge(const model::AdmissionChanges& later, app::ObjectChanges& earlier) {
  const bool alone = earlier.puts.empty();
  for (const model::ObjectId& id : later.removals) {
    if (!alone)
      std::erase_if(earlier.puts, [&](const auto& put) {
        return model::KindOf(put.first) == id.kind && model::KeyOf(put.first) == id.key;
      });
    earlier.removals.emplace_back(id.kind, id.key);
  }
  for (const model::Object& object : later.puts) {
    if (!alone)
      std::erase_if(earlier.puts, [&](const auto& put) {
        return model::KindOf(put.first) == model::KindOf(object) &&
               model::KeyOf(put.first) == model::KeyOf(object);
      });
    earlier.puts.emplace_back(object, "");
  }
}

StatusKey StatusKeyOf(const ObjectKey& rollout) { return {RolloutResource(), rollout}; }

}  // namespace

Term::Term(boost::asio::io_context& context, Client& client, Options options)
    : context_(context),
      client_(client),
      options_(std::move(options)),
      api_(client, context, options_.leads),
      workloads_(context, clock_, api_, *this),
      statuses_(context, api_, [this](const StatusKey& key) { return MakeStatus(key); }),
      events_(std::make_shared<EventRecorder>(
          client, options_.pod_name.empty() ? "weir-controller" : options_.pod_name)),
      refusals_([this](const EventSubject& subject, const std::string& why) {
        Record(subject, EventType::kWarning, "Refused", why);
      }),
      flush_timer_(context),
      label_timer_(context) {}

Term::~Term() {
  informers_.reset();
  boost::asio::post(client_.context(), [events = std::move(events_)] {});  // it lives on that thread
}

void Term::Begin() {
  informers_.reset(new Informers(client_, context_, *this, options_.look_for_kinds));  // the base is private
  informers_->Start();
}

void Term::Shutdown() {
  if (std::exchange(stopped_, true)) return;
  if (app_) app_->Shutdown();
  workloads_.Stop();
  statuses_.Stop();
  flush_timer_.cancel();
  label_timer_.cancel();
  informers_.reset();
  if (app_ && !options_.pod_name.empty()) SetLeaderLabel(options_.pod_name, false);
}

// ---- what the cluster says

void Term::OnPut(std::string_view kind, json::object object) {
  if (stopped_) return;
  if (kind == "Deployment") return workloads_.PutDeployment(object);
  if (kind == "ReplicaSet") return workloads_.PutReplicaSet(object);
  if (kind == "Rollout") return PutRollout(object);
  if (kind == "EndpointSlice") {
    catalog_.PutSlice(object);
  } else {
    more_than_endpoints_ = true;
    refusals_.Put(object);
    catalog_.Put(object);
    if (const auto route = RouteKindOf(kind)) PutRoute(*route, std::move(object));
  }
  FlushSoon(kPace);
}

void Term::PutRoute(model::RouteKind kind, json::object object) {
  const json::value* status = Find(object, {"status"});
  const json::value present = status == nullptr ? json::value(json::object()) : *status;
  const StatusKey key = routes_.Put(kind, std::move(object));
  statuses_.Seen(key, present);
  statuses_.Changed(key);
}

void Term::PutRollout(const json::object& object) {
  const ObjectKey key = KeyOf(object);
  const json::value* status = Find(object, {"status"});
  if (!ready_ && status != nullptr) {
    // What it was rolling out when the leader before ended, until its Deployment says otherwise.
    const auto stored = app::ParseStored(std::string(Text(*status, {"state"})));
    if (stored.ok()) catalog_.SetRevision(key, stored->state.given.revision);
  }
  more_than_endpoints_ = true;
  refusals_.Put(object);
  catalog_.Put(object);
  rollouts_[key] = MetadataOf(object);
  workloads_.PutRollout(key, rollouts_[key]);
  if (status != nullptr) {
    rollout_statuses_[key] = *status;
    statuses_.Seen(StatusKeyOf(key), *status);
  }
  statuses_.Changed(StatusKeyOf(key));
  FlushSoon(kPace);
}

void Term::OnDelete(std::string_view kind, const ObjectKey& key) {
  if (stopped_) return;
  if (kind == "Deployment" || kind == "ReplicaSet") return workloads_.Remove(kind, key);
  if (kind == "Rollout") {
    workloads_.Remove(kind, key);
    rollouts_.erase(key);
    rollout_statuses_.erase(key);
    core_revisions_.erase(key);
    statuses_.Forget(StatusKeyOf(key));
  } else if (const auto route = RouteKindOf(kind)) {
    if (const auto status = routes_.Remove(*route, key)) statuses_.Forget(*status);
  }
  more_than_endpoints_ = more_than_endpoints_ || kind != "EndpointSlice";
  refusals_.Remove(kind, key);
  catalog_.Remove(kind, key);
  if (kind != "Rollout" || !app_) return FlushSoon(kPace);
  Flush();  // now: another of its name may come at once, and begins anew
  app_->core().ForgetRollout(key);
}

void Term::OnPod(const ObjectKey& pod, std::optional<PodLabels> labels) {
  if (stopped_) return;
  catalog_.PutPod(pod, std::move(labels));
  FlushSoon(kPace);
}

void Term::OnPodsReady(const std::set<std::string>& labels) {
  if (stopped_ || labels != labels_ || std::exchange(pods_ready_, true)) return;
  Flush();
}

void Term::OnConsumer(const ObjectKey& pod, std::optional<PodPlace> place) {
  if (stopped_) return;
  consumers_.Put(pod, std::move(place));
  FlushSoon(kPace);
}

void Term::OnConsumersReady(const std::string& ns) {
  if (stopped_) return;
  consumers_.Listed(ns);
  if (ready_) Flush();
}

void Term::OnReady() {
  if (stopped_) return;
  ready_ = true;
  Flush();
}

// ---- what is made of it

void Term::FlushSoon(milliseconds delay) {
  if (!ready_ || stopped_ || std::exchange(flush_scheduled_, true)) return;
  flush_timer_.expires_after(delay);
  flush_timer_.async_wait([this](boost::system::error_code error) {
    flush_scheduled_ = false;
    if (!error && !stopped_) Flush();
  });
}

/// Endpoints whose pods are not known belong to no revision: a leader that went on before it knew them would
/// take all of them away from clients.
void Term::WatchPods() {
  const auto labels = catalog_.RevisionLabels();
  if (std::ranges::includes(labels_, labels)) return;
  labels_.insert(labels.begin(), labels.end());
  pods_ready_ = false;
  informers_->WatchPods(labels_);
}

/// A route for the clients of a namespace waits for its pods to be known, so that it is in effect for all of
/// them when it is acknowledged.
void Term::WatchConsumers() {
  const auto namespaces = catalog_.ConsumerNamespaces();
  if (namespaces == consumers_.namespaces()) return;
  consumers_.SetNamespaces(namespaces);
  informers_->WatchConsumers(namespaces);
}

void Term::TellConsumers() {
  for (const std::string& node : consumers_.TakeChanged()) app_->TellConsumers(node, consumers_.On(node));
}

void Term::Flush() {
  WatchPods();
  WatchConsumers();
  if (!pods_ready_ || !consumers_.complete()) return;  // their coming flushes
  if (app_) TellConsumers();
  const model::AdmissionChanges changes = catalog_.Take();
  if (!app_) {  // it begins with all that is admitted
    if (const Status status = StartApp(); !status.ok()) {
      if (std::exchange(start_error_, Message(status)) != Message(status))
        LogError("the controller could not begin to lead; it tries again each second", {{"error", status}});
      FlushSoon(kAgain);
    }
    return;
  }
  Merge(changes, pending_);
  if (pending_.puts.empty() && pending_.removals.empty()) return TakeRefusals();
  const Status status = app_->core().Change(pending_);
  if (!status.ok() && status.code() != absl::StatusCode::kInvalidArgument) {
    ++failed_changes_;
    LogWarn("a change of the cluster could not be taken up; it is tried again", {{"error", status}});
    return FlushSoon(kAgain);
  }
  if (!status.ok()) {  // what is admitted fits together
    ++failed_changes_;
    LogError("a change of the cluster was refused", {{"error", status}});
  }
  pending_ = {};
  TakeRefusals();
}

/// What is refused, and why, may be another now.
void Term::TakeRefusals() {
  if (!std::exchange(more_than_endpoints_, false)) return;
  refusals_.Look(catalog_);
  routes_.TakenUp(catalog_.routes(), app_->core().generation());
  for (const auto& [key, metadata] : rollouts_) {
    statuses_.Changed(StatusKeyOf(key));
    workloads_.Changed(key);
  }
  WriteRouteStatuses();
}

Status Term::StartApp() {
  ClusterStore::Options options;
  options.ns = options_.pod_namespace;
  app::Foundation foundation;
  ASSIGN_OR_RETURN(foundation.store, ClusterStore::Open(client_, options_.leads, options));
  foundation.objects = catalog_.Given();
  foundation.outside = this;
  foundation.metrics = {options_.metrics, this};
  ASSIGN_OR_RETURN(app_, app::App::Start(context_, options_.app, std::move(foundation)));
  options_.on_started(*app_);
  workloads_.Start();
  more_than_endpoints_ = true;
  TakeRefusals();
  LabelPods();
  return OkStatus();
}

void Term::OnRolloutChanged(const ObjectKey& key) {
  if (!app_ || stopped_) return;
  const auto& objects = app_->core().objects().rollouts;
  if (const auto object = objects.find(key); object != objects.end() && object->second.workload) {
    // The engine changes it by itself when somebody says undo.
    const std::string& revision = object->second.spec.revision;
    if (std::exchange(core_revisions_[key], revision) != revision) catalog_.SetRevision(key, revision);
  }
  workloads_.Changed(key);
  statuses_.Changed(StatusKeyOf(key));
}

void Term::OnSettled() {
  if (!stopped_) WriteRouteStatuses();
}

void Term::OnNote(const ObjectKey& rollout, const std::string& text) {
  const bool bad = text.starts_with("aborted") || text.starts_with("paused: ");
  RecordEvent(rollout, bad ? EventType::kWarning : EventType::kNormal,
              bad ? "RolloutHeldBack" : "RolloutProgress", text);
}

std::string Term::Remark(const ObjectKey& rollout) const { return workloads_.Remark(rollout); }

const model::Rollout* Term::FindRollout(const ObjectKey& key) const {
  const auto& rollouts = app_ ? app_->core().objects().rollouts : catalog_.admitted().rollouts;
  const auto found = rollouts.find(key);
  return found == rollouts.end() ? nullptr : &found->second;
}

const model::Rollout* Term::FindWritten(const ObjectKey& key) const {
  const auto found = catalog_.rollouts().find(key);
  return found == catalog_.rollouts().end() ? nullptr : &found->second;
}

const app::RolloutEntry* Term::FindEntry(const ObjectKey& key) const {
  return app_ ? app_->core().FindEntry(key) : nullptr;
}

Status Term::Feed(const ObjectKey& rollout, const engine::Event& event) {
  return app_->core().Feed(rollout, event);
}

void Term::WantRevision(const ObjectKey& rollout, const std::string& revision) {
  catalog_.SetRevision(rollout, revision);
  more_than_endpoints_ = true;
  FlushSoon(milliseconds(0));
}

std::optional<uint64_t> Term::OpenConnections(const ObjectKey& key, const std::string& revision) const {
  const model::Rollout* rollout = FindRollout(key);
  if (rollout == nullptr || !app_) return std::nullopt;
  std::optional<uint64_t> open;
  for (const std::string& service : {rollout->service, rollout->preview_service}) {
    if (service.empty()) continue;
    const auto totals = app_->cluster().Totals({key.ns, service});
    if (const auto found = totals.find(revision); found != totals.end())
      open = open.value_or(0) + found->second.active;
  }
  return open;
}

void Term::OnRemark(const ObjectKey& rollout) { statuses_.Changed(StatusKeyOf(rollout)); }

void Term::RecordEvent(const ObjectKey& rollout, EventType type, const std::string& reason,
                       const std::string& note) {
  const auto metadata = rollouts_.find(rollout);
  if (metadata == rollouts_.end()) return;
  Record({"weir.dev/v1alpha1", "Rollout", rollout, metadata->second.uid}, type, reason, note);
}

void Term::Record(const EventSubject& subject, EventType type, const std::string& reason,
                  const std::string& note) {
  boost::asio::post(client_.context(), [events = events_, subject, type, reason, note] {
    events->Record(subject, type, reason, "Reconcile", note);
  });
}

// ---- what people see

std::optional<StatusToWrite> Term::MakeStatus(const StatusKey& key) {
  if (!app_) return std::nullopt;
  if (key.resource != RolloutResource()) {
    return routes_.MakeStatus(
        key, [this](uint64_t generation) { return app_->AllAcked(generation); },
        std::chrono::floor<std::chrono::seconds>(clock_.WallNow()));
  }
  const auto metadata = rollouts_.find(key.key);
  if (metadata == rollouts_.end()) return std::nullopt;
  RolloutStatusFacts facts;
  if (app_->core().rollouts().contains(key.key)) {
    v1::ObjectName name;
    name.set_namespace_(key.key.ns);
    name.set_name(key.key.name);
    if (auto rollout = app_->backend().GetRollout(name); rollout.ok()) facts.rollout = *std::move(rollout);
  }
  facts.refusal = catalog_.Refusal("Rollout", key.key);
  facts.generation = metadata->second.generation;
  if (const model::Rollout* object = FindRollout(key.key); object != nullptr && object->workload)
    facts.deployment = workloads_.FindDeployment({key.key.ns, object->workload->deployment});
  facts.present_time = FormatTime(clock_.WallNow());
  if (const auto present = rollout_statuses_.find(key.key); present != rollout_statuses_.end())
    facts.present = &present->second;
  return StatusToWrite{RolloutStatusJson(facts), ""};
}

void Term::WriteRouteStatuses() {
  for (const StatusKey& key : routes_.Keys()) statuses_.Changed(key);
}

std::vector<prometheus::MetricFamily> Term::Collect() const {
  if (!informers_) return {};
  return ClusterFamilies(informers_->Counters(), statuses_.counters(), failed_changes_);
}

// ---- agents find the leader by its pod's label

void Term::LabelPods() {
  if (options_.pod_name.empty()) return;
  ApiRequest list;
  list.target =
      CollectionPath(PodResource(), options_.pod_namespace) + "?labelSelector=weir.dev%2Fleader%3Dtrue";
  api_.Send(list, [this](const Result<Response>& answer) {
    if (stopped_ || !answer.ok()) return;
    const json::value* items = Find(answer->body, {"items"});
    if (items == nullptr || !items->is_array()) return;
    for (const json::value& pod : items->get_array()) {
      // A leader that was killed, or hangs, could not do it itself.
      const std::string name(Text(pod, {"metadata", "name"}));
      if (name != options_.pod_name) SetLeaderLabel(name, false);
    }
  });
  SetLeaderLabel(options_.pod_name, true);
}

void Term::SetLeaderLabel(const std::string& pod, bool leads) {
  json::value value = nullptr;
  if (leads) value = "true";
  const json::object patch{{"metadata", {{"labels", {{kLeaderLabel, value}}}}}};
  const auto send = leads ? &Api::Send : &Api::SendAlways;  // one that is deposed takes its own away
  (api_.*send)(MergePatchRequest(PodResource(), {options_.pod_namespace, pod}, patch),
               [this, pod, leads](const Result<Response>& answer) {
                 if (answer.ok() || answer.status().code() == absl::StatusCode::kNotFound) return;
                 LogWarn("the leader's label could not be written; agents find no leader by it",
                         {{"pod", pod}, {"leads", leads}, {"error", answer.status()}});
                 if (stopped_) return;
                 label_timer_.expires_after(kAgain);
                 label_timer_.async_wait([this, pod, leads](boost::system::error_code error) {
                   if (!error && !stopped_) SetLeaderLabel(pod, leads);
                 });
               });
}

}  // namespace weir::kubernetes
