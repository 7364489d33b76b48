// Leader election on a coordination.k8s.io/v1 Lease as a state machine, with the semantics of client-go's
// tools/leaderelection. Pure.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "common/backoff.h"
#include "common/clock.h"
#include "common/status.h"
#include "controller/kubernetes/client/resource.h"

namespace weir::kubernetes {

struct LeaseOptions {
  ObjectKey key;         // of the Lease
  std::string identity;  // of this candidate: unique, at most 128 bytes; the pod's name
  /// A candidate waits so long after the last change it saw before it takes over.
  std::chrono::milliseconds lease_duration{10'000};  // whole seconds
  /// A leader that could not renew for so long is none any more. Less than lease_duration.
  std::chrono::milliseconds renew_deadline{6'000};
  /// Between two attempts. Less than renew_deadline.
  std::chrono::milliseconds retry_period{2'000};
};

/// INVALID_ARGUMENT with the field for options that are not safe.
Status CheckLeaseOptions(const LeaseOptions& options);

class Election {
 public:
  struct Get {};  // answer: OnAnswer
  struct Create {
    boost::json::object lease;
  };
  struct Update {
    boost::json::object lease;  // with the resourceVersion it is based on
  };
  struct Wait {
    std::chrono::milliseconds delay;  // then: Next
  };
  using Action = std::variant<Get, Create, Update, Wait>;

  Election(LeaseOptions options, RandomSource random);

  /// At the beginning, and after each Wait.
  Action Next(MonotonicTime now, WallTime wall);
  /// The Lease as the server has it, or why not, to the last action.
  Action OnAnswer(const Result<boost::json::value>& lease, MonotonicTime now, WallTime wall);

  /// Leader until then, by the local clock: renew_deadline after the last request that succeeded was made.
  /// nullopt: none.
  std::optional<MonotonicTime> held_until() const { return held_until_; }
  bool Held(MonotonicTime now) const { return held_until_ && now < *held_until_; }
  /// The identity in the Lease as last seen; empty: nobody.
  const std::string& holder() const { return holder_; }

  /// Gives it up: the Lease without a holder, to be written; nullopt when it is not ours. Not held from here
  /// on.
  std::optional<Update> Release(WallTime wall);

 private:
  enum class Asked : uint8_t { kNothing, kGet, kWrite };

  Action Try(MonotonicTime now, WallTime wall);
  Action Write(MonotonicTime now, WallTime wall);
  Action Retry(MonotonicTime now);
  void Observe(const boost::json::value& lease, MonotonicTime now);
  boost::json::object Claim(WallTime wall) const;

  LeaseOptions options_;
  RandomSource random_;
  Asked asked_ = Asked::kNothing;
  MonotonicTime asked_at_;
  std::optional<boost::json::object> observed_;  // the Lease as last seen; none: there is none
  std::string observed_version_;
  MonotonicTime observed_at_;  // when it was first seen so: local time, never the other's
  std::chrono::milliseconds observed_duration_{};
  std::string holder_;
  std::optional<MonotonicTime> held_until_;
};

}  // namespace weir::kubernetes
