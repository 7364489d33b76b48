#include "controller/kubernetes/source/consumers.h"

#include <algorithm>
#include <utility>

#include "controller/model/claims.h"

namespace weir::kubernetes {
namespace {

namespace json = boost::json;

constexpr std::string_view kStaticPodHash = "kubernetes.io/config.hash";

}  // namespace

bool TrimPlacedPod(json::object& pod) {
  const std::string_view phase = Text(pod, {"status", "phase"});
  const std::string node(Text(pod, {"spec", "nodeName"}));
  if (node.empty() || phase == "Succeeded" || phase == "Failed") return false;
  const ObjectKey key = KeyOf(pod);
  std::string_view uid = Text(pod, {"metadata", "annotations", kStaticPodHash});
  if (uid.empty()) uid = Text(pod, {"metadata", "uid"});
  json::object trimmed{{"metadata",
                        {{"namespace", key.ns},
                         {"name", key.name},
                         {"uid", uid},
                         {"resourceVersion", ResourceVersionOf(pod)}}},
                       {"spec", {{"nodeName", node}}}};
  pod = std::move(trimmed);
  return true;
}

PodPlace PodPlaceOf(const json::object& pod) {
  return {std::string(Text(pod, {"spec", "nodeName"})), std::string(Text(pod, {"metadata", "uid"}))};
}

void Consumers::SetNamespaces(const std::set<std::string>& namespaces) {
  std::erase_if(listed_, [&](const std::string& ns) { return !namespaces.contains(ns); });
  for (auto it = places_.begin(); it != places_.end();) {
    const ObjectKey pod = (it++)->first;
    if (!namespaces.contains(pod.ns)) Erase(pod);
  }
  namespaces_ = namespaces;
}

void Consumers::Put(const ObjectKey& pod, std::optional<PodPlace> place) {
  if (!namespaces_.contains(pod.ns)) return;
  const auto known = places_.find(pod);
  if (known != places_.end() && place == known->second) return;
  Erase(pod);
  if (!place) return;
  on_[place->node].insert(pod);
  changed_.insert(place->node);
  places_.emplace(pod, *std::move(place));
}

void Consumers::Erase(const ObjectKey& pod) {
  const auto known = places_.find(pod);
  if (known == places_.end()) return;
  const auto node = on_.find(known->second.node);
  changed_.insert(node->first);
  node->second.erase(pod);
  if (node->second.empty()) on_.erase(node);
  places_.erase(known);
}

void Consumers::Listed(const std::string& ns) {
  if (namespaces_.contains(ns)) listed_.insert(ns);
}

bool Consumers::complete() const { return listed_ == namespaces_; }

std::set<std::string> Consumers::TakeChanged() { return std::exchange(changed_, {}); }

v1::Consumers Consumers::On(const std::string& node) const {
  v1::Consumers consumers;
  const auto pods = on_.find(node);
  if (pods == on_.end()) return consumers;
  for (const ObjectKey& key : pods->second) {
    v1::ConsumerPod& pod = *consumers.add_pods();
    pod.set_uid(places_.at(key).uid);
    pod.set_consumers(model::ConsumersNumber(key.ns));
  }
  return consumers;
}

}  // namespace weir::kubernetes
