// Objects of one kind that come from two resources, by namespace and name: one of the first hides one of the
// second. Pure; one thread.
#pragma once

#include <array>
#include <boost/json.hpp>
#include <cstddef>
#include <map>
#include <optional>
#include <utility>

#include "controller/kubernetes/client/resource.h"

namespace weir::kubernetes {

class Layers {
 public:
  enum class Effect { kNone, kPut, kDelete };
  /// What others see of a change.
  struct Seen {
    Effect effect = Effect::kNone;
    boost::json::object object = {};  // kPut
  };

  /// `layer`: 0 hides 1.
  Seen Put(size_t layer, const ObjectKey& key, boost::json::object object) {
    std::array<std::optional<boost::json::object>, 2>& both = objects_[key];
    both.at(layer) = std::move(object);
    if (layer > 0 && both[0]) return {};
    return {Effect::kPut, *both.at(layer)};
  }

  Seen Remove(size_t layer, const ObjectKey& key) {
    const auto found = objects_.find(key);
    if (found == objects_.end()) return {};
    auto& both = found->second;
    both.at(layer).reset();
    const bool other = both[1 - layer].has_value();
    if (!other) objects_.erase(found);
    if (!other) return {Effect::kDelete};
    if (layer > 0) return {};
    return {Effect::kPut, *both[1]};
  }

 private:
  std::map<ObjectKey, std::array<std::optional<boost::json::object>, 2>> objects_;
};

}  // namespace weir::kubernetes
