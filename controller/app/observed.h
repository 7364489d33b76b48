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
/// one before. Sums over nodes are kept as reports come, so that asking for one does not pass over all nodes.
class Observed {
 public:
  using Variants = std::vector<v1::VariantCount>;

  void Report(const std::string& node, const v1::Telemetry& telemetry);
  void Forget(const std::string& node);

  /// Per node, what it counted for `frontend` under exactly the frontend's present weights: counts of other
  /// weights say nothing of these. Nodes without such counts are left out. Passes over all nodes.
  std::map<std::string, const Variants*> Of(const v1::Frontend& frontend) const;
  /// The sum over nodes, by revision.
  std::map<std::string, uint64_t> Sum(const v1::Frontend& frontend) const;

 private:
  /// Over the nodes that count under one set of weights.
  struct Tally {
    std::map<std::string, uint64_t> connections;  // by revision
    size_t nodes = 0;
  };
  struct Split {
    Variants variants;
    std::string weights;  // names the set: see WeightsText
    uint64_t report = 0;
  };
  struct Node {
    std::unordered_map<std::string, Split> splits;  // by frontend key
    uint64_t reports = 0;
  };

  void Subtract(const std::string& key, const Split& split);
  void Add(const std::string& key, const Split& split);

  std::map<std::string, Node> nodes_;
  std::unordered_map<std::string, std::map<std::string, Tally>> tallies_;  // frontend key -> weights -> sum
};

}  // namespace weir::app
