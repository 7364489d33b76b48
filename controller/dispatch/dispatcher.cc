#include "controller/dispatch/dispatcher.h"

#include <algorithm>

#include "common/log.h"

namespace weir::dispatch {
namespace {

constexpr size_t kPublishedKept = 1024;
constexpr size_t kMaxNameBytes = 253;  // a Kubernetes node name
constexpr size_t kMaxReasonBytes = 1024;

bool IsNodeName(const std::string& name) {
  if (name.empty() || name.size() > kMaxNameBytes) return false;
  return std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_';
  });
}

grpc::Status MakeStatus(grpc::StatusCode code, const std::string& text) { return {code, text}; }

}  // namespace

Dispatcher::Dispatcher(const Options& options, const Clock& clock, Observer& observer)
    : options_(options), clock_(clock), observer_(observer), journal_(options.journal) {}

void Dispatcher::RestoreNodes(const std::map<std::string, uint32_t>& numbers) {
  for (const auto& [name, number] : numbers) {
    Node& node = nodes_[name];
    node.name = name;
    node.number = number;
    node.away_since = clock_.Now();
  }
}

Status Dispatcher::ForgetNode(const std::string& name) {
  auto found = nodes_.find(name);
  if (found == nodes_.end()) return NotFound("no node {}", name);
  if (found->second.connected) {
    return FailedPrecondition("node {} is connected: stop its agent before the node is deleted", name);
  }
  nodes_.erase(found);
  observer_.OnNodesChanged();
  return OkStatus();
}

void Dispatcher::Reset(uint64_t generation, const std::vector<FrontendPtr>& frontends) {
  journal_.Reset(generation, frontends);
  published_.assign(1, {generation, clock_.Now()});
  for (auto& [stream, session] : sessions_) {
    session.acked = session.sent = 0;
    Pump(session);
  }
}

void Dispatcher::Publish(uint64_t generation, const std::vector<FrontendPtr>& upserts,
                         const std::vector<v1::FrontendKey>& removals) {
  journal_.Publish(generation, upserts, removals);
  published_.emplace_back(generation, clock_.Now());
  if (published_.size() > kPublishedKept) published_.pop_front();
  for (auto& [stream, session] : sessions_) Pump(session);
}

Dispatcher::Session* Dispatcher::Find(Stream* stream) {
  auto found = sessions_.find(stream);
  return found == sessions_.end() ? nullptr : &found->second;
}

void Dispatcher::OnOpened(Stream* stream) {
  Session& session = sessions_[stream];
  session.stream = stream;
  session.id = next_session_++;
  session.opened = session.last_message = clock_.Now();
  if (shut_down_) Close(session, shutdown_status_);
}

void Dispatcher::OnClosed(Stream* stream) {
  auto found = sessions_.find(stream);
  if (found == sessions_.end()) return;
  Node* node = found->second.node;
  sessions_.erase(found);
  if (node == nullptr) return;
  by_node_.erase(node->name);
  node->connected = false;
  node->away_since = clock_.Now();
  --connected_;
  ++counters_.disconnects;
  LogInfo("agent disconnected", {{"node", node->name}, {"acked", node->generation_acked}});
  observer_.OnNodesChanged();
}

void Dispatcher::OnMessage(Stream* stream, const v1::AgentMessage& message) {
  Session* session = Find(stream);
  if (session == nullptr || session->closing) return;
  session->last_message = clock_.Now();
  if (message.kind_case() == v1::AgentMessage::kHello) return OnHello(*session, message.hello());
  if (session->node == nullptr) {
    if (!session->hello) ProtocolError(*session, "the first message must be a Hello");
    return;  // a heartbeat that overtook the welcome
  }
  Node& node = *session->node;
  node.last_seen = clock_.WallNow();
  switch (message.kind_case()) {
    case v1::AgentMessage::kAck:
      return OnAck(*session, message.ack().generation());
    case v1::AgentMessage::kNack:
      return OnNack(*session, message.nack());
    case v1::AgentMessage::kTelemetry:
      return observer_.OnTelemetry(node, message.telemetry());
    case v1::AgentMessage::kSafety:
      node.safety = message.safety();
      return observer_.OnNodesChanged();
    case v1::AgentMessage::kEnded:
      return observer_.OnEnded(node, message.ended());
    case v1::AgentMessage::kHeartbeat:
    case v1::AgentMessage::kHello:
    case v1::AgentMessage::KIND_NOT_SET:  // a kind of a newer agent
      return;
  }
}

void Dispatcher::OnHello(Session& session, const v1::Hello& hello) {
  if (session.node != nullptr || session.hello) return ProtocolError(session, "a second Hello on one stream");
  if (!IsNodeName(hello.node_name())) {
    return ProtocolError(
        session, fmt::format("node_name must be 1 to {} letters, digits, '-', '.' or '_'; found {} bytes: "
                             "give weir-agent a --node-name like that",
                             kMaxNameBytes, hello.node_name().size()));
  }
  session.hello = hello;
  hellos_.push_back(session.stream);
}

