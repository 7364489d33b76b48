#include "controller/kubernetes/workload/deployment.h"

#include "common/sha256.h"

namespace weir::kubernetes {
namespace {

namespace json = boost::json;

constexpr std::string_view kDigest = "weirTemplateDigest";  // in a trimmed object's spec

/// Of `from` only these members, in `into`.
void Keep(const json::object& from, std::initializer_list<std::string_view> names, json::object& into) {
  for (const std::string_view name : names) {
    if (const json::value* value = from.if_contains(name)) into[name] = *value;
  }
}

const json::object& ObjectAt(const json::object& object, std::string_view name) {
  static const json::object kNone;
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_object() ? value->get_object() : kNone;
}

/// The annotations and owner that count, beside what names an object.
json::object TrimMetadata(const json::object& metadata) {
  json::object kept, annotations;
  Keep(
      metadata,
      {"name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp"},
      kept);
  Keep(ObjectAt(metadata, "annotations"),
       {kHolderAnnotation, kKeptAnnotation, kTemplateAnnotation, kNextAnnotation}, annotations);
  if (!annotations.empty()) kept["annotations"] = std::move(annotations);
  if (const json::value* owners = metadata.if_contains("ownerReferences")) kept["ownerReferences"] = *owners;
  return kept;
}

/// Integers with a default, and whether one was something else.
class Fields {
 public:
  Fields(const json::object& object, std::string_view path) : object_(object), path_(path) {}

  int64_t Integer(std::string_view name, int64_t otherwise) {
    const json::value* value = object_.if_contains(name);
    if (value == nullptr || value->is_null()) return otherwise;
    if (!value->is_int64() || value->get_int64() < 0) {
      Fail(name, "an integer that is not negative");
      return otherwise;
    }
    return value->get_int64();
  }
  bool Boolean(std::string_view name) {
    const json::value* value = object_.if_contains(name);
    if (value == nullptr || value->is_null()) return false;
    if (value->is_bool()) return value->get_bool();
    Fail(name, "true or false");
    return false;
  }
  IntOrPercent Share(std::string_view name, IntOrPercent otherwise) {
    const json::value* value = object_.if_contains(name);
    if (value == nullptr || value->is_null()) return otherwise;
    if (value->is_int64() || value->is_string()) return *value;
    Fail(name, "an integer or a percentage");
    return otherwise;
  }
  const Status& status() const { return status_; }

 private:
  void Fail(std::string_view name, std::string_view expected) {
    if (status_.ok())
      status_ = InvalidArgument("{}.{}: found {}, expected {}", path_, name,
                                json::serialize(object_.at(name)), expected);
  }

