#include "tests/integration/sim_agent.h"

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <deque>
#include <utility>

#include "common/net.h"

namespace weir::testing {
namespace {

constexpr std::chrono::milliseconds kReconnectDelay{20};

std::string KeyText(const v1::FrontendKey& key) {
  auto address = IpAddress::FromBytes(key.address());
  return ToString(SocketAddress{address.value_or(IpAddress{}), static_cast<uint16_t>(key.port())}) +
         (key.protocol() == v1::PROTOCOL_UDP ? "/udp" : "");
}

}  // namespace

// All functions but the callbacks are called under the agent's lock.
class SimAgent::Reactor final : public grpc::ClientBidiReactor<v1::AgentMessage, v1::ControllerMessage> {
 public:
  explicit Reactor(SimAgent& agent) : agent_(agent) {}

  void Run() {
    context_.set_wait_for_ready(agent_.options_.reconnect);
    agent_.stub_->async()->Connect(&context_, this);
    AddHold();  // writes come from other threads
    StartRead(&incoming_);
    StartCall();
  }
  void Send(const v1::AgentMessage& message) {
    if (over_) return;
    queue_.push_back(message);
    if (queue_.size() == 1) StartWrite(&queue_.front());
  }
  void Cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    std::unique_lock lock(agent_.mutex_);
    if (!ok) {
      if (!std::exchange(over_, true)) RemoveHold();
      return;
    }
    agent_.OnMessage(incoming_);
    StartRead(&incoming_);
  }
  void OnWriteDone(bool ok) override {
    std::unique_lock lock(agent_.mutex_);
    queue_.pop_front();
    if (ok && !over_ && !queue_.empty()) StartWrite(&queue_.front());
  }
  void OnDone(const grpc::Status& status) override {
    // Who waits for the end may be the end of the process: the call must be gone by then, and gRPC may shut
    // down.
    SimAgent& agent = agent_;
    std::unique_lock lock(agent.mutex_);
    delete this;
    agent.OnEnd(status);
  }

 private:
  SimAgent& agent_;
  grpc::ClientContext context_;
  v1::ControllerMessage incoming_;
  std::deque<v1::AgentMessage> queue_;  // its front is in flight
  bool over_ = false;
};

SimAgent::SimAgent(Options options)
    : options_(std::move(options)), stub_(v1::AgentService::NewStub(options_.channel)) {}

SimAgent::~SimAgent() { Stop(); }

void SimAgent::Start() {
  std::unique_lock lock(mutex_);
  stopping_ = false;
  Dial();
  if (!options_.reconnect) return;
  dialler_ = std::thread([this] {
    std::unique_lock guard(mutex_);
    while (true) {
      changed_.wait(guard, [this] { return stopping_ || reactor_ == nullptr; });
      // Not a wait for an event, but the pace of a client that is refused again and again.
      if (changed_.wait_for(guard, kReconnectDelay, [this] { return stopping_; })) return;
      if (reactor_ == nullptr) Dial();
    }
  });
}

void SimAgent::Stop() {
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    if (reactor_ != nullptr) reactor_->Cancel();
    changed_.notify_all();
    changed_.wait(lock, [this] { return reactor_ == nullptr; });
  }
  if (dialler_.joinable()) dialler_.join();
}

void SimAgent::Reboot() {
  std::unique_lock lock(mutex_);
  view_.generation = view_.received = 0;
  view_.frontends.clear();
  held_controller_id_.clear();
}

void SimAgent::Dial() {
  reactor_ = new Reactor(*this);
  staging_ = false;
  unanswered_.clear();
  ++view_.streams;
  v1::AgentMessage message;
  v1::Hello& hello = *message.mutable_hello();
  hello.set_node_name(options_.node_name);
  hello.set_agent_version("simulated");
  hello.set_kernel_release("none");
  hello.add_abilities("connect4");
  hello.set_generation_held(view_.generation);
  hello.set_controller_id_held(held_controller_id_);
  hello.set_instance(options_.node_name + "-" + std::to_string(view_.streams));
  reactor_->Run();
  reactor_->Send(message);
}

void SimAgent::OnEnd(const grpc::Status& status) {
  view_.connected = false;
  view_.ended = status;
  reactor_ = nullptr;
  changed_.notify_all();
}

void SimAgent::Enqueue(const v1::AgentMessage& message) {
  if (reactor_ != nullptr) reactor_->Send(message);
}

