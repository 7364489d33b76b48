// Which address and port belongs to which Service: kept between changes, so that one of an EndpointSlice is
// checked without going through all Services. Pure.
#pragma once

#include <functional>
#include <unordered_map>

#include "common/status.h"
#include "controller/model/objects.h"

namespace weir::model {

struct Dialled {
  IpAddress address;
  uint16_t port = 0;
  Protocol protocol = Protocol::kTcp;
  bool operator==(const Dialled&) const = default;
};
struct DialledHash {
  size_t operator()(const Dialled& dialled) const noexcept {
    const size_t rest = static_cast<size_t>(dialled.port) << 8 | static_cast<size_t>(dialled.protocol);
    return std::hash<IpAddress>{}(dialled.address) ^ rest * 0x9e3779b97f4a7c15ULL;
  }
};

/// The Service of each VIP; the first by name where several have it. Points into the ObjectSet it was made
/// of: good until a Service there changes.
using VipIndex = std::unordered_map<Dialled, const ObjectKey*, DialledHash>;
VipIndex MakeVipIndex(const ObjectSet& objects);

/// ValidateSet's answer where nothing but these EndpointSlices has changed since it was OK. Those that are
/// gone break no rule. Cost is in their size.
Status ValidateSlices(const ObjectSet& objects, const VipIndex& vips, const std::vector<ObjectKey>& slices);

}  // namespace weir::model
