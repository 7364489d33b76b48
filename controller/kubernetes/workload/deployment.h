// What Weir needs of Deployments and ReplicaSets, and how little of them is kept. Pure.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/status.h"
#include "controller/kubernetes/client/resource.h"

namespace weir::kubernetes {

inline constexpr std::string_view kHashLabel = "pod-template-hash";
/// Annotations of a Deployment that a Rollout holds. The first names the Rollout; the second keeps the user's
/// own values of the fields Weir writes, as JSON; the third is the revision that the template was when Weir
/// last acted on it.
inline constexpr std::string_view kHolderAnnotation = "weir.dev/rollout";
inline constexpr std::string_view kKeptAnnotation = "weir.dev/kept";
inline constexpr std::string_view kTemplateAnnotation = "weir.dev/template";
inline constexpr std::string_view kNextAnnotation = "weir.dev/next-template";

/// A count, or a share of the replicas as "25%" (intstr.IntOrString).
using IntOrPercent = boost::json::value;

/// The fields of a Deployment's spec that Weir writes while it holds it, as the API server has them: with
/// defaults.
struct Knobs {
  bool paused = false;
  IntOrPercent max_surge = "25%", max_unavailable = "25%";
  int64_t min_ready_seconds = 0;
  int64_t progress_deadline_seconds = 600;
  bool operator==(const Knobs&) const = default;
};

/// For kKeptAnnotation.
std::string ToJson(const Knobs& knobs);
/// INVALID_ARGUMENT for anything that ToJson does not write.
Result<Knobs> KnobsFromJson(std::string_view text);

/// apps/v1 Deployment.
struct Deployment {
  ObjectKey key;
  std::string uid, resource_version;
  int64_t generation = 0, observed_generation = 0;
  uint32_t replicas = 1;
  bool rolling_update = true;
  std::string strategy;  // its type
  Knobs knobs;
  std::string digest;             // of its pod template
  std::string holder;             // kHolderAnnotation; empty: not held
  std::string kept;               // kKeptAnnotation
  std::string template_revision;  // kTemplateAnnotation
  bool has_next = false;          // kNextAnnotation: a template that was put aside
  bool operator==(const Deployment&) const = default;
};

/// apps/v1 ReplicaSet.
struct ReplicaSet {
  ObjectKey key;
  std::string owner;      // the uid of its Deployment
  std::string revision;   // its pods' kHashLabel
  std::string digest;     // of its pod template, without that label
  std::string created;    // metadata.creationTimestamp, which sorts by time
  uint32_t replicas = 0;  // that it shall have
  uint32_t pods = 0;      // that there are, terminating ones not among them
  bool operator==(const ReplicaSet&) const = default;
};

/// SHA-256, hexadecimal, of a pod template without its kHashLabel. Templates that the Deployment controller
/// takes for equal (EqualIgnoreHash) have equal ones, as the API server writes both in one way.
std::string TemplateDigest(const boost::json::value& pod_template);

/// For a reflector: puts the digest in the template's place and leaves only what the readers below want.
bool TrimDeployment(boost::json::object& deployment);
bool TrimReplicaSet(boost::json::object& replica_set);

/// Of trimmed objects. INVALID_ARGUMENT names the field that is not as apps/v1 has it.
Result<Deployment> ReadDeployment(const boost::json::object& trimmed);
Result<ReplicaSet> ReadReplicaSet(const boost::json::object& trimmed);

}  // namespace weir::kubernetes
