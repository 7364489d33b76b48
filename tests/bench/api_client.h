// What the bench asks of a controller: manifests in, weights, and when all agents hold them.
#pragma once

#include <grpcpp/channel.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "weir/v1/rollouts.grpc.pb.h"

namespace weir::bench {

/// Follows the rollout bench/service-0 of a controller. Any failed call aborts the bench with the reason.
class ApiClient {
 public:
  explicit ApiClient(const std::string& address);
  /// Ends the watch.
  ~ApiClient();

  void Apply(const std::string& yaml);
  v1::Rollout SetWeight(uint32_t weight);
  enum class Verb { kPromote, kAbort, kRetry };
  v1::Rollout Command(Verb verb);
  /// Begins to watch; the rollout must exist.
  void Watch();
  /// Returns as soon as the watch shows a state for which `condition` holds; aborts after a minute.
  v1::Rollout WaitFor(const std::function<bool(const v1::Rollout&)>& condition);
  uint64_t Generation();
  /// The connected agents that hold the newest generation.
  uint32_t NodesUpToDate();

 private:
  std::unique_ptr<v1::WeirService::Stub> stub_;
  grpc::ClientContext watch_;
  std::thread reader_;
  std::mutex mutex_;
  std::condition_variable changed_;
  v1::Rollout seen_;
  bool any_ = false;
};

/// YAML of services [first, last) of scenario.h: Service and, for each revision, an EndpointSlice; v1 holds
/// the canary's endpoint's fellows, v2 the canary.
std::string ServicesYaml(uint32_t first, uint32_t last, uint32_t per_service);
/// YAML of the rollout of service 0: one weight, then a pause without end.
std::string RolloutYaml(const std::string& revision);

}  // namespace weir::bench
