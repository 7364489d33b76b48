// What nodes did by themselves, as they told: for the engine, and for people. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "controller/dispatch/dispatcher.h"
#include "controller/engine/engine.h"
#include "controller/model/objects.h"
#include "weir/v1/rollouts.pb.h"

namespace weir::app {

using NodeList = std::vector<const dispatch::Node*>;

/// Those that told of a canary without traffic: usually none. One pass over all nodes.
NodeList NodesThatTookOut(const std::map<std::string, dispatch::Node>& nodes);

/// What it means for one rollout: `nodes` empty where it means nothing, or was answered already.
engine::TakenOutObserved TakenOutOf(const NodeList& nodes, const model::Rollout& rollout,
                                    const engine::State& state);

/// The node's own decisions in words.
void AddSafety(const dispatch::Node& node, v1::Node& status);

}  // namespace weir::app
