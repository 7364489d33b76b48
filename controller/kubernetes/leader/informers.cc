#include "controller/kubernetes/leader/informers.h"

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <future>

#include "common/log.h"
#include "controller/kubernetes/leader/layers.h"
#include "controller/kubernetes/source/catalog.h"
#include "controller/kubernetes/workload/deployment.h"

namespace weir::kubernetes {
namespace {

namespace json = boost::json;

/// For Weir's own: whoever installs its CRDs last waits for them.
constexpr std::chrono::seconds kLookForOwn{5};

/// A kind, and where it may be found: the first that is served.
struct Kind {
  std::string name;
  std::vector<Resource> resources;
  bool (*trim)(json::object&) = nullptr;
  bool optional = false;             // others' CRDs
  std::string api_version = {};      // that readers are told, where it is another one
  std::optional<size_t> layer = {};  // Layers: two of these kinds are one to readers
};

bool TrimMost(json::object& object) {
  json::value* metadata = object.if_contains("metadata");
  if (metadata != nullptr && metadata->is_object()) metadata->get_object().erase("managedFields");
  return true;
}

const std::vector<Kind>& Kinds() {
  static const std::vector<Kind> kinds = {
      {"Service", {{"", "v1", "services"}}, TrimService},
      {"EndpointSlice", {{"discovery.k8s.io", "v1", "endpointslices"}}, TrimSlice},
      {"Deployment", {{"apps", "v1", "deployments"}}, TrimDeployment},
      {"ReplicaSet", {{"apps", "v1", "replicasets"}}, TrimReplicaSet},
      {"Rollout", {{"weir.dev", "v1alpha1", "rollouts"}}, TrimMost},
      {"Webhook", {{"weir.dev", "v1alpha1", "webhooks"}}, TrimMost, true},
      // Argo's, and Weir's of the same spelling: Argo's of the same name goes before.
      {"AnalysisTemplate", {{"argoproj.io", "v1alpha1", "analysistemplates"}}, TrimMost, true, {}, 0},
      {"AnalysisTemplate",
       {{"weir.dev", "v1alpha1", "analysistemplates"}},
       TrimMost,
       true,
       "argoproj.io/v1alpha1",
       1},
      {"TrafficSplit",
       {{"split.smi-spec.io", "v1alpha4", "trafficsplits"},
        {"split.smi-spec.io", "v1alpha3", "trafficsplits"},
        {"split.smi-spec.io", "v1alpha2", "trafficsplits"},
        {"split.smi-spec.io", "v1alpha1", "trafficsplits"}},
       TrimMost,
       true},
      {"HTTPRoute",
       {{"gateway.networking.k8s.io", "v1", "httproutes"},
        {"gateway.networking.k8s.io", "v1beta1", "httproutes"}},
       TrimMost,
       true},
      {"GRPCRoute", {{"gateway.networking.k8s.io", "v1", "grpcroutes"}}, TrimMost, true},
      {"TCPRoute",
       {{"gateway.networking.k8s.io", "v1", "tcproutes"},
        {"gateway.networking.k8s.io", "v1alpha2", "tcproutes"}},
       TrimMost,
       true},
      {"ReferenceGrant",
       {{"gateway.networking.k8s.io", "v1beta1", "referencegrants"},
        {"gateway.networking.k8s.io", "v1", "referencegrants"}},
       TrimMost,
       true},
  };
  return kinds;
}

/// Whether an APIResourceList names it.
bool Serves(const json::value& list, std::string_view plural) {
  const json::value* resources = Find(list, {"resources"});
  if (resources == nullptr || !resources->is_array()) return false;
  return std::ranges::any_of(resources->get_array(),
                             [&](const json::value& resource) { return Text(resource, {"name"}) == plural; });
}

void Add(const ReflectorCounters& more, ReflectorCounters& sum) {
  sum.lists += more.lists;
  sum.relists += more.relists;
  sum.pages += more.pages;
  sum.watches += more.watches;
  sum.events += more.events;
  sum.bookmarks += more.bookmarks;
  sum.errors += more.errors;
  sum.expired += more.expired;
}

PodLabels LabelsOf(const json::object& pod, const std::set<std::string>& wanted) {
  PodLabels labels;
  for (const std::string& name : wanted) {
    const json::value* all = Find(pod, {"metadata", "labels"});
    const json::value* value =
        all != nullptr && all->is_object() ? all->get_object().if_contains(name) : nullptr;
    if (value != nullptr && value->is_string()) labels.emplace_back(name, std::string(value->get_string()));
  }
  return labels;
}

}  // namespace

/// Lives on the Client's thread.
class Informers::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(Client& client, boost::asio::io_context& context, InformerListener& listener,
       std::chrono::milliseconds look_again)
      : client_(client),
        context_(context),
        listener_(listener),
        look_again_(look_again),
        work_(boost::asio::make_work_guard(context)) {}

