// The controller of one agent, played by the bench.
#pragma once

#include <grpcpp/server.h>

#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "weir/v1/agent.grpc.pb.h"

namespace weir::bench {

/// Listens on loopback and lends the stream of the first agent that connects to the bench's thread. Aborts
/// the bench with the reason when the agent does not do as expected.
class PlayedController {
 public:
  using Stream = grpc::ServerReaderWriter<v1::ControllerMessage, v1::AgentMessage>;

  PlayedController();
  /// Ends the stream.
  ~PlayedController();
  PlayedController(const PlayedController&) = delete;
  PlayedController& operator=(const PlayedController&) = delete;

  /// HOST:PORT.
  std::string address() const;
  /// Waits for the agent and its hello; welcomes it.
  void Welcome();
  void Send(const v1::ControllerMessage& message);
  void AwaitAck(uint64_t generation);

 private:
  class Service;
  int port_ = 0;
  std::unique_ptr<Service> service_;
  std::unique_ptr<grpc::Server> server_;
  Stream* stream_ = nullptr;
};

/// Service `service` of scenario.h with a stable revision (v1) and, of that weight in percent, a canary (v2),
/// if any.
void FillFrontend(uint32_t service, std::optional<uint32_t> canary_weight, uint32_t per_service,
                  v1::Frontend* frontend);
/// A full snapshot, in parts.
std::vector<v1::ControllerMessage> Snapshot(uint64_t generation, uint32_t services, uint32_t per_service,
                                            std::optional<uint32_t> canary_weight = 20);

}  // namespace weir::bench
