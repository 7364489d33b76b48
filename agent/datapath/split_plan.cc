#include "agent/datapath/split_plan.h"

#include <numeric>
#include <set>

#include "weir/maps.h"

namespace weir::datapath {

uint64_t Fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  }
  return hash;
}

SplitPlan MakePlan(const Frontend& frontend) {
  SplitPlan plan;
  uint32_t divisor = 0;
  for (uint32_t index = 0; index < frontend.variants.size(); ++index) {
    const Variant& variant = frontend.variants[index];
    if (variant.weight == 0) continue;
    if (variant.endpoints.empty() && frontend.on_empty != OnEmpty::kRefuseShare) continue;
    plan.variants.push_back({.id = Fnv1a(variant.revision), .weight = variant.weight, .index = index});
    divisor = std::gcd(divisor, variant.weight);
  }
  if (divisor == 0) return plan;  // nothing that may be chosen
  for (PlannedVariant& variant : plan.variants) {
    variant.weight /= divisor;
    plan.total_weight += variant.weight;
  }
  return plan;
}

uint32_t FirstPick(const SplitPlan& plan, uint32_t phase) {
  const uint64_t point = Offset(plan, phase);
  uint64_t end = 0;
  for (uint32_t place = 0; place < plan.variants.size(); ++place) {
    end += plan.variants[place].weight;
    if (point < end) return place;
  }
  return 0;
}

uint32_t Offset(const SplitPlan& plan, uint32_t phase) {
  return static_cast<uint32_t>((static_cast<uint64_t>(phase) * plan.total_weight) >> 32);
}

bool NeedsPackets(const Frontend& frontend) {
  return frontend.key.protocol == Protocol::kUdp || frontend.http;
}

std::string ToString(const FrontendKey& key) {
  return fmt::format("{} {}", ProtocolName(key.protocol), weir::ToString(key.address));
}

Status Validate(const Frontend& frontend) {
  const std::string name = ToString(frontend.key);
  if (frontend.key.address.port == 0)
    return InvalidArgument("frontend {}: port: found 0, expected 1..65535", name);
  if (frontend.variants.size() > WEIR_MAX_VARIANTS) {
    return InvalidArgument("frontend {}: variants: found {}, expected at most {}", name,
                           frontend.variants.size(), WEIR_MAX_VARIANTS);
  }
  std::set<std::string_view> revisions;
  for (const Variant& variant : frontend.variants) {
    if (!revisions.insert(variant.revision).second) {
      return InvalidArgument("frontend {}: variants: revision \"{}\" is given twice", name, variant.revision);
    }
    if (variant.weight > WEIR_MAX_WEIGHT) {
      return InvalidArgument("frontend {}: variant \"{}\": weight: found {}, expected 0..{}", name,
                             variant.revision, variant.weight, WEIR_MAX_WEIGHT);
    }
    for (const SocketAddress& endpoint : variant.endpoints) {
      const std::string where = fmt::format("frontend {}: variant \"{}\": endpoint {}", name,
                                            variant.revision, weir::ToString(endpoint));
      if (endpoint.port == 0) return InvalidArgument("{}: port 0, expected 1..65535", where);
      if (endpoint.address.family() != frontend.key.address.address.family()) {
        return InvalidArgument("{}: not of the frontend's address family", where);
      }
      if (endpoint == frontend.key.address) {
        return InvalidArgument("{}: the frontend itself: connections would loop", where);
      }
    }
  }
  return OkStatus();
}

}  // namespace weir::datapath
