// A controller that a test plays by hand: real gRPC, one stream after the other.
#pragma once

#include <grpcpp/server.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "weir/v1/agent.grpc.pb.h"

namespace weir {

inline constexpr const char* kControllerId = "6f9b1f0e-6f0e-4c55-9f35-1f2f3b1c0a11";
/// How long a test waits for what must come; far more than it takes.
inline constexpr std::chrono::seconds kPatience{20};

/// One agent's stream, from the controller's side. Any thread.
class AgentStream final : public grpc::ServerBidiReactor<v1::AgentMessage, v1::ControllerMessage> {
 public:
  static std::shared_ptr<AgentStream> Make();

  void Send(v1::ControllerMessage message);
  void Send(v1::Update update);
  void Welcome(std::chrono::milliseconds heartbeat = std::chrono::seconds(30), uint32_t node_number = 1,
               const std::string& controller_id = kControllerId);
  void Heartbeat();

  /// The next message of this kind. Heartbeats and telemetry are passed over; nullopt when an ack or nack
  /// stands before it, the stream ends, or patience does.
  std::optional<v1::AgentMessage> Next(v1::AgentMessage::KindCase kind);
  /// The next answer: "ack 7", "nack 7: reason", or "none".
  std::string Answer();
  /// Waits until the agent (or End) has ended the stream.
  bool WaitForEnd();
  void End(const grpc::Status& status = grpc::Status::OK);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override { End(); }
  void OnDone() override { self_.reset(); }

 private:
  AgentStream() = default;
  void FinishIfIdle();  // mutex_ held

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<v1::AgentMessage> received_;
  std::deque<v1::ControllerMessage> to_send_;  // the first is being written
  std::optional<grpc::Status> status_;         // set: ended
  bool finished_ = false;
  v1::AgentMessage reading_;
  std::shared_ptr<AgentStream> self_;  // until OnDone
};

class FakeController final : private v1::AgentService::CallbackService {
 public:
  /// Listens at `port`, 0: any free one.
  explicit FakeController(int port = 0, std::shared_ptr<grpc::ServerCredentials> credentials = nullptr);
  /// Ends every stream.
  ~FakeController() override;

  int port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  /// The next stream that an agent opens, with its Hello read; null when none comes.
  std::shared_ptr<AgentStream> NextAgent(v1::Hello* hello = nullptr);

 private:
  grpc::ServerBidiReactor<v1::AgentMessage, v1::ControllerMessage>* Connect(
      grpc::CallbackServerContext* context) override;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<AgentStream>> streams_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace weir
