// weir.dev/v1alpha1 Rollout: the steps of Argo Rollouts that Weir carries out, and every other field of
// Argo's refused by name with the reason.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "controller/model/kinds.h"
#include "controller/model/manifest.h"
#include "controller/model/rollout_analysis.h"
#include "controller/model/rollout_safety.h"

namespace weir::model {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kRemove = "remove it";
constexpr std::string_view kNoTemplate = "Weir leaves the pods to a Deployment";
constexpr std::string_view kNameWorkload =
    "name the Deployment in spec.workloadRef, or the revision in spec.revision";
constexpr std::string_view kNoScaling = "Weir does not scale workloads";
constexpr std::string_view kNeedsWorkload = "it left out: without spec.workloadRef there are no pods to make";
constexpr std::string_view kOwnRouting = "Weir routes by itself, at connect()";
constexpr std::string_view kByService =
    "Weir divides the Service in spec.service by revision and needs no second one";

// Argo Rollouts' fields, as of v1.10.
constexpr Refusal kSpecRefused[] = {
    {"template", kNoTemplate, kNameWorkload},
    {"selector", kNoTemplate, kNameWorkload},
    {"replicas", kNoScaling, kRemove},
    {"minReadySeconds", kNoScaling, kRemove},
    {"restartAt", "Weir does not restart pods", kRemove},
    {"revisionHistoryLimit", "Weir keeps the last 10 revisions for undo", kRemove},
    {"progressDeadlineSeconds", "Weir has no deadline for progress yet; it waits and says for what",
     "use weirctl status --timeout"},
    {"progressDeadlineAbort", "Weir has no deadline for progress yet", "use weirctl status --timeout"},
    {"rollbackWindow", "Weir does not skip steps on the way back yet", "use weirctl promote --full"},
    {"analysis", "the last runs of a rollout are kept", kRemove},
};
constexpr Refusal kCanaryRefused[] = {
    {"canaryService", kByService, kRemove},
    {"stableService", kByService, kRemove},
    {"maxSurge", "the canary has as many pods as its weight asks for, or as setCanaryScale says", kRemove},
    {"maxUnavailable", "stable keeps all its pods", kRemove},
    {"minPodsPerReplicaSet", "the canary has one pod at least", kRemove},
    {"dynamicStableScale", "stable keeps all its pods", kRemove},
    {"scaleDownDelayRevisionLimit", kNoScaling, kRemove},
    {"abortScaleDownDelaySeconds", kNoScaling, kRemove},
    {"replicaProgressThreshold", kNoScaling, kRemove},
    {"antiAffinity", "Weir does not place pods", kRemove},
    {"canaryMetadata", "Weir does not write pods' metadata", kRemove},
    {"stableMetadata", "Weir does not write pods' metadata", kRemove},
    {"pingPong", kByService, kRemove},
};
constexpr Refusal kBlueGreenRefused[] = {
    {"previewReplicaCount", kNoScaling, kRemove},
    {"maxUnavailable", kNoScaling, kRemove},
    {"scaleDownDelayRevisionLimit", "Weir keeps one revision, the one before", kRemove},
    {"abortScaleDownDelaySeconds", "Weir does not scale pods: what was aborted stays behind previewService",
     kRemove},
    {"antiAffinity", "Weir does not place pods", kRemove},
    {"activeMetadata", "Weir does not write pods' metadata", kRemove},
    {"previewMetadata", "Weir does not write pods' metadata", kRemove},
};
constexpr Refusal kRoutingRefused[] = {
    {"istio", kOwnRouting, kRemove},      {"nginx", kOwnRouting, kRemove},
    {"alb", kOwnRouting, kRemove},        {"smi", kOwnRouting, kRemove},
    {"ambassador", kOwnRouting, kRemove}, {"appMesh", kOwnRouting, kRemove},
    {"traefik", kOwnRouting, kRemove},    {"apisix", kOwnRouting, kRemove},
    {"plugins", kOwnRouting, kRemove},    {"managedRoutes", "connect() sees addresses, not headers", kRemove},
};
constexpr Refusal kStepRefused[] = {
    {"setHeaderRoute", "connect() sees addresses, not headers", "remove the step"},
    {"setMirrorRoute", "connect() opens one connection and cannot mirror it", "remove the step"},
    {"experiment", "Weir does not carry out experiments yet", "remove the step"},
    {"plugin", "Weir does not run Argo's step plugins", "remove the step"},
    {"replicaProgressThreshold", kNoScaling, "remove the step"},
};
constexpr int64_t kMaxSeconds = int64_t{365} * 24 * 3600;
constexpr int64_t kMaxReplicas = 1'000'000;

constexpr std::string_view kStepRule = "exactly one of setWeight, setCanaryScale, pause, analysis";

/// As Argo has it: {replicas: 3}, {weight: 25} or {matchTrafficWeight: true}.
std::optional<engine::SetCanaryScale> ReadCanaryScale(const Cursor& scale, bool scaled) {
  constexpr std::string_view kRule = "exactly one of replicas, weight, matchTrafficWeight";
  if (!scaled) {
    scale.FailText(Complaint("setCanaryScale", kNeedsWorkload, "remove the step"));
    return std::nullopt;
  }
  if (!scale.ExpectMap({"replicas", "weight", "matchTrafficWeight"})) return std::nullopt;
  if (scale.node().entries.size() != 1) {
    scale.FailText(Complaint(fmt::format("{} fields", scale.node().entries.size()), kRule));
    return std::nullopt;
  }
  engine::SetCanaryScale step;
  if (const auto replicas = scale.Find("replicas")) {
    const auto value = replicas->Integer(1, kMaxReplicas);
    if (!value) return std::nullopt;
    step.replicas = static_cast<uint32_t>(*value);
  } else if (const auto weight = scale.Find("weight")) {
    const auto value = weight->Integer(1, 100);
    if (!value) return std::nullopt;
    step.percent = static_cast<uint32_t>(*value);
  } else if (scale.BooleanAt("matchTrafficWeight") == false) {
    scale.Find("matchTrafficWeight")->Fail("true", "to set a scale of its own write replicas or weight");
  }
  return step;
}

std::optional<engine::RolloutStep> ReadStep(const Cursor& step, const engine::Spec& spec) {
  if (!step.ExpectMap({"setWeight", "setCanaryScale", "pause", "analysis"}, kStepRefused))
    return std::nullopt;
  const auto& entries = step.node().entries;
  if (entries.size() != 1) {
    std::string found = entries.empty() ? "an empty step" : fmt::format("{} fields:", entries.size());
    for (size_t i = 0; i < std::min<size_t>(entries.size(), 4); ++i) {
      found += fmt::format("{}{}", i == 0 ? " " : " and ", Quote(entries[i].key));
    }
    step.FailText(Complaint(found, kStepRule,
                            entries.empty() ? "remove the step" : "begin each with a dash of its own"));
    return std::nullopt;
  }
  if (entries[0].key == "setWeight") {
    const auto weight = step.Require("setWeight", fmt::format("an integer from 0 to {}", spec.max_weight));
    const auto value = weight ? weight->Integer(0, spec.max_weight) : std::nullopt;
    if (!value) return std::nullopt;
    return engine::SetWeight{static_cast<uint32_t>(*value)};
  }
  if (entries[0].key == "setCanaryScale") {
    const auto scale = step.Require("setCanaryScale", "a map with replicas, weight or matchTrafficWeight");
    if (!scale) return std::nullopt;
    return ReadCanaryScale(*scale, spec.scaled);
  }
  if (entries[0].key == "analysis") {
    const auto analysis = step.Require("analysis", "a map with templates");
    if (!analysis) return std::nullopt;
    return ReadAnalysis(*analysis);
  }
  if (entries[0].key != "pause") return std::nullopt;  // has been refused
  const auto pause = step.Require("pause", "{} or {duration: ...}", "to wait until promoted write pause: {}");
  if (!pause || !pause->ExpectMap({"duration"})) return std::nullopt;
  const auto duration = pause->Find("duration");
  if (!duration) return engine::Pause{};
  const auto length =
      ReadDuration(*duration, "to wait until promoted write pause: {}; to go on at once remove the step");
  if (!length) return std::nullopt;
  return engine::Pause{*length};
}

/// canary.scaleDownDelaySeconds: of the old pods, at the end.
void ReadScaleDownDelay(const Cursor& canary, Rollout& rollout) {
  const auto delay = canary.Find("scaleDownDelaySeconds");
  if (!delay) return;
  if (!rollout.workload) return delay->FailText(Complaint("scaleDownDelaySeconds", kNeedsWorkload, kRemove));
  if (const auto seconds = delay->Integer(0, kMaxSeconds))
    rollout.workload->scale_down_delay = std::chrono::seconds(*seconds);
}

void ReadCanary(const Cursor& canary, Rollout& rollout) {
  engine::Spec& spec = rollout.spec;
  if (!canary.ExpectMap({"steps", "trafficRouting", "analysis", "scaleDownDelaySeconds"}, kCanaryRefused))
    return;
  ReadScaleDownDelay(canary, rollout);
  if (const auto routing = canary.Find("trafficRouting");
      routing && routing->ExpectMap({"maxTrafficWeight"}, kRoutingRefused)) {
    if (const auto max = routing->Find("maxTrafficWeight")) {
      spec.max_weight = static_cast<uint32_t>(max->Integer(1, kMaxWeight).value_or(spec.max_weight));
    }
  }
  size_t count = 0;
  if (const auto steps = canary.Find("steps")) {  // else straight to all traffic
    const auto items = steps->Items();
    count = items.size();
    for (const Cursor& item : items) {
      if (auto step = ReadStep(item, spec)) spec.steps.push_back(*std::move(step));
    }
  }
  if (const auto analysis = canary.Find("analysis"))
    spec.background = ReadBackgroundAnalysis(*analysis, count);
}

/// The pause before the flip, if there is one.
std::optional<engine::Pause> ReadPromotion(const Cursor& blue_green) {
  const auto seconds_field = blue_green.Find("autoPromotionSeconds");
  const int64_t seconds = seconds_field ? seconds_field->Integer(0, kMaxSeconds).value_or(0) : 0;
  if (blue_green.BooleanAt("autoPromotionEnabled").value_or(true)) {
    if (seconds == 0) return std::nullopt;
    return engine::Pause{std::chrono::seconds(seconds)};
  }
  if (seconds > 0) {
    // Argo's documents and Argo's controller do not agree on what this means.
    seconds_field->Fail("it left out beside autoPromotionEnabled: false",
                        "to promote after this time leave autoPromotionEnabled out; to promote by hand only, "
                        "autoPromotionSeconds");
  }
  return engine::Pause{};
}

void ReadBlueGreen(const Cursor& blue_green, Rollout& rollout) {
  if (!blue_green.ExpectMap(
          {"activeService", "previewService", "autoPromotionEnabled", "autoPromotionSeconds",
           "scaleDownDelaySeconds", "prePromotionAnalysis", "postPromotionAnalysis"},
          kBlueGreenRefused)) {
    return;
  }
  if (blue_green.Find("activeService")) {
    const std::string active = ReadServiceName(blue_green, "activeService");
    if (rollout.service.empty()) rollout.service = active;
    if (active != rollout.service) {
      blue_green.Find("activeService")
          ->Fail(fmt::format("{}, as spec.service says", Quote(rollout.service)), "name the Service once");
    }
  } else if (rollout.service.empty()) {
    blue_green.Require("activeService", "the name of the Service whose traffic is switched",
                       "or give it in spec.service");
  }
  if (blue_green.Find("previewService")) {
    rollout.preview_service = ReadServiceName(blue_green, "previewService");
    if (!rollout.preview_service.empty() && rollout.preview_service == rollout.service) {
      blue_green.Find("previewService")->Fail("another Service than the active one");
    }
  }
  if (const auto analysis = blue_green.Find("prePromotionAnalysis"))
    rollout.spec.steps.push_back(ReadAnalysis(*analysis));
  if (const auto pause = ReadPromotion(blue_green)) rollout.spec.steps.push_back(*pause);
  rollout.spec.blue_green.emplace();
  if (const auto analysis = blue_green.Find("postPromotionAnalysis"))
    rollout.spec.blue_green->post_promotion = ReadAnalysis(*analysis);
  if (const auto delay = blue_green.Find("scaleDownDelaySeconds")) {
    if (const auto seconds = delay->Integer(0, kMaxSeconds))
      rollout.spec.blue_green->scale_down_delay = std::chrono::seconds(*seconds);
  }
}

/// keep, reset, or a map with drain. Where: spec.onAbort, spec.onComplete.
engine::OpenConnections ReadOpenConnections(const Cursor& field) {
  using Way = engine::OpenConnections::Way;
  constexpr std::string_view kRule = "keep, reset, or {drain: {deadline: 30s}}";
  if (field.node().kind == YamlNode::Kind::kScalar) {
    if (field.node().text == "reset") return {.way = Way::kReset};
    if (field.node().text != "keep")
      field.Fail(kRule, field.node().text == "drain" ? "drain needs a deadline" : "");
    return {};
  }
  if (field.node().kind != YamlNode::Kind::kMap) {
    field.Fail(kRule);
    return {};
  }
  if (!field.ExpectMap({"drain"})) return {};
  const auto drain = field.Require("drain", "a map with deadline", "or write keep, or reset");
  if (!drain || !drain->ExpectMap({"deadline"})) return {};
  const auto deadline =
      drain->Require("deadline", "a duration such as 30s", "to end them at once write reset");
  if (!deadline) return {};
  const auto length = ReadDuration(*deadline, "to end them at once write reset");
  if (!length) return {};
  return {.way = Way::kDrain, .deadline = *length};
}

/// One of canary and blueGreen.
void ReadStrategy(const Cursor& strategy, Rollout& rollout) {
  if (!strategy.ExpectMap({"canary", "blueGreen"})) return;
  const auto canary = strategy.Find("canary");
  const auto blue_green = strategy.Find("blueGreen");
  if (canary && blue_green) {
    strategy.FailText(Complaint("canary and blueGreen", "one of the two", "remove the other"));
  } else if (blue_green) {
    ReadBlueGreen(*blue_green, rollout);
  } else if (canary) {
    ReadCanary(*canary, rollout);
  } else {
    const auto& entries = strategy.node().entries;
    // An unknown field has been complained about already.
    if (entries.empty() || entries[0].key == "canary" || entries[0].key == "blueGreen") {
      strategy.Require("canary", "a map with steps", "for no steps at all write canary: {}");
    }
  }
}

/// apps/v1 Deployment, by name.
void ReadWorkload(const Cursor& spec, Rollout& rollout) {
  const auto workload = spec.Find("workloadRef");
  if (!workload) return;
  constexpr Refusal kRefused[] = {
      {"scaleDown", "there is one Deployment, which keeps its pods", kRemove},
      {"namespace", "a Rollout and its Deployment are in the same namespace", kRemove},
  };
  if (!workload->ExpectMap({"apiVersion", "kind", "name"}, kRefused)) return;
  rollout.workload.emplace();
  rollout.spec.scaled = true;
  if (workload->RequireString("apiVersion", "apps/v1")) workload->Find("apiVersion")->OneOf({"apps/v1"});
  if (workload->RequireString("kind", "Deployment"))
    workload->Find("kind")->OneOf({"Deployment"}, "other workloads name their revision in spec.revision");
  rollout.workload->deployment = workload->RequireString("name", "the name of a Deployment").value_or("");
}

/// Given, or the Deployment's: then it may be there as well, as the controller fills it in.
void ReadRevision(const Cursor& spec, Rollout& rollout) {
  constexpr std::string_view kRule = "the revision wanted: the value of one label of its EndpointSlices";
  if (rollout.workload && !spec.Find("revision")) return;
  const auto revision =
      spec.RequireString("revision", kRule, "such as v2; or name a Deployment in spec.workloadRef");
  if (!revision) return;
  if (!IsLabelValue(*revision)) {
    spec.Find("revision")
        ->Fail(
            "a label's value: at most 63 letters, digits, '-', '_' and '.', beginning and ending "
            "with a letter or digit");
  }
  rollout.spec.revision = *revision;
}

}  // namespace

