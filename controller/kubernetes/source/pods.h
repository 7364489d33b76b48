// The labels of pods by which Rollouts tell revisions apart, and which EndpointSlices a pod is in. Pure.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "controller/kubernetes/client/resource.h"

namespace weir::kubernetes {

/// Few: those that some Rollout names.
using PodLabels = std::vector<std::pair<std::string, std::string>>;

class Pods {
 public:
  /// False where it is no news.
  bool Put(const ObjectKey& pod, std::optional<PodLabels> labels);
  /// The value of the label; nullptr: the pod is not known, or has none.
  const std::string* Find(const ObjectKey& pod, const std::string& label) const;

  /// The slice has endpoints of these pods, and of no others any more.
  void SetSlice(const ObjectKey& slice, const std::set<ObjectKey>& pods);
  /// Slices with an endpoint of the pod.
  const std::set<ObjectKey>& SlicesOf(const ObjectKey& pod) const;

 private:
  std::map<ObjectKey, PodLabels> labels_;
  std::map<ObjectKey, std::set<ObjectKey>> slices_of_, pods_of_;
};

}  // namespace weir::kubernetes
