// Leader election among replicas: at most one of them holds the Lease at any time, as far as clocks run
// alike. https://kubernetes.io/docs/concepts/architecture/leases/
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "controller/kubernetes/client/client.h"
#include "controller/kubernetes/client/election.h"

namespace weir::kubernetes {

struct LeaseCallbacks {
  std::function<void()> on_elected;
  /// Renewing failed for renew_deadline, somebody else has the Lease, or Stop() gave it up. A candidate
  /// again, but for Stop().
  std::function<void()> on_deposed;
  /// Another holder than before was seen; empty: nobody.
  std::function<void(const std::string&)> on_holder;
};

/// The Client's thread, but for Held(); callbacks come there too.
class Lease {
 public:
  /// Nothing is asked before Start(). `client` must outlive it. Options must have passed CheckLeaseOptions.
  Lease(Client& client, LeaseOptions options, LeaseCallbacks callbacks, RandomSource random = SystemRandom());
  /// Stops without releasing: a successor waits for lease_duration.
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  void Start();
  /// No longer a candidate. If it is held: on_deposed, then the Lease is written without a holder, so that a
  /// successor need not wait; `done` with how that went, OK when there was nothing to give up.
  void Stop(std::function<void(Status)> done);

  /// Any thread. False as soon as renew_deadline has passed without a renewal, even while the io_context is
  /// stuck: ask before every act that only a leader may do.
  bool Held() const;
  /// The identity of whoever holds it, as last seen; empty: nobody.
  const std::string& holder() const;

  class Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace weir::kubernetes
