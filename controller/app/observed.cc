#include "controller/app/observed.h"

#include <algorithm>

#include "controller/compiler/compiler.h"

namespace weir::app {
namespace {

bool SameWeights(const Observed::Variants& counted, const v1::Frontend& frontend) {
  if (counted.size() != static_cast<size_t>(frontend.variants_size())) return false;
  return std::all_of(counted.begin(), counted.end(), [&](const v1::VariantCount& count) {
    return std::any_of(frontend.variants().begin(), frontend.variants().end(),
                       [&](const v1::Variant& variant) {
                         return variant.revision() == count.revision() && variant.weight() == count.weight();
                       });
  });
}

}  // namespace

void Observed::Report(const std::string& node, const v1::Telemetry& telemetry) {
  if (telemetry.epoch().empty()) return;  // says nothing of the splits
  auto& splits = nodes_[node];
  splits.clear();
  for (const auto& split : telemetry.splits()) {
    splits[compiler::ToKey(split.key())] = {split.variants().begin(), split.variants().end()};
  }
}

std::map<std::string, const Observed::Variants*> Observed::Of(const v1::Frontend& frontend) const {
  std::map<std::string, const Variants*> result;
  std::string key = compiler::ToKey(frontend.key());
  for (const auto& [node, splits] : nodes_) {
    auto found = splits.find(key);
    if (found != splits.end() && SameWeights(found->second, frontend)) result[node] = &found->second;
  }
  return result;
}

std::map<std::string, uint64_t> Observed::Sum(const v1::Frontend& frontend) const {
  std::map<std::string, uint64_t> sum;
  for (const auto& [node, variants] : Of(frontend)) {
    for (const auto& count : *variants) sum[count.revision()] += count.connections();
  }
  return sum;
}

}  // namespace weir::app
