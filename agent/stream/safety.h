// What the stream owes to whoever looks after this node while no controller does: agent/guard.
#pragma once

#include <optional>

#include "weir/v1/agent.pb.h"

namespace weir::stream {

/// The io_context's thread.
class Safety {
 public:
  virtual ~Safety() = default;
  /// The controller has given a sign of life. Called before what it says is carried out, and after.
  virtual void Heard() = 0;
  /// What the node does by itself; nullopt when the controller knows. `anew`: it knows nothing yet.
  virtual std::optional<v1::Safety> Report(bool anew) = 0;
};

}  // namespace weir::stream
