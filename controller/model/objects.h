// The objects the controller knows, typed and validated. Where they came from does not matter.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "common/net.h"
#include "controller/analysis/template.h"
#include "controller/engine/engine.h"

namespace weir::model {

struct ObjectKey {
  std::string ns, name;
  auto operator<=>(const ObjectKey&) const = default;
};
/// "shop/checkout".
std::string ToString(const ObjectKey& key);

struct ServicePort {
  std::string name;  // empty only when it is the service's one port
  uint16_t port = 0;
  Protocol protocol = Protocol::kTcp;
  bool http = false;  // TCP: plaintext HTTP/1.x, to be measured
  bool operator==(const ServicePort&) const = default;
};

/// metadata.creationTimestamp; the epoch where there is none, as in files. Of two objects that claim the same
/// the older one has it.
using Created = std::chrono::sys_seconds;

/// v1/Service.
struct Service {
  ObjectKey key;
  std::vector<IpAddress> cluster_ips;  // one per address family; none: headless
  std::vector<ServicePort> ports;
  std::optional<std::chrono::seconds> client_ip_affinity;  // sessionAffinity: ClientIP
  Created created{};
  bool operator==(const Service&) const = default;
};

/// What Kubernetes' conditions come to (KEP-1672): ready; serving while terminating; neither.
enum class EndpointState : uint8_t { kReady, kTerminating, kNotReady };

struct Endpoint {
  IpAddress address;
  EndpointState state = EndpointState::kReady;
  bool operator==(const Endpoint&) const = default;
};

struct SlicePort {
  std::string name;
  uint16_t port = 0;
  Protocol protocol = Protocol::kTcp;
  bool operator==(const SlicePort&) const = default;
};

/// discovery.k8s.io/v1 EndpointSlice.
struct EndpointSlice {
  ObjectKey key;
  std::string service;                        // label kubernetes.io/service-name
  std::map<std::string, std::string> labels;  // all of them: a Rollout's revisionLabel picks one
  AddressFamily family = AddressFamily::kIPv4;
  std::vector<SlicePort> ports;
  std::vector<Endpoint> endpoints;
  bool operator==(const EndpointSlice&) const = default;

