#include "controller/app/observed.h"

#include <algorithm>

#include "controller/compiler/compiler.h"

namespace weir::app {
namespace {

/// The same for the same revisions with the same weights in whatever order.
template <typename VariantList>
std::string WeightsText(const VariantList& variants) {
  std::vector<std::string> parts;
  for (const auto& variant : variants) {
    parts.push_back(variant.revision() + '\0' + std::to_string(variant.weight()) + '\0');
  }
  std::sort(parts.begin(), parts.end());
  std::string text;
  for (const auto& part : parts) text += part;
  return text;
}

}  // namespace

void Observed::Add(const std::string& key, const Split& split) {
  Tally& tally = tallies_[key][split.weights];
  ++tally.nodes;
  for (const auto& count : split.variants) tally.connections[count.revision()] += count.connections();
}

void Observed::Subtract(const std::string& key, const Split& split) {
  const auto frontend = tallies_.find(key);
  const auto tally = frontend->second.find(split.weights);
  for (const auto& count : split.variants) tally->second.connections[count.revision()] -= count.connections();
  if (--tally->second.nodes > 0) return;
  frontend->second.erase(tally);
  if (frontend->second.empty()) tallies_.erase(frontend);
}

void Observed::Report(const std::string& name, const v1::Telemetry& telemetry) {
  if (telemetry.epoch().empty()) return;  // says nothing of the splits
  Node& node = nodes_[name];
  ++node.reports;
  for (const auto& message : telemetry.splits()) {
    const std::string key = compiler::ToKey(message.key());
    const auto [found, fresh] = node.splits.try_emplace(key);
    Split& split = found->second;
    if (!fresh) Subtract(key, split);
    split = {.variants = {message.variants().begin(), message.variants().end()},
             .weights = WeightsText(message.variants()),
             .report = node.reports};
    Add(key, split);
  }
  std::erase_if(node.splits, [&](const auto& entry) {
    if (entry.second.report == node.reports) return false;
    Subtract(entry.first, entry.second);
    return true;
  });
}

void Observed::Forget(const std::string& name) {
  const auto node = nodes_.find(name);
  if (node == nodes_.end()) return;
  for (const auto& [key, split] : node->second.splits) Subtract(key, split);
  nodes_.erase(node);
}

std::map<std::string, const Observed::Variants*> Observed::Of(const v1::Frontend& frontend) const {
  std::map<std::string, const Variants*> result;
  const std::string key = compiler::ToKey(frontend.key());
  const std::string weights = WeightsText(frontend.variants());
  for (const auto& [name, node] : nodes_) {
    const auto found = node.splits.find(key);
    if (found != node.splits.end() && found->second.weights == weights)
      result[name] = &found->second.variants;
  }
  return result;
}

std::map<std::string, uint64_t> Observed::Sum(const v1::Frontend& frontend) const {
  const auto found = tallies_.find(compiler::ToKey(frontend.key()));
  if (found == tallies_.end()) return {};
  const auto tally = found->second.find(WeightsText(frontend.variants()));
  if (tally == found->second.end()) return {};
  return tally->second.connections;
}

}  // namespace weir::app
