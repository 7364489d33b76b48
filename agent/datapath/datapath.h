// What the kernel of this node is made to hold. The rest of the agent sees only this interface; tests of the
// rest use FakeDatapath. Not thread-safe: one thread (the agent's io_context) calls it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/net.h"
#include "common/status.h"

namespace weir::datapath {

/// The address clients dial, and whose clients.
struct FrontendKey {
  SocketAddress address;
  Protocol protocol = Protocol::kTcp;
  /// The number of the namespace whose pods alone find this frontend; TCP. 0: everybody does who has none of
  /// his own.
  uint32_t consumers = 0;
  auto operator<=>(const FrontendKey&) const = default;
};

/// "TCP 127.0.0.1:80", "TCP 127.0.0.1:80 for consumers 00c0ffee".
inline std::string ToString(const FrontendKey& key) {
  std::string text = fmt::format("{} {}", ProtocolName(key.protocol), ToString(key.address));
  if (key.consumers != 0) text += fmt::format(" for consumers {:08x}", key.consumers);
  return text;
}

enum class OnEmpty : uint8_t { kPass = 0, kRefuse = 1, kRefuseShare = 2 };

/// A variant's part in its split, as the controller says. The kernel does not look; metrics and the pace of
/// telemetry do.
enum class Role : uint8_t {
  kNone = 0,
  kStable = 1,
  kCanary = 2,
  kBackend = 3,  // a TrafficSplit's
  // blueGreen
  kActive = 4,
  kPreview = 5,
  kPrevious = 6,  // was active before, kept for a way back
};

struct Variant {
  std::string revision;
  uint32_t weight = 0;                   // 0 .. 1,000,000
  std::vector<SocketAddress> endpoints;  // those that may be chosen; the frontend's family
  Role role = Role::kNone;
  bool operator==(const Variant&) const = default;
};

/// What the node does by itself while a canary is exposed: weir.v1.FailSafe. The kernel gives all connections
/// to `stable` as soon as no controller was heard for longer than `after`, or `trip_after` connects to
/// another variant failed in a row while stable's succeed.
struct FailSafe {
  std::string stable;                  // revision; every other variant is the canary
  std::chrono::milliseconds after{0};  // 0: never
  uint32_t trip_after = 0;             // 0: never
  uint32_t round = 0;                  // what was done holds as long as this stays
  bool operator==(const FailSafe&) const = default;
};

/// An endpoint whose connects fail is left out: weir.v1.PassiveHealth. The agent does it (agent/guard); the
/// kernel only keeps count of what fails.
struct PassiveHealth {
  uint32_t consecutive_failures = 0;     // above 0
  std::chrono::milliseconds base{1000};  // for how long at first
  std::chrono::milliseconds max{300'000};
  bool operator==(const PassiveHealth&) const = default;
};

/// Why a canary has no connections on this node although the controller gives it some.
enum class Cut : uint8_t {
  kNone = 0,
  kCutOff = 1,   // no controller was heard
  kTripped = 2,  // its connects failed
};

struct Frontend {
  FrontendKey key;
  std::string ns, service;  // for metrics
  std::string consumer_ns;  // likewise: the name of key.consumers
  bool has_consumers =
      false;  // key.consumers is 0, and there are frontends of the same address where it is not
  uint32_t affinity_timeout_s = 0;
  OnEmpty on_empty = OnEmpty::kPass;
  bool http = false;              // TCP: recognise plaintext HTTP/1.x on its connections
  std::vector<Variant> variants;  // at most 16
  /// Endpoints that exist but may not be chosen. For the agent, not for the kernel.
  std::vector<SocketAddress> lingering;
  bool endpoints_known = false;  // those and the variants' are all there are
  std::optional<FailSafe> fail_safe;
  std::optional<PassiveHealth> health;  // TCP
  Cut cut = Cut::kNone;                 // variants but the stable one have weight 0: said to the next agent
  bool operator==(const Frontend&) const = default;
};

/// A frontend in force whose canary the kernel gives nothing.
struct GuardState {
  FrontendKey key;
  uint64_t canary_id = 0;     // RevisionId() of the first variant that is not stable
  Cut in_force = Cut::kNone;  // Frontend::cut, maybe of an earlier agent's
  Cut decided = Cut::kNone;   // by the kernel, beyond the weights in force; lasts as long as its cause
  uint64_t diverted = 0;      // connections given to stable by such decisions, since the VIP is known
};

/// An endpoint whose connects failed.
struct EndpointFailures {
  FrontendKey key;
  SocketAddress endpoint;
  uint32_t in_row = 0;    // since one succeeded
  uint32_t answered = 0;  // that succeeded, since the first failure
};

/// One generation's change. `full`: frontends that are not among upserts are removed.
struct Change {
  uint64_t generation = 0;
  std::string controller_id;  // UUID text; kept beside the generation, which has a meaning only under it
  bool full = false;
  std::vector<Frontend> upserts;
  std::vector<FrontendKey> removals;
};

/// Connections given to each variant since its frontend's present weights began on this node.
struct SplitCount {
  FrontendKey key;
  struct Entry {
    std::string revision;
    uint32_t weight;
    uint64_t connections;
  };
  std::vector<Entry> variants;
};

struct MapFill {
  std::string map;
  uint64_t used = 0, capacity = 0;
};

struct Counter {
  std::string name;  // of enum weir_counter in maps.h, or a failed helper's
  uint64_t count = 0;
  bool is_error = false;
};

struct Stats {
  uint64_t generation = 0;
  uint64_t frontends = 0;
  std::vector<MapFill> fill;
  std::vector<Counter> counters;
};

/// As many counts as a histogram has buckets, of which those from the first to the last that is not 0 take
/// memory: an agent holds many thousands.
class BucketCounts {
 public:
  static constexpr size_t kSize = 110;

