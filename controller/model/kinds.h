// One reader per kind. Each complains about everything that is wrong with a document; what it returns counts
// only if there was no complaint.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "common/status.h"
#include "controller/model/objects.h"
#include "controller/model/yaml_reader.h"

namespace weir::model {

inline constexpr int64_t kMaxWeight = 1'000'000;
inline constexpr size_t kMaxBackends = 16;

struct Metadata {
  ObjectKey key;
  std::map<std::string, std::string> labels;
  bool http = false;  // a Service's annotation weir.dev/l7: http
  Created created{};
  int64_t generation = 0;
};

/// metadata as Kubernetes writes it; a namespace that is not given is "default". `service` names are RFC 1123
/// labels, others subdomains.
Metadata ReadMetadata(const Cursor& document, bool service);

/// RFC 1123 label: at most 63 lower-case letters, digits and '-', a letter or digit at both ends.
bool IsDnsLabel(std::string_view text);
/// RFC 1123 subdomain: labels joined by dots, at most 253 bytes.
bool IsDnsSubdomain(std::string_view text);
/// A label's value: empty, or at most 63 letters, digits, '-', '_' and '.', a letter or digit at both ends.
bool IsLabelValue(std::string_view text);
/// A label's name: [subdomain/]value.
bool IsLabelName(std::string_view text);

/// A required name of a Service in the object's own namespace; "" after a complaint.
std::string ReadServiceName(const Cursor& map, std::string_view field);

/// A duration above 0: 10 or "10s"; nullopt after a complaint, which ends in `if_zero` for 0.
std::optional<std::chrono::milliseconds> ReadDuration(const Cursor& field, std::string_view if_zero);

// `document` has fields of its kind only: apiVersion, kind and metadata are read already.
Service ReadService(const Cursor& document, const Metadata& metadata);
EndpointSlice ReadEndpointSlice(const Cursor& document, const Metadata& metadata);
Rollout ReadRollout(const Cursor& document, const Metadata& metadata);
Webhook ReadWebhook(const Cursor& document, const Metadata& metadata);
/// `quantities`: v1alpha1, whose weights are Kubernetes quantities.
TrafficSplit ReadTrafficSplit(const Cursor& document, const Metadata& metadata, bool quantities);
/// What connect() cannot do is no complaint here: it stands in Route::unsupported.
Route ReadRoute(const Cursor& document, const Metadata& metadata, RouteKind kind);
ReferenceGrant ReadReferenceGrant(const Cursor& document, const Metadata& metadata);
AnalysisTemplate ReadAnalysisTemplate(const Cursor& document, const Metadata& metadata);

/// Any of them, by its apiVersion and kind. INVALID_ARGUMENT as ParseManifests has it, without file and line.
Result<Object> ReadNode(const YamlNode& node);

}  // namespace weir::model
