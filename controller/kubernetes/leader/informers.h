// Everything the controller follows in the cluster: one reflector per resource, on the Client's thread; what
// they say comes to the controller's thread, in order.
//
// Kinds that belong to others (Argo Rollouts' AnalysisTemplate, SMI, Gateway API) may not be there, or in
// several versions: the first of ours that the API server serves is followed. While there is none, and when
// it is served no more, they are looked for again from time to time.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "controller/kubernetes/client/reflector.h"
#include "controller/kubernetes/source/consumers.h"
#include "controller/kubernetes/source/pods.h"

namespace weir::kubernetes {

/// Told on the controller's thread.
class InformerListener {
 public:
  virtual ~InformerListener() = default;
  /// Kind: "Service", "EndpointSlice", "Deployment", "ReplicaSet", "Rollout", ...; `object` trimmed, with
  /// kind and apiVersion.
  virtual void OnPut(std::string_view kind, boost::json::object object) = 0;
  virtual void OnDelete(std::string_view kind, const ObjectKey& key) = 0;
  /// nullopt: gone.
  virtual void OnPod(const ObjectKey& pod, std::optional<PodLabels> labels) = 0;
  /// Every pod there is has been told by these labels.
  virtual void OnPodsReady(const std::set<std::string>& labels) = 0;
  /// A pod of a namespace that WatchConsumers() named; nullopt: gone, or of no node.
  virtual void OnConsumer(const ObjectKey& pod, std::optional<PodPlace> place) = 0;
  /// Every pod of that namespace has been told.
  virtual void OnConsumersReady(const std::string& ns) = 0;
  /// Everything there was at the beginning has been told, but pods.
  virtual void OnReady() = 0;
};

class Informers {
 public:
  /// All must outlive it; used on `context`'s thread, which must run. `look_again`: how often to look for
  /// kinds that are not served.
  Informers(Client& client, boost::asio::io_context& context, InformerListener& listener,
            std::chrono::milliseconds look_again);
  /// Waits for the Client's thread to have stopped the reflectors: nothing is told after that.
  ~Informers();

  void Start();
  /// Pods are told by these labels; others than before: all are told anew.
  void WatchPods(const std::set<std::string>& labels);
  /// Pods of these namespaces are told with their nodes; those of others no more.
  void WatchConsumers(const std::set<std::string>& namespaces);

  /// Sums over the reflectors, by resource as kubectl names it. Any thread.
  std::map<std::string, ReflectorCounters> Counters() const;

 private:
  class Impl;
  Client& client_;
  std::shared_ptr<Impl> impl_;
};

}  // namespace weir::kubernetes
