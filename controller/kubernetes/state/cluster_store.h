// What outlives a leader, kept in the API server: the engine's state in each Rollout's status, the generation
// and the nodes' numbers in a ConfigMap, analysis runs in one ConfigMap per Rollout.
//
//   Rollout shop/checkout      status.state                        the rollout at work (app::ToStored)
//   ConfigMap weir-state       data: controllerId, generation, digest, nodes
//   ConfigMap weir-runs-HASH   data: one run each; annotation weir.dev/rollout: shop/checkout
//
// A batch is not one transaction of the API server: the generation is written before the states that rest
// upon it. A leader that dies between them leaves a number nobody was told; its successor compiles other
// content than the digest says, and takes the next one.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "controller/kubernetes/client/client.h"
#include "controller/store/store.h"

namespace weir::kubernetes {

class ClusterStore final : public store::Store {
 public:
  struct Options {
    std::string ns;                           // of the ConfigMaps
    std::chrono::milliseconds timeout{2000};  // of one write; the io_context's thread waits so long
  };

  /// Takes up the ConfigMap, or makes it. Not on the Client's thread. `leads` is asked before every write: a
  /// controller that is deposed writes nothing. Both must outlive it.
  static Result<std::unique_ptr<ClusterStore>> Open(Client& client, std::function<bool()> leads,
                                                    Options options);

  Result<store::Contents> Load() override;
  /// ABORTED, and worth another try, when the API server does not answer in time (it may have been carried
  /// out then), this controller leads no more, or somebody else has written the ConfigMap.
  Status Commit(const store::Batch& batch) override;
  const std::string& controller_id() const override { return controller_id_; }

 private:
  ClusterStore(Client& client, std::function<bool()> leads, Options options)
      : client_(client), leads_(std::move(leads)), options_(std::move(options)) {}

  Result<Response> Ask(ApiRequest request);
  Status Write(const store::Batch& batch);
  Status TakeConfigMap(const Response& response);
  Status LoadStates(store::Contents& contents);
  Status LoadRuns(store::Contents& contents);
  Status CommitConfigMap(const store::Batch& batch);
  Status CommitRuns(const store::Batch& batch);

  Client& client_;
  std::function<bool()> leads_;
  const Options options_;
  std::string controller_id_, resource_version_;  // of the ConfigMap
  store::GenerationMark generation_;
  std::map<std::string, uint32_t> nodes_;
  std::map<store::RolloutKey, std::map<std::string, std::string>> runs_;  // as they are in the ConfigMaps
};

/// rollouts.weir.dev.
const Resource& RolloutResource();
/// v1 ConfigMaps.
const Resource& ConfigMapResource();

}  // namespace weir::kubernetes