  /// Value of `label`, else of weir.dev/revision, else "".
  std::string Revision(std::string_view label) const;
};

/// What every node does by itself for a Rollout's Service.
struct Safety {
  std::chrono::milliseconds fail_safe_after{30'000};  // failSafeAfter; 0: never
  uint32_t trip_after = 5;                            // localTrip.consecutiveFailures; 0: never
  uint32_t leave_out_after = 3;                       // passiveHealth.consecutiveFailures; 0: never
  std::chrono::milliseconds leave_out_base{1000}, leave_out_max{300'000};
  bool operator==(const Safety&) const = default;
};

/// The Deployment whose pods are the revisions; only where Kubernetes makes them.
struct Workload {
  std::string deployment;  // its name, in the Rollout's namespace
  std::chrono::milliseconds scale_down_delay{
      30'000};  // old pods stay so long at most, while connections to them are open
  bool operator==(const Workload&) const = default;
};

/// weir.dev/v1alpha1 Rollout.
struct Rollout {
  ObjectKey key;
  std::string service;          // the one that is divided or switched
  std::string preview_service;  // blueGreen: leads to the new revision from the start; empty: none
  std::string revision_label = "pod-template-hash";
  engine::Spec spec;
  std::chrono::milliseconds ack_timeout{10'000};
  Safety safety;
  std::optional<Workload> workload;  // spec.revision follows its pod template; none: spec.revision is given
  Created created{};
  bool operator==(const Rollout&) const = default;
};

struct Backend {
  std::string service;
  uint32_t weight = 0;
  bool operator==(const Backend&) const = default;
};

/// split.smi-spec.io TrafficSplit.
struct TrafficSplit {
  ObjectKey key;
  std::string service;
  std::vector<Backend> backends;
  Created created{};
  bool operator==(const TrafficSplit&) const = default;
};

enum class RouteKind : uint8_t { kHttp, kGrpc, kTcp };
/// "HTTPRoute", "GRPCRoute", "TCPRoute".
std::string_view NameOf(RouteKind kind);

/// What a route is attached to, as it is written: a status repeats it exactly, what is left out included.
struct ParentRef {
  std::optional<std::string> group, kind, ns;
  std::string name;
  std::optional<std::string> section_name;
  std::optional<uint16_t> port;
  bool operator==(const ParentRef&) const = default;

  /// A v1/Service; `core` is how Linkerd and Flagger spell its group "". Anything else is not Weir's.
  bool IsService() const;
};

/// Where a route leads.
struct BackendRef {
  std::string group;  // "" or "core": Kubernetes' own
  std::string kind = "Service";
  std::string ns;  // the route's own where none is given
  std::string name;
  std::optional<uint16_t> port;  // of the Service; required there
  uint32_t weight = 1;
  bool operator==(const BackendRef&) const = default;

  bool IsService() const;
};

/// Which route; kinds have names of their own.
struct RouteId {
  RouteKind kind = RouteKind::kHttp;
  ObjectKey key;
  auto operator<=>(const RouteId&) const = default;
};
/// "HTTPRoute shop/web".
std::string ToString(const RouteId& id);

/// gateway.networking.k8s.io HTTPRoute, GRPCRoute or TCPRoute.
struct Route {
  RouteKind kind = RouteKind::kHttp;
  ObjectKey key;
  std::vector<ParentRef> parents;
  std::vector<BackendRef> backends;      // of its rule; several rules that say the same count once
  std::vector<std::string> unsupported;  // what connect() cannot do: "spec.rules[0].filters: WHY"
  int64_t generation = 0;                // metadata.generation
  Created created{};
  bool operator==(const Route&) const = default;

  RouteId id() const { return {kind, key}; }
};

/// gateway.networking.k8s.io ReferenceGrant: which routes of other namespaces may lead here.
struct ReferenceGrant {
  struct From {
    std::string group, kind, ns;
    bool operator==(const From&) const = default;
  };
  struct To {
    std::string group, kind, name;  // no name: any
    bool operator==(const To&) const = default;
  };
  ObjectKey key;
  std::vector<From> from;
  std::vector<To> to;
  bool operator==(const ReferenceGrant&) const = default;

  /// Whether it lets `route` lead to `backend`, which is in the grant's namespace.
  bool Permits(const RouteId& route, const BackendRef& backend) const;
};

/// argoproj.io/v1alpha1 AnalysisTemplate.
struct AnalysisTemplate {
  ObjectKey key;
  analysis::Template spec;
  bool operator==(const AnalysisTemplate&) const = default;
};

/// weir.dev/v1alpha1 Webhook: told what becomes of every rollout of its namespace.
struct Webhook {
  ObjectKey key;
  std::string url;
  std::set<std::string> events{"started", "paused", "step", "aborted", "completed"};
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body_template;  // empty: every field as JSON
  std::string secret;         // signs the body; empty: no signature
  std::string ca_pem;         // who may sign the server's certificate; empty: the system's
  std::chrono::milliseconds timeout{10'000};
  uint32_t retries = 5;
  bool operator==(const Webhook&) const = default;
};

using Object = std::variant<Service, EndpointSlice, Rollout, TrafficSplit, AnalysisTemplate, Webhook, Route,
                            ReferenceGrant>;

/// The kind as manifests spell it: "Service", "HTTPRoute", ...
std::string_view KindOf(const Object& object);
const ObjectKey& KeyOf(const Object& object);

/// Everything there is, by key.
struct ObjectSet {
  std::map<ObjectKey, Service> services;
  std::map<ObjectKey, EndpointSlice> slices;
  std::map<ObjectKey, Rollout> rollouts;
  std::map<ObjectKey, TrafficSplit> splits;
  std::map<ObjectKey, AnalysisTemplate> templates;
  std::map<ObjectKey, Webhook> webhooks;
  std::map<RouteId, Route> routes;
  std::map<ObjectKey, ReferenceGrant> grants;
  bool operator==(const ObjectSet&) const = default;

  /// Inserts or replaces.
  void Put(const Object& object);
  /// A copy; nullopt if there is no such object. Kind as KindOf gives it.
  std::optional<Object> Get(std::string_view kind, const ObjectKey& key) const;
  /// False if there is no such object; kind as KindOf gives it.
  bool Remove(std::string_view kind, const ObjectKey& key);
};

}  // namespace weir::model
