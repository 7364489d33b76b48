#include "controller/kubernetes/leader/rollout_status.h"

namespace weir::kubernetes {
namespace {

namespace json = boost::json;

json::value TextOrNull(const std::string& text) {
  return text.empty() ? json::value(nullptr) : json::value(text);
}

template <typename Repeated>
json::value ListOrNull(const Repeated& items) {
  if (items.empty()) return nullptr;
  json::array list;
  for (const auto& item : items) list.push_back(json::value(item));
  return list;
}

/// The time at which the condition came to be as it is.
std::string Since(const RolloutStatusFacts& facts, std::string_view type, std::string_view status) {
  const json::value* conditions = facts.present != nullptr ? Find(*facts.present, {"conditions"}) : nullptr;
  if (conditions != nullptr && conditions->is_array()) {
    for (const json::value& condition : conditions->get_array()) {
      if (Text(condition, {"type"}) == type && Text(condition, {"status"}) == status)
        return std::string(Text(condition, {"lastTransitionTime"}));
    }
  }
  return facts.present_time;
}

json::object Condition(const RolloutStatusFacts& facts, std::string_view type, bool holds,
                       std::string_view reason, std::string_view message) {
  const std::string_view status = holds ? "True" : "False";
  return {{"type", type},
          {"status", status},
          {"reason", reason},
          {"message", message},
          {"observedGeneration", facts.generation},
          {"lastTransitionTime", Since(facts, type, status)}};
}

json::value WorkloadOf(const RolloutStatusFacts& facts) {
  if (facts.deployment == nullptr || !facts.rollout) return nullptr;
  json::object workload{{"replicas", facts.deployment->replicas}};
  for (const v1::VariantStatus& variant : facts.rollout->variants()) {
    if (variant.role() == v1::ROLE_STABLE || variant.role() == v1::ROLE_ACTIVE)
      workload["readyReplicas"] = variant.endpoints_ready();
    if (variant.role() == v1::ROLE_CANARY || variant.role() == v1::ROLE_PREVIEW)
      workload["canaryReadyReplicas"] = variant.endpoints_ready();
  }
  return workload;
}

}  // namespace

json::object RolloutStatusJson(const RolloutStatusFacts& facts) {
  json::object status;
  status["observedGeneration"] = facts.generation;
  json::array conditions;
  conditions.push_back(facts.refusal.empty()
                           ? Condition(facts, "Accepted", true, "Accepted", "in force as it is written")
                           : Condition(facts, "Accepted", false, "Refused", facts.refusal));
  if (!facts.rollout) {
    status["phase"] = "Degraded";
    status["message"] = facts.refusal.empty() ? "it is not at work yet" : facts.refusal;
    status["conditions"] = std::move(conditions);
    return status;
  }
  const v1::Rollout& rollout = *facts.rollout;
  std::string message = rollout.message();
  if (!facts.refusal.empty())
    message = "what is written is refused, what was before stays in force: " + facts.refusal +
              (message.empty() ? "" : "; " + message);
  status["phase"] = rollout.phase();
  status["message"] = TextOrNull(message);
  status["currentStepIndex"] = rollout.current_step_index();
  const auto step = static_cast<int>(rollout.current_step_index());
  const bool under_way = !rollout.canary_revision().empty() && step < rollout.steps_size();
  status["currentStep"] = TextOrNull(under_way ? rollout.steps(step).text() : "");
  status["stableRevision"] = TextOrNull(rollout.stable_revision());
  status["canaryRevision"] = TextOrNull(rollout.canary_revision());
  status["canaryWeight"] = rollout.canary_weight();
  status["maxWeight"] = rollout.max_weight();
  status["generation"] = rollout.generation();
  json::object nodes{{"desired", rollout.nodes_desired()}, {"acked", rollout.nodes_acked()}};
  nodes["behind"] = ListOrNull(rollout.nodes_behind());
  nodes["refusing"] = ListOrNull(rollout.nodes_refusing());
  nodes["takenOut"] = ListOrNull(rollout.nodes_taken_out());
  status["nodes"] = std::move(nodes);
  status["workload"] = WorkloadOf(facts);
  const bool complete = rollout.canary_revision().empty() && rollout.phase() == "Healthy" &&
                        rollout.nodes_acked() >= rollout.nodes_desired();
  conditions.push_back(
      Condition(facts, "Completed", complete, complete ? "Completed" : rollout.phase(),
                complete ? "revision " + rollout.stable_revision() + " has all traffic on every node"
                         : rollout.message()));
  status["conditions"] = std::move(conditions);
  return status;
}

}  // namespace weir::kubernetes
