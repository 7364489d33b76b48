// What rides on the agent's stream beside splits and telemetry. The client calls it on the io_context.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "agent/datapath/datapath.h"
#include "weir/v1/agent.pb.h"

namespace weir::stream {

class Companion {
 public:
  virtual ~Companion() = default;
  /// Beside the datapath's, for Hello.
  virtual std::vector<std::string> Abilities() const = 0;
  /// A stream of that controller is there; `send` queues a message on it, until Gone().
  virtual void Welcomed(const std::string& controller_id, std::function<void(v1::AgentMessage)> send) = 0;
  virtual void Gone() = 0;
  /// Every update that came before has been applied, or refused.
  virtual void OnEndOrders(const v1::EndOrders& orders) = 0;
  /// A change of the datapath is about to be made.
  virtual void BeforeApply(const datapath::Change& change) = 0;
  /// It is in force.
  virtual void AfterApply(const datapath::Change& change) = 0;
};

/// Keeps which pods have Services divided for themselves.
class ConsumerKeeper {
 public:
  virtual ~ConsumerKeeper() = default;
  /// All there are on the node. Every update that came before has been applied, or refused; what came after
  /// has not.
  virtual void OnConsumers(const v1::Consumers& consumers) = 0;
};

}  // namespace weir::stream
