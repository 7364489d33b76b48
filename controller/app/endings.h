// Orders to end open connections: from the rollouts' states to what each node is told, and from the nodes'
// answers to the engine.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "controller/app/core.h"
#include "controller/dispatch/dispatcher.h"
#include "weir/v1/agent.pb.h"

namespace weir::app {

/// The name of a rollout's order, the same after restarts; used once, also by a rollout of the same name that
/// was deleted and made again: generations only grow.
std::string EndOrderId(const ObjectKey& rollout, const engine::Ending& ending);

/// One thread (the io_context's). Nothing of it is stored: states are, and nodes repeat what they are asked
/// again.
class Endings {
 public:
  /// Both outlive it. What the states hold at the time of construction, or of Load(), was counted before.
  Endings(const Core& core, dispatch::Dispatcher& dispatcher) : core_(core), dispatcher_(dispatcher) {}

  /// The states are there.
  void Load();
  /// Tells every connected node what stands for it, where that is news to it; costs nothing while no order
  /// stands and no node comes. Call when a rollout or a node has changed.
  void Look();
  /// A rollout is another, or gone. Looks.
  void Changed(const ObjectKey& rollout);
  /// A node has answered.
  void OnEnded(const std::string& node, const v1::Ended& ended);
  /// Answers that the states do not hold yet, agents that cannot be asked included; asked again until they
  /// do.
  std::vector<std::pair<ObjectKey, engine::ConnectionsEnded>> News();

  /// By namespace, rollout, revision and cause ("abort", "complete"), since this process began.
  const std::map<std::tuple<std::string, std::string, std::string, std::string>, uint64_t>& totals() const {
    return totals_;
  }

 private:
  struct Standing {
    ObjectKey rollout;
    const engine::Ending* ending;
    v1::EndOrder order;
  };
  struct Told {
    MonotonicTime session;  // tells a node's streams apart
    std::string ids;        // of the orders that were sent last
  };
  std::vector<Standing> StandingOrders() const;

  const Core& core_;
  dispatch::Dispatcher& dispatcher_;
  std::map<std::string, Told> told_;
  bool stood_ = false;                                                       // some order, when last looked
  uint64_t connects_ = 0;                                                    // of nodes, until then
  std::map<std::string, std::map<std::string, engine::NodeEnded>> answers_;  // by order, by node
  /// What of each rollout's present order is in totals_.
  std::map<ObjectKey, std::pair<std::string, uint64_t>> counted_;
  std::map<std::tuple<std::string, std::string, std::string, std::string>, uint64_t> totals_;
};

}  // namespace weir::app
