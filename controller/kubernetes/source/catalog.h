// From what the API server says to the objects the controller works with: only what a Rollout, a TrafficSplit
// or a route concerns, EndpointSlices by revision, and what does not fit left out with the reason. Pure; one
// thread.
#pragma once

#include <boost/json.hpp>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "controller/kubernetes/client/resource.h"
#include "controller/kubernetes/source/pods.h"
#include "controller/model/admit.h"
#include "controller/model/objects.h"

namespace weir::kubernetes {

class Catalog {
 public:
  using ObjectId = model::ObjectId;

  /// A Service, Rollout, AnalysisTemplate, Webhook, TrafficSplit, route or ReferenceGrant, as the API server
  /// has it: with kind and apiVersion. One that cannot be read takes the place of nothing that was right
  /// before: what a Rollout said last stays in force, and `refused` says why.
  void Put(const boost::json::object& object);
  void PutSlice(const boost::json::object& trimmed);
  /// `labels` of a pod; nullopt: it is gone.
  void PutPod(const ObjectKey& pod, std::optional<PodLabels> labels);
  /// Kind as model::KindOf gives it.
  void Remove(std::string_view kind, const ObjectKey& key);

  /// What a Rollout with a workload is to roll out: its spec.revision from now on. The engine's own changes
  /// (undo) are told here as well.
  void SetRevision(const ObjectKey& rollout, const std::string& revision);

  /// What changes of Given() since the last call.
  model::AdmissionChanges Take();
  /// What is admitted, but of Services and their slices only those that something admitted names: what only a
  /// refused route, TrafficSplit or Rollout names is kube-proxy's. As of the last Take().
  model::ObjectSet Given() const;

  const model::ObjectSet& admitted() const { return admitter_.admitted(); }
  const std::map<model::RouteId, model::RouteVerdict>& routes() const { return admitter_.routes(); }
  /// Why an object is not in force as it is written; "" where it is.
  std::string Refusal(const std::string& kind, const ObjectKey& key) const;
  /// Labels by which Rollouts group pods.
  std::set<std::string> RevisionLabels() const;
  /// Of routes that divide, or want to divide, a Service of another namespace for clients of their own.
  std::set<std::string> ConsumerNamespaces() const;
  /// Rollouts that could be read, admitted or not.
  const std::map<ObjectKey, model::Rollout>& rollouts() const { return rollouts_; }

 private:
  using Services =
      std::map<ObjectKey, std::string>;  // wanted ones, and the label by which their slices are divided

  Services WantedServices() const;
  void TakeServices(const Services& wanted, model::AdmissionChanges& changes);
  void TakeSlices(const Services& wanted, model::AdmissionChanges& changes);
  /// One slice for each revision of its pods, or the slice as it is where `label` is empty.
  void DeriveSlices(const ObjectKey& slice, const std::string& label,
                    std::map<ObjectKey, model::EndpointSlice>& out);
  void MarkSlicesOf(const ObjectKey& service);
  /// Services that something admitted names: a Rollout, a TrafficSplit, a route by a parent that takes it.
  std::set<ObjectKey> NamedServices() const;
  /// The same changes for Given(). `slices_only`: nothing else was touched.
  model::AdmissionChanges OnlyNamed(model::AdmissionChanges changes, bool slices_only);

  struct Slice {
    std::string json;  // trimmed
    ObjectKey service;
  };

  std::map<ObjectKey, model::Service> services_;
  std::map<ObjectKey, Slice> slices_;
  std::map<ObjectKey, std::set<ObjectKey>> slices_of_;  // by Service
  Pods pods_;
  std::map<ObjectKey, model::Rollout> rollouts_;
  std::map<ObjectKey, std::string> revisions_;  // of Rollouts with a workload
  std::map<ObjectId, model::Object>
      others_;  // splits, routes, ...: those that decide which Services are wanted
  std::map<ObjectId, std::string> unreadable_;

  model::AdmissionChanges pending_;  // of all but Services and slices
  std::set<ObjectKey> dirty_services_, dirty_slices_;
  bool wanted_changed_ = false;
  Services wanted_;
  std::map<ObjectKey, std::set<ObjectKey>> given_of_;  // what was made of a slice, by the slice
  model::Admitter admitter_;
  std::set<ObjectKey> named_;
  std::set<ObjectKey> given_slices_;
};

/// For reflectors: what of a Service, and of an EndpointSlice, is not needed goes.
bool TrimService(boost::json::object& service);
bool TrimSlice(boost::json::object& slice);

}  // namespace weir::kubernetes
