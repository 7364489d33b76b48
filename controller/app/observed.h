// Connections as the agents counted them, by frontend and node.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "weir/v1/agent.pb.h"

namespace weir::app {

/// Cumulative counts since the present weights began on each node; the newest report of a node replaces the
/// one before.
class Observed {
 public:
  using Variants = std::vector<v1::VariantCount>;

  void Report(const std::string& node, const v1::Telemetry& telemetry);
  void Forget(const std::string& node) { nodes_.erase(node); }

  /// Per node, what it counted for `frontend` under exactly the frontend's present weights: counts of other
  /// weights say nothing of these. Nodes without such counts are left out.
  std::map<std::string, const Variants*> Of(const v1::Frontend& frontend) const;
  /// The sum over nodes, by revision.
  std::map<std::string, uint64_t> Sum(const v1::Frontend& frontend) const;

 private:
  std::map<std::string, std::unordered_map<std::string, Variants>> nodes_;  // node -> frontend key -> counts
};

}  // namespace weir::app
