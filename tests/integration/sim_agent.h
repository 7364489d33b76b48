// An agent without a kernel: a real gRPC stream that keeps what it is told in memory and answers as told.
//
// For tests and benchmarks of the controller; many agents may share a channel. Any thread may call it; hooks
// run on gRPC's threads under the agent's lock and must not call back into it.
#pragma once

#include <grpcpp/channel.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "weir/v1/agent.grpc.pb.h"

namespace weir::testing {

/// Revision -> weight, of one frontend.
using Weights = std::map<std::string, uint32_t>;

class SimAgent {
 public:
  enum class Answer { kAck, kNack, kNothing };

  struct Options {
    std::string node_name;
    std::shared_ptr<grpc::Channel> channel;
    bool reconnect = false;    // a thread dials again whenever the stream has ended
    bool keep_content = true;  // false: only generations, for large benchmarks
    std::string nack_reason = "map full";
    /// Decides the answer to each complete generation; none: always kAck.
    std::function<Answer(uint64_t generation)> answer;
    /// Sees each frontend's weights as they are put in force, by "address:port" of the frontend.
    std::function<void(uint64_t generation, const std::string& frontend, const Weights& weights)> on_weights;
    /// Called when an ack is handed to gRPC.
    std::function<void(uint64_t generation)> on_ack;
  };

  explicit SimAgent(Options options);
  /// Stops.
  ~SimAgent();

  /// Opens a stream, saying hello with what is held. Before it: not started, or stopped.
  void Start();
  /// Cancels the stream and waits for its end; what is held is kept, as the kernel would.
  void Stop();
  /// Forgets what is held, as a rebooted node would. Only while stopped.
  void Reboot();
  /// Acks (or, with a reason, nacks) a generation that was answered with kNothing.
  void SendAck(uint64_t generation);
  void SendNack(uint64_t generation, const std::string& reason);
  /// Sends counts for the present weights of the frontends held: `connections` to each variant.
  void SendTelemetry(uint64_t connections);

  /// Sends this, whatever is held.
  void Send(const v1::Telemetry& telemetry);
  void Send(const v1::Safety& safety);

  struct View {
    bool connected = false;  // welcomed on the present stream
    std::string controller_id;
    uint32_t node_number = 0;
    uint64_t generation = 0;  // in force
    uint64_t received = 0;    // complete, whatever became of it
    std::map<std::string, v1::Frontend> frontends;
    uint64_t fulls = 0, deltas = 0, parts = 0, heartbeats = 0, streams = 0;
    std::optional<grpc::Status> ended;  // of the last stream that ended
  };
  View view() const;
  uint64_t generation() const;
  /// Weights of the only frontend, or of none.
  static Weights WeightsOf(const View& view);

  /// True as soon as `condition` holds; false when it still does not after `timeout`.
  bool WaitFor(const std::function<bool(const View&)>& condition,
               std::chrono::milliseconds timeout = std::chrono::seconds(10)) const;

 private:
  class Reactor;
  void Dial();
  void OnMessage(const v1::ControllerMessage& message);
  void OnUpdate(const v1::Update& update);
  void Enqueue(const v1::AgentMessage& message);
  void OnEnd(const grpc::Status& status);

  const Options options_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  View view_;
  std::map<std::string, v1::Frontend> staged_;
  std::map<uint64_t, std::map<std::string, v1::Frontend>> unanswered_;
  bool staging_ = false;
  std::string held_controller_id_;
  Reactor* reactor_ = nullptr;  // deletes itself at the end of its stream
  bool stopping_ = false;
  std::unique_ptr<v1::AgentService::Stub> stub_;
  std::thread dialler_;
};

}  // namespace weir::testing