void SimAgent::OnMessage(const v1::ControllerMessage& message) {
  switch (message.kind_case()) {
    case v1::ControllerMessage::kWelcome:
      view_.connected = true;
      view_.node_number = message.welcome().node_number();
      view_.controller_id = message.welcome().controller_id();
      break;
    case v1::ControllerMessage::kUpdate:
      OnUpdate(message.update());
      break;
    case v1::ControllerMessage::kHeartbeat: {
      ++view_.heartbeats;
      v1::AgentMessage answer;
      answer.mutable_heartbeat()->set_sequence(view_.heartbeats);
      Enqueue(answer);
      break;
    }
    case v1::ControllerMessage::kEndOrders:  // it has no connections
    case v1::ControllerMessage::kConsumers:  // and no pods
    case v1::ControllerMessage::KIND_NOT_SET:
      break;
  }
  changed_.notify_all();
}

void SimAgent::OnUpdate(const v1::Update& update) {
  ++view_.parts;
  if (!std::exchange(staging_, true)) {
    // A delta builds upon what was received last, be it in force yet or not; see Update.base_generation.
    auto base = unanswered_.find(update.base_generation());
    if (update.full()) {
      staged_.clear();
    } else {
      staged_ = base != unanswered_.end() ? base->second : view_.frontends;
    }
  }
  if (options_.keep_content) {
    for (const auto& key : update.removals()) staged_.erase(KeyText(key));
    for (const auto& frontend : update.upserts()) staged_[KeyText(frontend.key())] = frontend;
  }
  if (!update.last()) return;
  staging_ = false;
  ++(update.full() ? view_.fulls : view_.deltas);
  view_.received = update.generation();
  unanswered_[update.generation()] = std::move(staged_);
  Answer answer = options_.answer ? options_.answer(update.generation()) : Answer::kAck;
  v1::AgentMessage message;
  if (answer == Answer::kNack) {
    message.mutable_nack()->set_generation(update.generation());
    message.mutable_nack()->set_reason(options_.nack_reason);
    return Enqueue(message);
  }
  // In force now, whether or not it is said.
  view_.generation = update.generation();
  held_controller_id_ = view_.controller_id;
  view_.frontends = std::move(unanswered_[update.generation()]);
  unanswered_.clear();
  if (options_.on_weights) {
    for (const auto& [key, frontend] : view_.frontends) {
      Weights weights;
      for (const auto& variant : frontend.variants()) weights[variant.revision()] = variant.weight();
      options_.on_weights(update.generation(), key, weights);
    }
  }
  if (answer == Answer::kNothing) return;
  message.mutable_ack()->set_generation(update.generation());
  if (options_.on_ack) options_.on_ack(update.generation());
  Enqueue(message);
}

void SimAgent::SendAck(uint64_t generation) {
  std::unique_lock lock(mutex_);
  v1::AgentMessage message;
  message.mutable_ack()->set_generation(generation);
  Enqueue(message);
}

void SimAgent::SendNack(uint64_t generation, const std::string& reason) {
  std::unique_lock lock(mutex_);
  v1::AgentMessage message;
  message.mutable_nack()->set_generation(generation);
  message.mutable_nack()->set_reason(reason);
  Enqueue(message);
}

void SimAgent::SendTelemetry(uint64_t connections) {
  std::unique_lock lock(mutex_);
  v1::AgentMessage message;
  v1::Telemetry& telemetry = *message.mutable_telemetry();
  telemetry.set_epoch("1");
  for (const auto& [key, frontend] : view_.frontends) {
    v1::SplitCount& split = *telemetry.add_splits();
    *split.mutable_key() = frontend.key();
    for (const auto& variant : frontend.variants()) {
      v1::VariantCount& count = *split.add_variants();
      count.set_revision(variant.revision());
      count.set_weight(variant.weight());
      count.set_connections(connections);
    }
  }
  Enqueue(message);
}

void SimAgent::Send(const v1::Telemetry& telemetry) {
  std::unique_lock lock(mutex_);
  v1::AgentMessage message;
  *message.mutable_telemetry() = telemetry;
  Enqueue(message);
}

void SimAgent::Send(const v1::Safety& safety) {
  std::unique_lock lock(mutex_);
  v1::AgentMessage message;
  *message.mutable_safety() = safety;
  Enqueue(message);
}

SimAgent::View SimAgent::view() const {
  std::unique_lock lock(mutex_);
  return view_;
}

uint64_t SimAgent::generation() const {
  std::unique_lock lock(mutex_);
  return view_.generation;
}

Weights SimAgent::WeightsOf(const View& view) {
  Weights weights;
  if (view.frontends.size() != 1) return weights;
  for (const auto& variant : view.frontends.begin()->second.variants())
    weights[variant.revision()] = variant.weight();
  return weights;
}

bool SimAgent::WaitFor(const std::function<bool(const View&)>& condition,
                       std::chrono::milliseconds timeout) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, timeout, [&] { return condition(view_); });
}

}  // namespace weir::testing
