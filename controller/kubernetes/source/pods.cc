#include "controller/kubernetes/source/pods.h"

#include <algorithm>

namespace weir::kubernetes {

bool Pods::Put(const ObjectKey& pod, std::optional<PodLabels> labels) {
  const auto found = labels_.find(pod);
  if (!labels) {
    if (found == labels_.end()) return false;
    labels_.erase(found);
    return true;
  }
  if (found != labels_.end() && found->second == *labels) return false;
  labels_[pod] = *std::move(labels);
  return true;
}

const std::string* Pods::Find(const ObjectKey& pod, const std::string& label) const {
  const auto found = labels_.find(pod);
  if (found == labels_.end()) return nullptr;
  const auto value = std::ranges::find(found->second, label, &PodLabels::value_type::first);
  return value == found->second.end() ? nullptr : &value->second;
}

void Pods::SetSlice(const ObjectKey& slice, const std::set<ObjectKey>& pods) {
  std::set<ObjectKey>& present = pods_of_[slice];
  for (const ObjectKey& pod : present) {
    if (pods.contains(pod)) continue;
    const auto slices = slices_of_.find(pod);
    slices->second.erase(slice);
    if (slices->second.empty()) slices_of_.erase(slices);
  }
  for (const ObjectKey& pod : pods) slices_of_[pod].insert(slice);
  present = pods;
  if (present.empty()) pods_of_.erase(slice);
}

const std::set<ObjectKey>& Pods::SlicesOf(const ObjectKey& pod) const {
  static const std::set<ObjectKey> kNone;
  const auto found = slices_of_.find(pod);
  return found == slices_of_.end() ? kNone : found->second;
}

}  // namespace weir::kubernetes