  const json::object& object_;
  std::string_view path_;
  Status status_;
};

std::string Digest(const json::object& spec) { return std::string(Text(spec, {kDigest})); }

}  // namespace

std::string ToJson(const Knobs& knobs) {
  return json::serialize(json::object{{"paused", knobs.paused},
                                      {"maxSurge", knobs.max_surge},
                                      {"maxUnavailable", knobs.max_unavailable},
                                      {"minReadySeconds", knobs.min_ready_seconds},
                                      {"progressDeadlineSeconds", knobs.progress_deadline_seconds}});
}

Result<Knobs> KnobsFromJson(std::string_view text) {
  ASSIGN_OR_RETURN(const json::value value, ParseJson(text));
  if (!value.is_object()) return InvalidArgument("found {}, expected an object", json::serialize(value));
  Fields fields(value.get_object(), kKeptAnnotation);
  Knobs knobs;
  knobs.paused = fields.Boolean("paused");
  knobs.max_surge = fields.Share("maxSurge", knobs.max_surge);
  knobs.max_unavailable = fields.Share("maxUnavailable", knobs.max_unavailable);
  knobs.min_ready_seconds = fields.Integer("minReadySeconds", knobs.min_ready_seconds);
  knobs.progress_deadline_seconds =
      fields.Integer("progressDeadlineSeconds", knobs.progress_deadline_seconds);
  RETURN_IF_ERROR(fields.status());
  return knobs;
}

std::string TemplateDigest(const json::value& pod_template) {
  json::value bare = pod_template;
  if (json::object* object = bare.if_object()) {
    if (json::value* metadata = object->if_contains("metadata");
        metadata != nullptr && metadata->is_object()) {
      json::value* labels = metadata->get_object().if_contains("labels");
      if (labels != nullptr && labels->is_object()) labels->get_object().erase(kHashLabel);
    }
  }
  return Sha256Hex(json::serialize(bare));
}

bool TrimDeployment(json::object& deployment) {
  const json::object& spec = ObjectAt(deployment, "spec");
  json::object kept;
  Keep(spec, {"replicas", "paused", "strategy", "minReadySeconds", "progressDeadlineSeconds"}, kept);
  if (const json::value* pod_template = spec.if_contains("template"))
    kept[kDigest] = TemplateDigest(*pod_template);
  json::object status;
  Keep(ObjectAt(deployment, "status"), {"observedGeneration"}, status);
  json::object metadata = TrimMetadata(ObjectAt(deployment, "metadata"));
  deployment = {{"metadata", std::move(metadata)}, {"spec", std::move(kept)}, {"status", std::move(status)}};
  return true;
}

bool TrimReplicaSet(json::object& replica_set) {
  const json::object& spec = ObjectAt(replica_set, "spec");
  json::object kept;
  Keep(spec, {"replicas"}, kept);
  if (const json::value* pod_template = spec.if_contains("template")) {
    kept[kDigest] = TemplateDigest(*pod_template);
    kept[kHashLabel] = Text(*pod_template, {"metadata", "labels", kHashLabel});
  }
  json::object status;
  Keep(ObjectAt(replica_set, "status"), {"replicas"}, status);
  json::object metadata = TrimMetadata(ObjectAt(replica_set, "metadata"));
  replica_set = {{"metadata", std::move(metadata)}, {"spec", std::move(kept)}, {"status", std::move(status)}};
  return true;
}

Result<Deployment> ReadDeployment(const json::object& trimmed) {
  Deployment deployment;
  deployment.key = KeyOf(trimmed);
  deployment.uid = Text(trimmed, {"metadata", "uid"});
  deployment.resource_version = ResourceVersionOf(trimmed);
  deployment.holder = Text(trimmed, {"metadata", "annotations", kHolderAnnotation});
  deployment.kept = Text(trimmed, {"metadata", "annotations", kKeptAnnotation});
  deployment.template_revision = Text(trimmed, {"metadata", "annotations", kTemplateAnnotation});
  if (const auto next = Text(trimmed, {"metadata", "annotations", kNextAnnotation}); !next.empty()) {
    const auto value = ParseJson(next);
    if (!value.ok() || !value->is_object())
      return InvalidArgument("annotation {}: found {}, expected a pod template", kNextAnnotation,
                             next.substr(0, 40));
    deployment.has_next = true;
  }
  const json::object& spec_object = ObjectAt(trimmed, "spec");
  const json::object& strategy = ObjectAt(spec_object, "strategy");
  Fields metadata(ObjectAt(trimmed, "metadata"), "metadata"), status(ObjectAt(trimmed, "status"), "status"),
      spec(spec_object, "spec"), rolling(ObjectAt(strategy, "rollingUpdate"), "spec.strategy.rollingUpdate");
  deployment.generation = metadata.Integer("generation", 0);
  deployment.observed_generation = status.Integer("observedGeneration", 0);
  deployment.replicas = static_cast<uint32_t>(spec.Integer("replicas", 1));
  deployment.strategy = Text(strategy, {"type"});
  deployment.rolling_update = deployment.strategy.empty() || deployment.strategy == "RollingUpdate";
  Knobs& knobs = deployment.knobs;
  knobs.paused = spec.Boolean("paused");
  knobs.min_ready_seconds = spec.Integer("minReadySeconds", 0);
  knobs.progress_deadline_seconds = spec.Integer("progressDeadlineSeconds", 600);
  knobs.max_surge = rolling.Share("maxSurge", knobs.max_surge);
  knobs.max_unavailable = rolling.Share("maxUnavailable", knobs.max_unavailable);
  deployment.digest = Digest(spec_object);
  for (const Fields* fields : {&metadata, &status, &spec, &rolling}) RETURN_IF_ERROR(fields->status());
  return deployment;
}

Result<ReplicaSet> ReadReplicaSet(const json::object& trimmed) {
  ReplicaSet set;
  set.key = KeyOf(trimmed);
  set.created = Text(trimmed, {"metadata", "creationTimestamp"});
  if (const json::value* owners = Find(trimmed, {"metadata", "ownerReferences"});
      owners != nullptr && owners->is_array()) {
    for (const json::value& owner : owners->get_array()) {
      const json::value* controls = Find(owner, {"controller"});
      if (controls != nullptr && controls->is_bool() && controls->get_bool() &&
          Text(owner, {"kind"}) == "Deployment")
        set.owner = Text(owner, {"uid"});
    }
  }
  const json::object& spec_object = ObjectAt(trimmed, "spec");
  Fields spec(spec_object, "spec"), status(ObjectAt(trimmed, "status"), "status");
  set.revision = Text(spec_object, {kHashLabel});
  set.digest = Digest(spec_object);
  set.replicas = static_cast<uint32_t>(spec.Integer("replicas", 1));
  set.pods = static_cast<uint32_t>(status.Integer("replicas", 0));
  for (const Fields* fields : {&spec, &status}) RETURN_IF_ERROR(fields->status());
  return set;
}

}  // namespace weir::kubernetes
