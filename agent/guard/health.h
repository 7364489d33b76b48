// Passive health: which endpoints are left out on this node. Pure; not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "agent/datapath/datapath.h"
#include "common/clock.h"

namespace weir::guard {

using EndpointKey = std::pair<datapath::FrontendKey, SocketAddress>;

class Health {
 public:
  /// Frontends as the controller wants them.
  using Wanted = std::map<datapath::FrontendKey, datapath::Frontend>;

  struct Outcome {
    std::set<datapath::FrontendKey> changed;      // other endpoints than before are left out
    std::vector<EndpointKey> forget;              // for Datapath::ForgetFailures
    std::vector<EndpointKey> expect;              // for Datapath::ExpectAnswer
    std::vector<EndpointKey> left_out, returned;  // for the log
  };
  /// Looks at what failed, and at the clock.
  Outcome Look(const Wanted& wanted, const std::vector<datapath::EndpointFailures>& failures,
               MonotonicTime now);

  /// Takes away what is left out; a variant of which nothing would remain keeps all.
  void Filter(datapath::Frontend& frontend) const;

  struct LeftOut {
    MonotonicTime until;
    uint32_t times = 0;  // since it last answered
  };
  /// What is left out now.
  std::map<EndpointKey, LeftOut> left_out() const;
  uint64_t times_left_out() const { return times_left_out_; }

 private:
  struct State {
    uint32_t times = 0;
    std::optional<MonotonicTime> out_until;  // set: it is left out
    bool on_trial = false;                   // back, and has not answered yet
    uint32_t answered = 0;                   // as last seen
  };

  bool IsOut(const EndpointKey& key) const;
  bool IsLast(const datapath::Frontend& frontend, const SocketAddress& endpoint) const;
  void Judge(const datapath::Frontend& frontend, const datapath::EndpointFailures& failure, MonotonicTime now,
             Outcome& outcome);

  std::map<EndpointKey, State> states_;
  uint64_t times_left_out_ = 0;
};

}  // namespace weir::guard