  void Start() {
    waiting_ = Kinds().size();
    for (const Kind& kind : Kinds()) {
      if (kind.optional) {
        FindServed(kind, 0);
      } else {
        Follow(kind, kind.resources.front());
      }
    }
  }

  void WatchPods(const std::set<std::string>& labels) {
    if (stopped_) return;
    ReflectorOptions options;
    options.resource = {"", "v1", "pods"};
    options.metadata_only = true;
    ReflectorCallbacks callbacks;
    callbacks.trim = [](json::object& pod) {
      const json::value* labels_of = Find(pod, {"metadata", "labels"});
      return labels_of != nullptr && labels_of->is_object() && !labels_of->get_object().empty();
    };
    callbacks.on_put = [this, labels](json::object&& pod) {
      Tell([key = KeyOf(pod), found = LabelsOf(pod, labels)](InformerListener& listener) {
        listener.OnPod(key, found);
      });
    };
    callbacks.on_delete = [this](const ObjectKey& key) {
      Tell([key](InformerListener& listener) { listener.OnPod(key, std::nullopt); });
    };
    callbacks.on_synced = [this, labels] {
      Tell([labels](InformerListener& listener) { listener.OnPodsReady(labels); });
    };
    callbacks.on_error = [](const Status& status) { Complain("pods", status); };
    pods_ = std::make_unique<Reflector>(client_, options, callbacks);
    pods_->Start();
  }

  void WatchConsumers(const std::set<std::string>& namespaces) {
    if (stopped_) return;
    std::erase_if(consumers_, [&](const auto& entry) { return !namespaces.contains(entry.first); });
    for (const std::string& ns : namespaces) {
      if (!consumers_.contains(ns)) FollowConsumers(ns);
    }
  }

  void Stop() {
    stopped_ = true;
    reflectors_.clear();
    consumers_.clear();
    timers_.clear();
    pods_.reset();
    work_.reset();
  }

  std::map<std::string, ReflectorCounters> Counters() const {
    std::map<std::string, ReflectorCounters> counters;
    for (const auto& [name, reflector] : reflectors_) counters[name] = reflector->counters();
    if (pods_) counters["pods"] = pods_->counters();
    for (const auto& [ns, reflector] : consumers_) Add(reflector->counters(), counters["pods"]);
    return counters;
  }

 private:
  void FollowConsumers(const std::string& ns) {
    ReflectorOptions options;
    options.resource = {"", "v1", "pods"};
    options.ns = ns;
    ReflectorCallbacks callbacks;
    callbacks.trim = TrimPlacedPod;
    callbacks.on_put = [this](json::object&& pod) {
      Tell([key = KeyOf(pod), place = PodPlaceOf(pod)](InformerListener& listener) {
        listener.OnConsumer(key, place);
      });
    };
    callbacks.on_delete = [this](const ObjectKey& key) {
      Tell([key](InformerListener& listener) { listener.OnConsumer(key, std::nullopt); });
    };
    callbacks.on_synced = [this, ns] {
      Tell([ns](InformerListener& listener) { listener.OnConsumersReady(ns); });
    };
    callbacks.on_error = [ns](const Status& status) { Complain("pods of namespace " + ns, status); };
    auto& reflector = consumers_[ns];
    reflector = std::make_unique<Reflector>(client_, options, std::move(callbacks));
    reflector->Start();
  }

  static void Complain(const std::string& resource, const Status& status) {
    LogWarn("a resource of the cluster cannot be followed at the moment",
            {{"resource", resource}, {"error", status}});
  }

  void Tell(std::function<void(InformerListener&)> what) {
    boost::asio::post(context_, [alive = weak_from_this(), what = std::move(what), listener = &listener_] {
      if (!alive.expired()) what(*listener);
    });
  }

  void TellPut(const Kind& kind, json::object&& object) {
    Tell([&kind, object = std::move(object)](InformerListener& listener) {
      listener.OnPut(kind.name, object);
    });
  }
  void TellDelete(const Kind& kind, const ObjectKey& key) {
    Tell([&kind, key](InformerListener& listener) { listener.OnDelete(kind.name, key); });
  }
  void TellSeen(const Kind& kind, const ObjectKey& key, Layers::Seen seen) {
    if (seen.effect == Layers::Effect::kPut) TellPut(kind, std::move(seen.object));
    if (seen.effect == Layers::Effect::kDelete) TellDelete(kind, key);
  }

  void FindServed(const Kind& kind, size_t candidate) {
    if (stopped_) return;
    if (candidate == kind.resources.size()) {
      Synced(kind);
      return LookAgain(kind, 0, look_again_);
    }
    const Resource& resource = kind.resources[candidate];
    ApiRequest request;
    request.target = "/apis/" + resource.group + "/" + resource.version;
    client_.Send(request, [this, alive = weak_from_this(), &kind, candidate](Result<Response> answer) {
      if (alive.expired() || stopped_) return;
      const Resource& asked = kind.resources[candidate];
      if (answer.ok() && Serves(answer->body, asked.plural)) return Follow(kind, asked);
      if (!answer.ok() && answer.status().code() != absl::StatusCode::kNotFound) {
        Complain(ToString(asked), answer.status());
        return LookAgain(kind, candidate, std::chrono::seconds(1));
      }
      FindServed(kind, candidate + 1);
    });
  }

