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

/// v1/Service.
struct Service {
  ObjectKey key;
  std::vector<IpAddress> cluster_ips;  // one per address family
  std::vector<ServicePort> ports;
  std::optional<std::chrono::seconds> client_ip_affinity;  // sessionAffinity: ClientIP
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

/// weir.dev/v1alpha1 Rollout.
struct Rollout {
  ObjectKey key;
  std::string service;          // the one that is divided or switched
  std::string preview_service;  // blueGreen: leads to the new revision from the start; empty: none
  std::string revision_label = "pod-template-hash";
  engine::Spec spec;
  std::chrono::milliseconds ack_timeout{10'000};
  Safety safety;
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
  bool operator==(const TrafficSplit&) const = default;
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
  std::chrono::milliseconds timeout{10'000};
  uint32_t retries = 5;
  bool operator==(const Webhook&) const = default;
};

using Object = std::variant<Service, EndpointSlice, Rollout, TrafficSplit, AnalysisTemplate, Webhook>;

/// "Service", "EndpointSlice", "Rollout", "TrafficSplit", "AnalysisTemplate", "Webhook".
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
  bool operator==(const ObjectSet&) const = default;

  /// Inserts or replaces.
  void Put(const Object& object);
  /// A copy; nullopt if there is no such object. Kind as KindOf gives it.
  std::optional<Object> Get(std::string_view kind, const ObjectKey& key) const;
  /// False if there is no such object; kind as KindOf gives it.
  bool Remove(std::string_view kind, const ObjectKey& key);
};

}  // namespace weir::model
