#include "tests/integration/agent/fake_controller.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <cstdlib>
#include <utility>

namespace weir {

std::shared_ptr<AgentStream> AgentStream::Make() {
  std::shared_ptr<AgentStream> stream(new AgentStream);
  stream->self_ = stream;
  stream->StartRead(&stream->reading_);
  return stream;
}

void AgentStream::Send(v1::ControllerMessage message) {
  const std::lock_guard lock(mutex_);
  if (status_) return;
  to_send_.push_back(std::move(message));
  if (to_send_.size() == 1) StartWrite(&to_send_.front());
}

void AgentStream::Send(v1::Update update) {
  v1::ControllerMessage message;
  *message.mutable_update() = std::move(update);
  Send(std::move(message));
}

void AgentStream::Welcome(std::chrono::milliseconds heartbeat, uint32_t node_number,
                          const std::string& controller_id) {
  v1::ControllerMessage message;
  message.mutable_welcome()->set_controller_id(controller_id);
  message.mutable_welcome()->set_node_number(node_number);
  message.mutable_welcome()->mutable_heartbeat_interval()->set_milliseconds(
      static_cast<uint64_t>(heartbeat.count()));
  Send(std::move(message));
}

void AgentStream::Heartbeat() {
  v1::ControllerMessage message;
  message.mutable_heartbeat()->set_sequence(1);
  Send(std::move(message));
}

std::optional<v1::AgentMessage> AgentStream::Next(v1::AgentMessage::KindCase kind) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  std::unique_lock lock(mutex_);
  while (true) {
    while (!received_.empty()) {
      const bool found = received_.front().kind_case() == kind;
      if (!found && (received_.front().has_ack() || received_.front().has_nack())) return std::nullopt;
      v1::AgentMessage message = std::move(received_.front());
      received_.pop_front();
      if (found) return message;
    }
    if (status_ || changed_.wait_until(lock, deadline) == std::cv_status::timeout) return std::nullopt;
  }
}

std::string AgentStream::Answer() {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  std::unique_lock lock(mutex_);
  while (true) {
    while (!received_.empty()) {
      const v1::AgentMessage message = std::move(received_.front());
      received_.pop_front();
      if (message.has_ack()) return "ack " + std::to_string(message.ack().generation());
      if (message.has_nack()) {
        return "nack " + std::to_string(message.nack().generation()) + ": " + message.nack().reason();
      }
    }
    if (status_ || changed_.wait_until(lock, deadline) == std::cv_status::timeout) return "none";
  }
}

bool AgentStream::WaitForEnd() {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return status_.has_value(); });
}

void AgentStream::End(const grpc::Status& status) {
  const std::lock_guard lock(mutex_);
  if (status_) return;
  status_ = status;
  changed_.notify_all();
  FinishIfIdle();
}

void AgentStream::FinishIfIdle() {
  if (status_ && to_send_.empty() && !std::exchange(finished_, true)) Finish(*status_);
}

void AgentStream::OnReadDone(bool ok) {
  if (!ok) return End();
  {
    const std::lock_guard lock(mutex_);
    received_.push_back(std::move(reading_));
    changed_.notify_all();
  }
  StartRead(&reading_);
}

void AgentStream::OnWriteDone(bool ok) {
  const std::lock_guard lock(mutex_);
  to_send_.pop_front();
  if (!ok) to_send_.clear();
  if (!to_send_.empty()) return StartWrite(&to_send_.front());
  FinishIfIdle();
}

FakeController::FakeController(int port, std::shared_ptr<grpc::ServerCredentials> credentials) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:" + std::to_string(port),
                           credentials ? credentials : grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  if (!server_ || port_ == 0) std::abort();
}

FakeController::~FakeController() { server_->Shutdown(std::chrono::system_clock::now()); }

grpc::ServerBidiReactor<v1::AgentMessage, v1::ControllerMessage>* FakeController::Connect(
    grpc::CallbackServerContext*) {
  auto stream = AgentStream::Make();
  const std::lock_guard lock(mutex_);
  streams_.push_back(stream);
  changed_.notify_all();
  return stream.get();
}

std::shared_ptr<AgentStream> FakeController::NextAgent(v1::Hello* hello) {
  std::shared_ptr<AgentStream> stream;
  {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kPatience, [&] { return !streams_.empty(); })) return nullptr;
    stream = std::move(streams_.front());
    streams_.pop_front();
  }
  const auto message = stream->Next(v1::AgentMessage::kHello);
  if (!message) return nullptr;
  if (hello != nullptr) *hello = message->hello();
  return stream;
}

}  // namespace weir
