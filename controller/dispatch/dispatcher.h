// Nodes and their sessions: hello, welcome, updates, acknowledgements, heartbeats.
//
// One thread (the io_context's) calls everything. Time comes from a Clock and from Tick(); streams are an
// interface, so tests need neither gRPC nor sleeps.
#pragma once

#include <grpcpp/support/status.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "common/status.h"
#include "controller/dispatch/journal.h"
#include "weir/v1/agent.pb.h"

namespace weir::dispatch {

/// One agent's connection. Owned by whoever made it; valid from Dispatcher::OnOpened until OnClosed.
class Stream {
 public:
  virtual ~Stream() = default;
  /// At most one at a time: answered by Dispatcher::OnWritten.
  virtual void Write(const grpc::ByteBuffer& message) = 0;
  /// Ends the stream after the write in flight. Further calls do nothing.
  virtual void Close(const grpc::Status& status) = 0;
  /// Ends it now, whatever is in flight.
  virtual void Abort() = 0;
};

/// What is known of a node.
struct Node {
  std::string name;
  uint32_t number = 0;
  bool connected = false;
  MonotonicTime connected_since{};  // while connected
  MonotonicTime away_since{};       // while not; for a node not seen yet, when the controller began
  std::optional<WallTime> last_seen;
  std::string agent_version, kernel_release, instance;
  std::vector<std::string> abilities;
  uint64_t generation_sent = 0;
  uint64_t generation_acked = 0;  // what its kernel holds, as far as it told
  // The newest refusal, until a later generation (or the same, on a retry) is acknowledged.
  uint64_t generation_nacked = 0;
  std::string nack_reason;
  v1::Safety safety;  // what it does by itself, as it told last; kept while it is away
};

/// The application's side.
class Observer {
 public:
  virtual ~Observer() = default;
  /// Durable numbers for nodes that have none yet; asked before they are welcomed.
  virtual Result<std::map<std::string, uint32_t>> NumberNodes(const std::vector<std::string>& names) = 0;
  /// What an agent is told before its first update.
  virtual std::vector<v1::ControllerMessage> OnWelcome(const Node& /*node*/) { return {}; }
  /// A node came, went, acknowledged or refused: look again. Called often; must be cheap.
  virtual void OnNodesChanged() = 0;
  virtual void OnTelemetry(const Node& node, const v1::Telemetry& telemetry) = 0;
  /// A node has answered an order to end connections.
  virtual void OnEnded(const Node& /*node*/, const v1::Ended& /*ended*/) {}
  /// An agent of this very store holds a generation that the store does not know yet: the store was put back.
  virtual void OnAgentAhead(uint64_t generation_held) = 0;
};

/// Counters since the start, for /metrics.
struct Counters {
  uint64_t connects = 0, disconnects = 0, replaced = 0, missed_heartbeats = 0, protocol_errors = 0;
  uint64_t deltas = 0, snapshots = 0, bytes = 0;
  uint64_t acks = 0, nacks = 0;
  /// Upper bounds of the ack latency buckets, in seconds; the last bucket is +Inf.
  static constexpr std::array<double, 12> kLatencyBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                            0.1,   0.25,   0.5,   1,    2.5,   10};
  std::array<uint64_t, kLatencyBounds.size() + 1> latency_buckets{};
  double latency_sum_s = 0;
};

class Dispatcher {
 public:
  struct Options {
    std::string controller_id;
    std::chrono::milliseconds heartbeat_interval{3000};
    int missed_heartbeats_allowed = 3;
    std::chrono::milliseconds retry_interval{3'000};  // of a refused generation
    Journal::Options journal;
  };
  /// Tick() wants to be called about this often per heartbeat interval; each call looks after one slice of
  /// the nodes.
  static constexpr int kTicksPerInterval = 16;

  /// `clock` and `observer` must outlive it.
  Dispatcher(const Options& options, const Clock& clock, Observer& observer);

  /// Nodes known from before this process, away since now.
  void RestoreNodes(const std::map<std::string, uint32_t>& numbers);
  /// Takes a node that is away off the list. FAILED_PRECONDITION while it is connected.
  Status ForgetNode(const std::string& name);

  /// The content at the start, or after its history was lost.
  void Reset(uint64_t generation, const std::vector<FrontendPtr>& frontends);
  /// The next generation, already durable. Sent at once to every node that has an empty queue.
  void Publish(uint64_t generation, const std::vector<FrontendPtr>& upserts,
               const std::vector<v1::FrontendKey>& removals);

  /// A message besides updates and heartbeats, behind what is queued; nothing if the node is not connected.
  void Tell(const std::string& node, const v1::ControllerMessage& message);

  // From the streams.
  void OnOpened(Stream* stream);
  void OnMessage(Stream* stream, const v1::AgentMessage& message);
  void OnWritten(Stream* stream);
  void OnClosed(Stream* stream);

  /// Welcomes the agents whose hello came since the last call; the service posts it behind each hello, so
  /// that many new nodes are numbered in one transaction.
  void WelcomePending();
  /// Heartbeats, timeouts, retries.
  void Tick();
  /// Closes every stream and refuses new ones.
  void Shutdown(const grpc::Status& status);

  const std::map<std::string, Node>& nodes() const { return nodes_; }
  uint64_t generation() const { return journal_.generation(); }
  size_t connected() const { return connected_; }
  const Counters& counters() const { return counters_; }
  const Journal& journal() const { return journal_; }

 private:
  struct Session {
    Stream* stream = nullptr;
    Node* node = nullptr;  // null before the welcome
    uint64_t id = 0;
    std::optional<v1::Hello> hello;  // between hello and welcome
    MonotonicTime opened, last_message;
    std::deque<grpc::ByteBuffer> queue;  // its front is in flight while `writing`
    bool writing = false, closing = false;
    MonotonicTime closing_since;
    uint64_t acked = 0;         // what the agent's kernel holds; 0: nothing a delta can start from
    uint64_t sent = 0;          // by this session, or held when it began
    bool refused = false;       // the newest answer was a nack of the newest update
    bool updated = false;       // an update was sent
    MonotonicTime answered_at;  // the last nack
    uint64_t heartbeats = 0;
  };

  Session* Find(Stream* stream);
  void Send(Session& session, grpc::ByteBuffer message);
  void Pump(Session& session);
  void Close(Session& session, const grpc::Status& status);
  void ProtocolError(Session& session, const std::string& text);
  void OnHello(Session& session, const v1::Hello& hello);
  void Welcome(Session& session, uint32_t number);
  void OnAck(Session& session, uint64_t generation);
  void OnNack(Session& session, const v1::Nack& nack);
  void RecordLatency(const Session& session, uint64_t generation);
  void TickSession(Session& session, MonotonicTime now);

  Options options_;
  const Clock& clock_;
  Observer& observer_;
  Journal journal_;
  std::map<std::string, Node> nodes_;
  std::unordered_map<Stream*, Session> sessions_;
  std::unordered_map<std::string, Session*> by_node_;  // the live session of each connected node
  std::vector<Stream*> hellos_;                        // waiting for WelcomePending
  std::deque<std::pair<uint64_t, MonotonicTime>> published_;
  uint64_t next_session_ = 0;
  int tick_ = 0;
  size_t connected_ = 0;
  bool shut_down_ = false;
  grpc::Status shutdown_status_;
  Counters counters_;
};

}  // namespace weir::dispatch
