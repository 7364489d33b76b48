// Ending connections that are open: what is to be ended, and how many were. The rest of the agent sees this
// interface; tests of the rest use FakeEnding.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/datapath/datapath.h"
#include "common/status.h"

namespace weir::datapath {

/// Connections that were given to a revision behind a frontend. With an empty revision: `frontend` is an
/// endpoint's own address, and all that lead there by whatever frontend.
struct EndTarget {
  FrontendKey frontend;
  std::string revision;
  auto operator<=>(const EndTarget&) const = default;
};

/// Cumulative, in the kernel: they outlive the agent, with the order.
struct EndCounts {
  uint64_t tcp = 0, udp = 0;  // connections; connected UDP sockets
  bool operator==(const EndCounts&) const = default;
};

/// What a pass found and did for one order.
struct SweptOrder {
  std::set<uint64_t> namespaces;  // inode numbers of the network namespaces where connections were ended
  uint64_t left = 0;              // connections that are still open
  uint64_t multipath = 0;         // of these, MPTCP's: they cannot be ended
};
struct Swept {
  std::map<std::string, SweptOrder> orders;  // by name; every order there was
  std::vector<std::string> failures;         // for people: which namespace, and why
};

/// One thread (the agent's io_context) calls it.
class Ending {
 public:
  virtual ~Ending() = default;

  /// OK, or why this node cannot end connections.
  virtual Status Able() const = 0;

  /// From the next pass on these are ended. The same name again keeps its counts, whichever agent gave it
  /// before; a target that another order had is this one's now. RESOURCE_EXHAUSTED, FAILED_PRECONDITION (not
  /// able).
  virtual Status Order(const std::string& name, const std::vector<EndTarget>& targets) = 0;
  /// From now on, even in a pass under way, nothing of it is ended; its counts are gone.
  virtual Status Void(const std::string& name) = 0;
  /// The same for what orders of other names, of this process or an earlier one, are about.
  virtual Status VoidAllBut(const std::set<std::string>& names) = 0;
  virtual Result<EndCounts> Count(const std::string& name) const = 0;

  /// One pass: ends all there is to end, in every network namespace that can be entered. `done` is called on
  /// another thread, once, unless the object is destroyed before. Passes run one after the other.
  virtual void Sweep(std::function<void(Swept)> done) = 0;
};

/// On a node that cannot.
class NoEnding final : public Ending {
 public:
  explicit NoEnding(Status why) : why_(std::move(why)) {}
  Status Able() const override { return why_; }
  Status Order(const std::string&, const std::vector<EndTarget>&) override { return why_; }
  Status Void(const std::string&) override { return OkStatus(); }
  Status VoidAllBut(const std::set<std::string>&) override { return OkStatus(); }
  Result<EndCounts> Count(const std::string&) const override { return EndCounts{}; }
  void Sweep(std::function<void(Swept)> done) override { done({}); }

 private:
  Status why_;
};

}  // namespace weir::datapath