std::optional<milliseconds> ReadDuration(const Cursor& field, std::string_view if_zero) {
  const YamlNode& node = field.node();
  const bool integer = node.plain && TypeOfPlain(node.text) == PlainType::kInteger;
  const bool text = !node.plain || TypeOfPlain(node.text) == PlainType::kString;
  std::optional<milliseconds> duration;
  if (node.kind == YamlNode::Kind::kScalar && (integer || text)) duration = ParseDuration(node.text);
  if (!duration) {
    field.Fail("a duration: seconds (10), or a string such as 10s, 5m, 1h30m or 250ms");
  } else if (*duration == milliseconds{0}) {
    field.Fail("a duration above 0", if_zero);
    duration.reset();
  }
  return duration;
}

Rollout ReadRollout(const Cursor& document, const Metadata& metadata) {
  Rollout rollout;
  rollout.key = metadata.key;
  rollout.created = metadata.created;
  document.ExpectMap({"apiVersion", "kind", "metadata", "spec", "status"});
  const auto spec = document.Require("spec", "a map with service, revision and strategy");
  if (!spec ||
      !spec->ExpectMap({"service", "revisionLabel", "revision", "workloadRef", "paused", "ackTimeout",
                        "onAbort", "onComplete", "failSafeAfter", "localTrip", "passiveHealth", "strategy"},
                       kSpecRefused)) {
    return rollout;
  }
  const auto strategy = spec->Require("strategy", "a map with canary or blueGreen",
                                      "for no steps at all write strategy: {canary: {}}");
  // blueGreen may name it in activeService.
  if (spec->Find("service") || !strategy || !strategy->Find("blueGreen")) {
    rollout.service = ReadServiceName(*spec, "service");
  }
  if (const auto label = spec->StringAt("revisionLabel")) {
    if (!IsLabelName(*label))
      spec->Find("revisionLabel")->Fail("the name of a label", "such as pod-template-hash");
    rollout.revision_label = *label;
  }
  ReadWorkload(*spec, rollout);
  ReadRevision(*spec, rollout);
  rollout.spec.paused = spec->BooleanAt("paused").value_or(false);
  if (const auto timeout = spec->Find("ackTimeout")) {
    rollout.ack_timeout = ReadDuration(*timeout, "leave it out for 10s").value_or(rollout.ack_timeout);
  }
  ReadSafety(*spec, rollout.safety);
  if (const auto open = spec->Find("onAbort")) rollout.spec.on_abort = ReadOpenConnections(*open);
  if (const auto open = spec->Find("onComplete")) rollout.spec.on_complete = ReadOpenConnections(*open);
  if (strategy) ReadStrategy(*strategy, rollout);
  return rollout;
}

}  // namespace weir::model
