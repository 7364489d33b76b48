// split.smi-spec.io TrafficSplit, as Argo Rollouts and Flagger write it.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <set>

#include "controller/model/kinds.h"

namespace weir::model {
namespace {

constexpr Refusal kSpecRefused[] = {
    {"matches", "connect() sees addresses, not requests: routes and headers cannot be matched", "remove it"},
};

constexpr uint64_t kMilli = 1000;

/// A Kubernetes quantity in thousandths: "20", "500m", "1e3", "0.5", "2k". nullopt for what is none, is
/// negative, is finer than a thousandth or above the greatest weight.
std::optional<uint64_t> ParseQuantity(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const size_t number_end = std::min(text.find_first_not_of("0123456789."), text.size());
  std::string_view number = text.substr(0, number_end);
  const std::string_view suffix = text.substr(number_end);
  int exponent = 3;
  uint64_t factor = 1;
  if (suffix == "m") {
    exponent -= 3;
  } else if (suffix == "k") {
    exponent += 3;
  } else if (suffix == "M") {
    exponent += 6;
  } else if (suffix == "Ki") {
    factor = 1024;
  } else if (suffix.starts_with('e') || suffix.starts_with('E')) {
    std::string_view digits = suffix.substr(1);
    if (digits.starts_with('+')) digits.remove_prefix(1);
    int value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || value < -18 || value > 18)
      return std::nullopt;
    exponent += value;
  } else if (!suffix.empty()) {
    return std::nullopt;
  }
  // Digits with the point taken out; each digit behind it lowers the exponent.
  std::string digits;
  if (const size_t point = number.find('.'); point != std::string_view::npos) {
    const std::string_view fraction = number.substr(point + 1);
    if (fraction.find('.') != std::string_view::npos || fraction.size() > 32) return std::nullopt;
    exponent -= static_cast<int>(fraction.size());
    digits = std::string(number.substr(0, point)) + std::string(fraction);
  } else {
    digits = std::string(number);
  }
  if (digits.empty()) return std::nullopt;
  for (; exponent < 0 && digits.ends_with('0'); ++exponent) digits.pop_back();
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  if (digits.empty()) return 0;
  if (exponent < 0 || digits.size() + static_cast<size_t>(exponent) > 12) return std::nullopt;
  digits.append(static_cast<size_t>(exponent), '0');
  uint64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  value *= factor;  // at most 10^12 * 2^10
  if (value > kMilli * kMaxWeight) return std::nullopt;
  return value;
}

/// In thousandths.
std::optional<uint64_t> ReadWeight(const Cursor& backend, bool quantities) {
  const std::string expected = quantities
                                   ? fmt::format(
                                         "a quantity from 0 to {}, no finer than a thousandth, such as 20 or "
                                         "\"500m\"",
                                         kMaxWeight)
                                   : fmt::format("an integer from 0 to {}", kMaxWeight);
  const auto weight = backend.Require("weight", expected);
  if (!weight) return std::nullopt;
  if (!quantities) {
    const auto value = weight->Integer(0, kMaxWeight);
    if (!value) return std::nullopt;
    return static_cast<uint64_t>(*value) * kMilli;
  }
  const YamlNode& node = weight->node();
  const bool boolean = node.plain && TypeOfPlain(node.text) == PlainType::kBoolean;
  const auto value =
      node.kind == YamlNode::Kind::kScalar && !boolean ? ParseQuantity(node.text) : std::nullopt;
  if (!value) weight->Fail(expected);
  return value;
}

/// Thousandths to integers in the same proportion, left as they are if they are whole.
void SetWeights(const Cursor& backends, const std::vector<uint64_t>& milli, TrafficSplit& split) {
  uint64_t divisor = kMilli;
  if (!std::ranges::all_of(milli, [](uint64_t weight) { return weight % kMilli == 0; })) {
    divisor = 1;
    if (std::ranges::max(milli) > kMaxWeight) {
      divisor = std::accumulate(milli.begin(), milli.end(), uint64_t{0}, std::gcd<uint64_t, uint64_t>);
    }
  }
  if (std::ranges::max(milli) / divisor > kMaxWeight) {
    backends.FailText(Complaint("weights in proportions too fine",
                                fmt::format("proportions that integers up to {} can express", kMaxWeight),
                                "round the weights"));
    return;
  }
  for (size_t i = 0; i < milli.size(); ++i)
    split.backends[i].weight = static_cast<uint32_t>(milli[i] / divisor);
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
  std::vector<uint64_t> milli;
  for (const Cursor& item : items) {
    if (!item.ExpectMap({"service", "weight"})) continue;
    const std::string service = ReadServiceName(item, "service");
    if (!service.empty() && !names.insert(service).second) {
      item.Find("service")->Fail("each backend once", "add the weights up");
    }
    const auto weight = ReadWeight(item, quantities);
    if (!weight) continue;
    split.backends.push_back({service, 0});
    milli.push_back(*weight);
  }
  if (items.empty() || milli.size() != items.size()) return;
  if (std::ranges::all_of(milli, [](uint64_t weight) { return weight == 0; })) {
    backends->FailText(
        Complaint("only weights of 0", "at least one weight above 0", "give one backend a weight"));
    return;
  }
  SetWeights(*backends, milli, split);
}

}  // namespace

TrafficSplit ReadTrafficSplit(const Cursor& document, const Metadata& metadata, bool quantities) {
  TrafficSplit split;
  split.key = metadata.key;
  document.ExpectMap({"apiVersion", "kind", "metadata", "spec", "status"});
  const auto spec = document.Require("spec", "a map with service and backends");
  if (!spec || !spec->ExpectMap({"service", "backends"}, kSpecRefused)) return split;
  split.service = ReadServiceName(*spec, "service");
  ReadBackends(*spec, quantities, split);
  return split;
}

}  // namespace weir::model