  void LookAgain(const Kind& kind, size_t candidate, std::chrono::milliseconds delay) {
    auto& timer = timers_.try_emplace(&kind, client_.context()).first->second;
    timer.expires_after(delay);
    timer.async_wait([this, alive = weak_from_this(), &kind, candidate](boost::system::error_code error) {
      if (!error && !alive.expired()) FindServed(kind, candidate);
    });
  }

  /// It was served, and is no more: perhaps it is in another version, or comes again in one.
  void LookElsewhere(const Kind& kind, const std::string& name) {
    LogInfo("a kind is served no more", {{"resource", name}});
    // Not from within its own callback.
    boost::asio::post(client_.context(), [this, alive = weak_from_this(), &kind, name] {
      if (alive.expired() || stopped_) return;
      reflectors_.erase(name);
      FindServed(kind, 0);
    });
  }

  void Follow(const Kind& kind, const Resource& resource) {
    const std::string name = ToString(resource);
    ReflectorOptions options;
    options.resource = resource;
    if (!kind.optional) options.absent_retry = kLookForOwn;
    ReflectorCallbacks callbacks;
    callbacks.trim = kind.trim;
    const std::string api_version = kind.api_version.empty() ? resource.ApiVersion() : kind.api_version;
    callbacks.on_put = [this, &kind, api_version](json::object&& object) {
      // Objects of a list do not say what they are.
      object["kind"] = kind.name;
      object["apiVersion"] = api_version;
      if (!kind.layer) return TellPut(kind, std::move(object));
      const ObjectKey key = KeyOf(object);
      TellSeen(kind, key, layers_.Put(*kind.layer, key, std::move(object)));
    };
    callbacks.on_delete = [this, &kind](const ObjectKey& key) {
      kind.layer ? TellSeen(kind, key, layers_.Remove(*kind.layer, key)) : TellDelete(kind, key);
    };
    callbacks.on_synced = [this, &kind] { Synced(kind); };
    callbacks.on_absent = [this, &kind, name] {
      Synced(kind);
      if (kind.optional) return LookElsewhere(kind, name);
      Complain(name, NotFound("the API server does not serve it: install Weir's CRDs"));
    };
    callbacks.on_error = [name](const Status& status) { Complain(name, status); };
    auto& reflector = reflectors_[name];
    reflector = std::make_unique<Reflector>(client_, options, std::move(callbacks));
    reflector->Start();
  }

  void Synced(const Kind& kind) {
    if (!synced_.insert(&kind).second || synced_.size() < waiting_) return;
    Tell([](InformerListener& listener) { listener.OnReady(); });
  }

  Client& client_;
  boost::asio::io_context& context_;
  InformerListener& listener_;
  const std::chrono::milliseconds look_again_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::map<std::string, std::unique_ptr<Reflector>> reflectors_;
  std::unique_ptr<Reflector> pods_;
  std::map<std::string, std::unique_ptr<Reflector>> consumers_;  // by namespace
  std::map<const Kind*, boost::asio::steady_timer> timers_;
  std::set<const Kind*> synced_;
  Layers layers_;
  size_t waiting_ = 0;
  bool stopped_ = false;
};

namespace {

/// On the Client's thread, and waits for it.
void RunThere(Client& client, const std::function<void()>& what) {
  std::promise<void> done;
  boost::asio::post(client.context(), [&] {
    what();
    done.set_value();
  });
  done.get_future().wait();
}

}  // namespace

Informers::Informers(Client& client, boost::asio::io_context& context, InformerListener& listener,
                     std::chrono::milliseconds look_again)
    : client_(client), impl_(std::make_shared<Impl>(client, context, listener, look_again)) {}

Informers::~Informers() {
  RunThere(client_, [&] { impl_->Stop(); });
}

void Informers::Start() {
  boost::asio::post(client_.context(), [impl = impl_] { impl->Start(); });
}

void Informers::WatchPods(const std::set<std::string>& labels) {
  boost::asio::post(client_.context(), [impl = impl_, labels] { impl->WatchPods(labels); });
}

void Informers::WatchConsumers(const std::set<std::string>& namespaces) {
  boost::asio::post(client_.context(), [impl = impl_, namespaces] { impl->WatchConsumers(namespaces); });
}

std::map<std::string, ReflectorCounters> Informers::Counters() const {
  std::map<std::string, ReflectorCounters> counters;
  RunThere(client_, [&] { counters = impl_->Counters(); });
  return counters;
}

}  // namespace weir::kubernetes
