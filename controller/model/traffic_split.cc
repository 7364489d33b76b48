// split.smi-spec.io TrafficSplit, as Argo Rollouts and Flagger write it.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "controller/model/kinds.h"
#include "controller/model/quantity.h"

namespace weir::model {
namespace {

constexpr Refusal kSpecRefused[] = {
    {"matches", "connect() sees addresses, not requests: routes and headers cannot be matched", "remove it"},
};

constexpr Nano kUnit = 1'000'000'000;

/// v1alpha1 has quantities, where a weight that is left out is 0; later versions have integers and require
/// them. But an API server hands out in a later version what was written in v1alpha1: SMI's CRDs convert
/// nothing, and allow a string wherever a weight stands. So a string is a quantity in every version.
std::optional<Nano> ReadWeight(const Cursor& backend, bool quantities) {
  const auto weight = backend.Find("weight");
  if (!quantities && (!weight || weight->node().kind != YamlNode::Kind::kScalar || weight->node().plain)) {
    const auto integer = backend.Require("weight", fmt::format("an integer from 0 to {}", kMaxWeight));
    const auto value = integer ? integer->Integer(0, kMaxWeight) : std::nullopt;
    if (!value) return std::nullopt;
    return static_cast<Nano>(*value) * kUnit;
  }
  if (!weight) return Nano{0};
  const YamlNode& node = weight->node();
  const bool boolean = node.plain && TypeOfPlain(node.text) == PlainType::kBoolean;
  const auto value =
      node.kind == YamlNode::Kind::kScalar && !boolean ? ParseQuantity(node.text) : std::nullopt;
  if (!value) weight->Fail("a quantity from 0 up, such as 20, \"1k\" or \"500m\"");
  return value;
}

Nano GreatestCommonDivisor(Nano a, Nano b) {
  while (b != 0) a = std::exchange(b, a % b);
  return a;
}

/// What to divide the weights by so that they are integers in the same proportion: whole ones stay as they
/// are, others become thousandths, or whatever is fine enough.
Nano DivisorOf(const std::vector<Nano>& weights) {
  for (const Nano divisor : {kUnit, kUnit / 1000}) {
    const auto fits = [divisor](Nano weight) {
      return weight % divisor == 0 && weight / divisor <= static_cast<Nano>(kMaxWeight);
    };
    if (std::ranges::all_of(weights, fits)) return divisor;
  }
  return std::accumulate(weights.begin(), weights.end(), Nano{0}, GreatestCommonDivisor);
}

void SetWeights(const Cursor& backends, const std::vector<Nano>& weights, TrafficSplit& split) {
  const Nano divisor = DivisorOf(weights);
  if (*std::ranges::max_element(weights) / divisor > static_cast<Nano>(kMaxWeight)) {
    backends.FailText(Complaint("weights in proportions too fine",
                                fmt::format("proportions that integers up to {} can express", kMaxWeight),
                                "round the weights"));
    return;
  }
  for (size_t i = 0; i < weights.size(); ++i)
    split.backends[i].weight = static_cast<uint32_t>(weights[i] / divisor);
}

void ReadBackends(const Cursor& spec, bool quantities, TrafficSplit& split) {
  constexpr std::string_view kRule = "a list of 1 to 16 backends with service and weight";
  const auto backends = spec.Require("backends", kRule);
  if (!backends) return;
  const auto items = backends->Items();
  const bool list = backends->node().kind == YamlNode::Kind::kSequence;
  if (list && (items.empty() || items.size() > kMaxBackends)) {
    backends->FailText(Complaint(fmt::format("{} backends", items.size()), kRule,
                                 items.empty() ? "" : "Weir divides a Service between 16 variants at most"));
  }
  std::set<std::string> names;
  std::vector<Nano> weights;
  for (const Cursor& item : items) {
    if (!item.ExpectMap({"service", "weight"})) continue;
    const std::string service = ReadServiceName(item, "service");
    if (!service.empty() && !names.insert(service).second) {
      item.Find("service")->Fail("each backend once", "add the weights up");
    }
    const auto weight = ReadWeight(item, quantities);
    if (!weight) continue;
    split.backends.push_back({service, 0});
    weights.push_back(*weight);
  }
  if (items.empty() || weights.size() != items.size()) return;
  if (std::ranges::all_of(weights, [](Nano weight) { return weight == 0; })) {
    backends->FailText(
        Complaint("only weights of 0", "at least one weight above 0", "give one backend a weight"));
    return;
  }
  SetWeights(*backends, weights, split);
}

}  // namespace

TrafficSplit ReadTrafficSplit(const Cursor& document, const Metadata& metadata, bool quantities) {
  TrafficSplit split;
  split.key = metadata.key;
  split.created = metadata.created;
  document.ExpectMap({"apiVersion", "kind", "metadata", "spec", "status"});
  const auto spec = document.Require("spec", "a map with service and backends");
  if (!spec || !spec->ExpectMap({"service", "backends"}, kSpecRefused)) return split;
  split.service = ReadServiceName(*spec, "service");
  ReadBackends(*spec, quantities, split);
  return split;
}

}  // namespace weir::model