  uint64_t operator[](size_t bucket) const;
  /// Makes room for it.
  uint64_t& operator[](size_t bucket);
  void Assign(std::span<const uint64_t, kSize> all);

  /// The bucket of kept()[0]; what is not kept is 0.
  size_t first() const { return first_; }
  std::span<const uint64_t> kept() const { return counts_; }
  /// Of what is counted, not of what is kept.
  bool operator==(const BucketCounts& other) const;

 private:
  size_t first_ = 0;
  std::vector<uint64_t> counts_;
};

/// Four buckets per doubling from 2^-20 s to 128 s; what each counts stands at weir_histogram in maps.h.
struct Histogram {
  static constexpr size_t kBuckets = BucketCounts::kSize;
  /// The upper bound of bucket i in seconds; the last has none (+Inf).
  static double UpperBound(size_t i);

  BucketCounts buckets;
  uint64_t sum_ns = 0;

  uint64_t count() const;
  bool operator==(const Histogram&) const = default;
};

/// What one revision of a service did, as its clients on this node saw it; cumulative under Figures::epoch.
struct Series {
  std::string ns, service, revision;
  bool in_force = false;  // some split names it; false: removed, but some connections may still be open

  uint64_t opened = 0, closed = 0;  // TCP connections; active = opened - closed
  struct Failure {
    const char* reason;  // "refused", "timeout", "reset", "unreachable", "canceled", "other"
    uint64_t count;
  };
  std::vector<Failure> failed;                  // connect() that came to nothing; every reason, always
  uint64_t bytes_sent = 0, bytes_received = 0;  // TCP payload: no SYN, FIN, retransmission
  uint64_t retransmits = 0, resets_received = 0;
  uint64_t udp_datagrams_sent = 0, udp_datagrams_received = 0, udp_bytes_sent = 0, udp_bytes_received = 0;
  Histogram connect, srtt;

  bool http = false;  // recognised on some port of the service, or was
  uint64_t http_requests = 0, http_no_response = 0;
  std::vector<Failure> http_opaque;  // connections: "not_http", "upgraded", "pipelined", ...
  uint64_t http_connections = 0, http_error_connections = 0;
  std::map<uint16_t, Histogram>
      http_responses;  // by status code, 1xx included (but for 100-continue: see bpf/README)
};

struct Figures {
  std::string epoch;           // UUID text; another one means that everything counts from 0 again
  std::vector<Series> series;  // sorted by ns, service, revision
};

class Datapath {
 public:
  virtual ~Datapath() = default;

  /// Puts the change in force. When it returns OK, every later connect() on this node sees all of it and none
  /// sees anything older (a grace period has passed). On an error nothing of the change is in force: the
  /// message says what did not fit and the remedy; RESOURCE_EXHAUSTED for a full map, INVALID_ARGUMENT for a
  /// bad change.
  virtual Status Apply(const Change& change) = 0;

  /// The generation in force; 0 when nothing was ever applied. After adoption: the one the last agent left.
  virtual uint64_t Generation() const = 0;
  /// Change::controller_id of the generation in force, as UUID text; empty when nothing was ever applied.
  virtual std::string ControllerId() const = 0;

  /// The node's place in the cluster's phase sequence; takes effect for splits whose weights begin later.
  virtual void SetNodeNumber(uint32_t number) = 0;

  virtual Result<Stats> ReadStats() = 0;
  virtual Result<std::vector<SplitCount>> ReadCounts() = 0;

  /// Everything measured since the maps were made, living connections' bytes included. Series that no split
  /// has named for Options::series_grace and that have no open connection are left out, and forgotten.
  virtual Result<Figures> ReadFigures() = 0;

  /// Checks that every hook is still attached to the cgroup in effect (BPF_PROG_QUERY), and that the maps
  /// hold what is in force; names the first that is not so.
  virtual Status CheckAttached() = 0;

  /// Which pods are of the namespaces of FrontendKey::consumers: all there are, by the ID of their cgroup.
  /// RESOURCE_EXHAUSTED: some are left out.
  virtual Status SetPods(const std::map<uint64_t, uint32_t>& consumers_by_cgroup) = 0;

  /// A controller has given a sign of life, then (CLOCK_BOOTTIME). FailSafe::after counts from here, whether
  /// an agent runs or not.
  virtual void SetHeard(std::chrono::nanoseconds boottime) = 0;
  /// Of frontends in force: those with a cut, and those for which the kernel has decided as of that time.
  virtual std::vector<GuardState> ReadGuards(std::chrono::nanoseconds boottime) const = 0;

  /// Of frontends with PassiveHealth: endpoints that failed since they were forgotten.
  virtual Result<std::vector<EndpointFailures>> ReadFailures() = 0;
  virtual Status ForgetFailures(const FrontendKey& key, const SocketAddress& endpoint) = 0;
  /// Counts both anew, from 0: a first success is seen, too.
  virtual Status ExpectAnswer(const FrontendKey& key, const SocketAddress& endpoint) = 0;

  /// What this kernel offers, for Hello: "connect4", "sendmsg6", "set_retval", "mptcp", ...
  virtual std::vector<std::string> Abilities() const = 0;
};

}  // namespace weir::datapath
