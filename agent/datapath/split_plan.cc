#include "agent/datapath/split_plan.h"

#include <numeric>
#include <optional>
#include <set>

#include "weir/maps.h"

namespace weir::datapath {

namespace {

/// The stable variant's index where there is something to fall back from and on; else none.
std::optional<uint32_t> FallBackOn(const Frontend& frontend) {
  if (!frontend.fail_safe) return std::nullopt;
  std::optional<uint32_t> stable;
  bool exposed = frontend.cut != Cut::kNone;
  for (uint32_t index = 0; index < frontend.variants.size(); ++index) {
    const Variant& variant = frontend.variants[index];
    const bool is_stable = variant.revision == frontend.fail_safe->stable;
    if (is_stable && !variant.endpoints.empty()) stable = index;
    exposed = exposed || (!is_stable && variant.weight > 0);
  }
  return exposed ? stable : std::nullopt;
}

}  // namespace

SplitPlan MakePlan(const Frontend& frontend) {
  SplitPlan plan;
  const std::optional<uint32_t> stable = FallBackOn(frontend);
  const bool cut = stable && frontend.cut != Cut::kNone;
  uint32_t divisor = 0;
  const auto add = [&](uint32_t index, bool chosen) {
    const Variant& variant = frontend.variants[index];
    plan.variants.push_back(
        {.id = RevisionId(variant.revision), .weight = variant.weight, .index = index, .chosen = chosen});
    divisor = std::gcd(divisor, variant.weight);
  };
  if (stable) add(*stable, true);
  for (uint32_t index = 0; index < frontend.variants.size(); ++index) {
    const Variant& variant = frontend.variants[index];
    if (index == stable) continue;
    if (cut && variant.weight == 0) {
      add(index, false);
      continue;
    }
    if (variant.weight == 0) continue;
    if (variant.endpoints.empty() && frontend.on_empty != OnEmpty::kRefuseShare) continue;
    add(index, true);
  }
  if (divisor == 0) return {};  // nothing that may be chosen
  plan.fail_safe = stable && !cut && plan.variants.size() > 1;
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

Status Validate(const Frontend& frontend) {
  const std::string name = ToString(frontend.key);
  if (frontend.key.address.port == 0)
    return InvalidArgument("frontend {}: port: found 0, expected 1..65535", name);
  if (frontend.key.consumers != 0 && frontend.key.protocol != Protocol::kTcp)
    return InvalidArgument("frontend {}: consumers: only TCP is divided for the clients of one namespace",
                           name);
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
