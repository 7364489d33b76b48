// A Rollout's status as kubectl shows it. Pure.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <string>

#include "controller/kubernetes/workload/deployment.h"
#include "weir/v1/rollouts.pb.h"

namespace weir::kubernetes {

struct RolloutStatusFacts {
  std::optional<v1::Rollout> rollout;  // as the API of weirctl shows it; none: it is not at work
  std::string refusal;                 // why the object as it is written is not in force; empty: it is
  int64_t generation = 0;              // metadata.generation
  const Deployment* deployment = nullptr;
  std::string present_time;                     // RFC 3339, for a condition that changes
  const boost::json::value* present = nullptr;  // the status there is: its conditions keep their times
};

/// Every member of status but `state`, which is the store's. Members that have nothing to say are null: a
/// merge patch removes them.
boost::json::object RolloutStatusJson(const RolloutStatusFacts& facts);

}  // namespace weir::kubernetes
