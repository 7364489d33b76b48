// Leads Deployments through their Rollouts: what a plan (workload/plan.h) asks for is given to the engine and
// written to the API server, one write per Deployment at a time; then it is looked at again. The controller's
// thread.
//
//   Deployment, ReplicaSets, engine --PlanWorkload--> revision, replicas --> engine
//                                                     Deployment's fields --> API server
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "controller/app/core.h"
#include "controller/kubernetes/client/event_book.h"
#include "controller/kubernetes/leader/api.h"
#include "controller/kubernetes/workload/plan.h"

namespace weir::kubernetes {

/// What of a Rollout's metadata matters here.
struct RolloutMetadata {
  std::string uid, resource_version;
  int64_t generation = 0;
  std::vector<std::string> finalizers;
  bool deleting = false;
};

class Workloads {
 public:
  /// What it needs of those around it.
  class Host {
   public:
    virtual ~Host() = default;
    /// At work; nullptr: there is none, or it is refused.
    virtual const model::Rollout* FindRollout(const ObjectKey& key) const = 0;
    /// As it is written, refused or not; nullptr: there is none that can be read.
    virtual const model::Rollout* FindWritten(const ObjectKey& key) const = 0;
    /// Also of one that is refused at the moment.
    virtual const app::RolloutEntry* FindEntry(const ObjectKey& key) const = 0;
    virtual Status Feed(const ObjectKey& rollout, const engine::Event& event) = 0;
    /// The revision a Rollout's Deployment has now is what it wants.
    virtual void WantRevision(const ObjectKey& rollout, const std::string& revision) = 0;
    /// TCP connections that are open to a revision, as far as agents have told; nullopt: nobody has.
    virtual std::optional<uint64_t> OpenConnections(const ObjectKey& rollout,
                                                    const std::string& revision) const = 0;
    /// What there is to say has changed.
    virtual void OnRemark(const ObjectKey& rollout) = 0;
    virtual void RecordEvent(const ObjectKey& rollout, EventType type, const std::string& reason,
                             const std::string& note) = 0;
  };

  Workloads(boost::asio::io_context& context, const Clock& clock, Api& api, Host& host);

  void PutDeployment(const boost::json::object& trimmed);
  void PutReplicaSet(const boost::json::object& trimmed);
  void PutRollout(const ObjectKey& key, RolloutMetadata metadata);
  /// "Deployment", "ReplicaSet" or "Rollout".
  void Remove(std::string_view kind, const ObjectKey& key);

  /// From then on it acts.
  void Start();
  /// Something about the Rollout has changed: it is looked at soon.
  void Changed(const ObjectKey& rollout);
  void Stop();

  /// What keeps the Rollout's Deployment waiting; empty: nothing.
  std::string Remark(const ObjectKey& rollout) const;
  /// nullptr: not known.
  const Deployment* FindDeployment(const ObjectKey& key) const;

 private:
  void LookSoon();
  void LookAtAll();
  void Look(const ObjectKey& rollout);
  void GiveBack(const ObjectKey& rollout, const RolloutMetadata& metadata);
  WorkloadFacts FactsOf(const ObjectKey& rollout, const model::Rollout& object);
  bool MayGo(const ObjectKey& rollout, const model::Rollout& object, const std::string& leaving);
  void Say(const ObjectKey& rollout, const WorkloadPlan& plan);
  bool HoldFinalizer(const ObjectKey& rollout);
  void WriteFinalizers(const ObjectKey& rollout, std::vector<std::string> finalizers);
  void Write(const ObjectKey& rollout, const Deployment& deployment, const WorkloadWrite& write, int tries);
  void Put(const ObjectKey& rollout, const Deployment& planned, const WorkloadWrite& write, int tries,
           boost::json::object deployment, const boost::json::value& pod_template);
  void Done(const ObjectKey& rollout, const Status& status, const std::string& what);
  void RolloutsOf(const ObjectKey& deployment);

  struct Leaving {
    std::string revision;
    MonotonicTime since;
  };

  boost::asio::io_context& context_;
  const Clock& clock_;
  Api& api_;
  Host& host_;
  std::map<ObjectKey, Deployment> deployments_;
  std::map<ObjectKey, ReplicaSet> sets_;
  std::map<std::string, std::set<ObjectKey>> sets_of_;  // by the Deployment's uid
  std::map<ObjectKey, RolloutMetadata> rollouts_;
  std::map<ObjectKey, Leaving> leaving_;
  std::map<ObjectKey, std::string> remarks_;
  std::map<ObjectKey, std::vector<ReplicaSet>> looked_at_;  // sets of the plan at hand
  std::set<ObjectKey> dirty_, writing_, again_;             // Rollouts; again: looked at while being written
  boost::asio::steady_timer timer_;                         // pods that are leaving, writes that failed
  bool started_ = false, scheduled_ = false, stopped_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weir::kubernetes
