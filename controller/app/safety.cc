#include "controller/app/safety.h"

namespace weir::app {
namespace {

const char* ReasonText(v1::TakenOut::Reason reason) {
  return reason == v1::TakenOut::REASON_TRIPPED ? "its connects failed" : "no controller was heard";
}

}  // namespace

NodeList NodesThatTookOut(const std::map<std::string, dispatch::Node>& nodes) {
  NodeList list;
  for (const auto& [name, node] : nodes) {
    if (node.safety.taken_out_size() > 0) list.push_back(&node);
  }
  return list;
}

engine::TakenOutObserved TakenOutOf(const NodeList& nodes, const model::Rollout& rollout,
                                    const engine::State& state) {
  engine::TakenOutObserved observed{state.canary, state.fail_safe_round, {}};
  if (state.canary.empty()) return observed;
  for (const dispatch::Node* node : nodes) {
    for (const v1::TakenOut& taken : node->safety.taken_out()) {
      if (taken.namespace_() != rollout.key.ns || taken.service() != rollout.service ||
          taken.revision() != state.canary || taken.round() != state.fail_safe_round) {
        continue;
      }
      observed.nodes.push_back(node->name + " (" + ReasonText(taken.reason()) + ")");
    }
  }
  return observed;
}

void AddSafety(const dispatch::Node& node, v1::Node& status) {
  for (const v1::TakenOut& taken : node.safety.taken_out()) {
    status.add_taken_out(fmt::format("{}/{} {}: {}", taken.namespace_(), taken.service(), taken.revision(),
                                     ReasonText(taken.reason())));
  }
  for (const v1::LeftOut& left : node.safety.left_out()) {
    const auto address = IpAddress::FromBytes(left.endpoint().address());
    status.add_left_out(fmt::format(
        "{}/{} {} {}", left.namespace_(), left.service(), left.revision(),
        address ? ToString(SocketAddress{*address, static_cast<uint16_t>(left.endpoint().port())}) : "?"));
  }
}

}  // namespace weir::app