void Dispatcher::WelcomePending() {
  std::vector<Stream*> streams;
  streams.swap(hellos_);
  std::vector<std::string> unnumbered;
  for (Stream* stream : streams) {
    const Session* session = Find(stream);
    if (session == nullptr || !session->hello || nodes_.contains(session->hello->node_name())) continue;
    unnumbered.push_back(session->hello->node_name());
  }
  std::sort(unnumbered.begin(), unnumbered.end());
  unnumbered.erase(std::unique(unnumbered.begin(), unnumbered.end()), unnumbered.end());
  std::map<std::string, uint32_t> numbers;
  Status status;
  if (!unnumbered.empty()) {
    auto answer = observer_.NumberNodes(unnumbered);
    status = answer.status();
    if (answer.ok()) numbers = *std::move(answer);
  }
  for (Stream* stream : streams) {
    Session* session = Find(stream);
    if (session == nullptr || session->closing || !session->hello) continue;
    const std::string& name = session->hello->node_name();
    if (auto known = nodes_.find(name); known != nodes_.end()) {
      Welcome(*session, known->second.number);
    } else if (auto fresh = numbers.find(name); fresh != numbers.end()) {
      Welcome(*session, fresh->second);
    } else {
      Close(*session, MakeStatus(grpc::StatusCode::UNAVAILABLE,
                                 "the controller could not number this node: " + Message(status)));
    }
  }
}

void Dispatcher::Welcome(Session& session, uint32_t number) {
  v1::Hello hello = *std::move(session.hello);
  session.hello.reset();
  Node& node = nodes_[hello.node_name()];
  node.name = hello.node_name();
  if (auto live = by_node_.find(node.name); live != by_node_.end()) {
    Session& older = *live->second;
    ++counters_.replaced;
    LogWarn("agent replaced by a newer connection of the same node name",
            {{"node", node.name}, {"instance", hello.instance()}, {"replaced_instance", node.instance}});
    older.node = nullptr;
    by_node_.erase(live);
    --connected_;
    Close(older, MakeStatus(grpc::StatusCode::ALREADY_EXISTS,
                            fmt::format(
                                "a newer connection took over node name {} (instance {}): each agent needs a "
                                "--node-name of its own",
                                node.name, hello.instance())));
  }
  MonotonicTime now = clock_.Now();
  node.number = number;
  node.connected = true;
  node.connected_since = now;
  node.last_seen = clock_.WallNow();
  node.agent_version = hello.agent_version();
  node.kernel_release = hello.kernel_release();
  node.instance = hello.instance();
  node.abilities.assign(hello.abilities().begin(), hello.abilities().end());
  node.generation_sent = node.generation_acked = node.generation_nacked = 0;
  node.nack_reason.clear();
  session.node = &node;
  by_node_[node.name] = &session;
  ++connected_;
  ++counters_.connects;

  uint64_t held = hello.controller_id_held() == options_.controller_id ? hello.generation_held() : 0;
  if (held > journal_.generation()) {
    LogWarn("agent holds a generation this state directory does not know; was an older copy put back?",
            {{"node", node.name}, {"held", held}, {"generation", journal_.generation()}});
    observer_.OnAgentAhead(held);
    held = 0;
  }
  session.acked = session.sent = held;
  node.generation_acked = node.generation_sent = held;

  v1::ControllerMessage message;
  v1::Welcome& welcome = *message.mutable_welcome();
  welcome.set_controller_id(options_.controller_id);
  welcome.set_node_number(number);
  welcome.mutable_heartbeat_interval()->set_milliseconds(
      static_cast<uint64_t>(options_.heartbeat_interval.count()));
  LogInfo("agent connected",
          {{"node", node.name}, {"number", number}, {"version", node.agent_version}, {"held", held}});
  Send(session, Serialize(message));
  for (const v1::ControllerMessage& first : observer_.OnWelcome(node)) Send(session, Serialize(first));
  Pump(session);
  observer_.OnNodesChanged();
}

void Dispatcher::Tell(const std::string& node, const v1::ControllerMessage& message) {
  const auto session = by_node_.find(node);
  if (session == by_node_.end() || session->second->closing) return;
  Send(*session->second, Serialize(message));
}

void Dispatcher::Send(Session& session, grpc::ByteBuffer message) {
  counters_.bytes += message.Length();
  session.queue.push_back(std::move(message));
  if (session.writing || session.closing) return;
  session.writing = true;
  session.stream->Write(session.queue.front());
}

void Dispatcher::OnWritten(Stream* stream) {
  Session* session = Find(stream);
  if (session == nullptr) return;
  session->queue.pop_front();
  session->writing = false;
  if (session->closing) return;
  if (session->queue.empty()) return Pump(*session);
  session->writing = true;
  stream->Write(session->queue.front());
}

