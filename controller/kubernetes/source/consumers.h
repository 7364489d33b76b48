// Pods of namespaces that have some Service divided for themselves (Gateway API, GEP-1294: consumer routes):
// what nodes are told of them. Pure; one thread.
#pragma once

#include <boost/json.hpp>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "controller/kubernetes/client/resource.h"
#include "weir/v1/agent.pb.h"

namespace weir::kubernetes {

/// Where a pod runs, and what its cgroup is called by.
struct PodPlace {
  std::string node, uid;
  bool operator==(const PodPlace&) const = default;
};

/// For reflectors: only what PodPlaceOf reads stays. False: it runs nowhere, not yet or no more.
bool TrimPlacedPod(boost::json::object& pod);
/// Of a trimmed pod. A static pod's cgroup has the hash of its file in the place of the mirror pod's UID
/// (kubelet, kubernetes.io/config.hash).
PodPlace PodPlaceOf(const boost::json::object& pod);

class Consumers {
 public:
  /// The namespaces whose pods count from now on. One that is new is awaited until Listed().
  void SetNamespaces(const std::set<std::string>& namespaces);
  const std::set<std::string>& namespaces() const { return namespaces_; }

  /// nullopt: gone, or of no node. Of a namespace that does not count nothing is kept.
  void Put(const ObjectKey& pod, std::optional<PodPlace> place);
  /// Every pod of the namespace has been put.
  void Listed(const std::string& ns);
  /// None is awaited.
  bool complete() const;

  /// Nodes for which On() is another than at the last call.
  std::set<std::string> TakeChanged();
  v1::Consumers On(const std::string& node) const;

 private:
  void Erase(const ObjectKey& pod);

  std::set<std::string> namespaces_, listed_;
  std::map<ObjectKey, PodPlace> places_;
  std::map<std::string, std::set<ObjectKey>> on_;  // by node
  std::set<std::string> changed_;
};

}  // namespace weir::kubernetes