void Dispatcher::Pump(Session& session) {
  // An update begins on an empty queue, but for the first, which may wait behind the welcome.
  bool backlog = session.queue.size() > (session.updated ? 0 : 1);
  if (session.node == nullptr || session.closing || backlog) return;
  MonotonicTime now = clock_.Now();
  bool retry = session.refused && now - session.answered_at >= options_.retry_interval;
  if (session.sent == journal_.generation() && !retry) return;
  // An agent carries what it refused along until the refusal has reached us; from then on we do.
  auto update = journal_.UpdateFrom(session.refused ? session.acked : session.sent);
  ++(update->full ? counters_.snapshots : counters_.deltas);
  session.sent = session.node->generation_sent = update->generation;
  session.updated = true;
  session.refused = false;
  for (const auto& message : update->messages) Send(session, message);
}

void Dispatcher::RecordLatency(const Session& session, uint64_t generation) {
  auto published = std::lower_bound(published_.begin(), published_.end(), generation,
                                    [](const auto& entry, uint64_t number) { return entry.first < number; });
  if (published == published_.end() || published->first != generation) return;
  // A node that came later is measured from when its session began.
  MonotonicTime start = std::max(published->second, session.opened);
  double seconds = std::chrono::duration<double>(clock_.Now() - start).count();
  const auto& bounds = Counters::kLatencyBounds;
  ++counters_.latency_buckets[std::lower_bound(bounds.begin(), bounds.end(), seconds) - bounds.begin()];
  counters_.latency_sum_s += seconds;
}

void Dispatcher::OnAck(Session& session, uint64_t generation) {
  if (generation > session.sent || generation == 0) {
    return ProtocolError(session, fmt::format("acknowledged generation {}, but the newest sent is {}",
                                              generation, session.sent));
  }
  Node& node = *session.node;
  if (generation <= session.acked) return;
  ++counters_.acks;
  RecordLatency(session, generation);
  session.acked = node.generation_acked = generation;
  if (generation == session.sent) session.refused = false;
  if (generation >= node.generation_nacked) {
    node.generation_nacked = 0;
    node.nack_reason.clear();
  }
  Pump(session);
  observer_.OnNodesChanged();
}

void Dispatcher::OnNack(Session& session, const v1::Nack& nack) {
  if (nack.generation() > session.sent || nack.generation() == 0) {
    return ProtocolError(session, fmt::format("refused generation {}, but the newest sent is {}",
                                              nack.generation(), session.sent));
  }
  ++counters_.nacks;
  Node& node = *session.node;
  session.answered_at = clock_.Now();
  session.refused = nack.generation() == session.sent;
  if (nack.generation() >= node.generation_nacked && nack.generation() > node.generation_acked) {
    node.generation_nacked = nack.generation();
    node.nack_reason = nack.reason().substr(0, kMaxReasonBytes);
    if (node.nack_reason.empty()) node.nack_reason = "no reason given";
  }
  LogWarn("agent refused a generation",
          {{"node", node.name}, {"generation", nack.generation()}, {"reason", nack.reason()}});
  Pump(session);
  observer_.OnNodesChanged();
}

void Dispatcher::Close(Session& session, const grpc::Status& status) {
  if (session.closing) return;
  session.closing = true;
  session.closing_since = clock_.Now();
  session.stream->Close(status);
}

void Dispatcher::ProtocolError(Session& session, const std::string& text) {
  ++counters_.protocol_errors;
  LogWarn("agent broke the protocol",
          {{"node", session.node != nullptr ? session.node->name : ""}, {"found", text}});
  Close(session, MakeStatus(grpc::StatusCode::INVALID_ARGUMENT, text));
}

void Dispatcher::TickSession(Session& session, MonotonicTime now) {
  auto allowed = options_.heartbeat_interval * options_.missed_heartbeats_allowed;
  if (session.closing) {
    if (now - session.closing_since >= options_.heartbeat_interval) session.stream->Abort();
    return;
  }
  if (now - session.last_message >= allowed) {
    ++counters_.missed_heartbeats;
    std::string text = fmt::format("nothing heard for {} ms: connection given up",
                                   std::chrono::duration_cast<std::chrono::milliseconds>(allowed).count());
    LogWarn("agent dropped", {{"node", session.node != nullptr ? session.node->name : ""}, {"reason", text}});
    return Close(session, MakeStatus(grpc::StatusCode::DEADLINE_EXCEEDED, text));
  }
  if (session.node == nullptr) return;
  Pump(session);
  if (!session.queue.empty()) return;  // what is on its way says as much as a heartbeat
  v1::ControllerMessage message;
  message.mutable_heartbeat()->set_sequence(++session.heartbeats);
  Send(session, Serialize(message));
}

void Dispatcher::Tick() {
  MonotonicTime now = clock_.Now();
  int slice = tick_++ % kTicksPerInterval;
  for (auto& [stream, session] : sessions_) {
    if (static_cast<int>(session.id % kTicksPerInterval) == slice) TickSession(session, now);
  }
}

void Dispatcher::Shutdown(const grpc::Status& status) {
  shut_down_ = true;
  shutdown_status_ = status;
  for (auto& [stream, session] : sessions_) Close(session, status);
}

}  // namespace weir::dispatch
