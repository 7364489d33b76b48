// The frontends in the kernel's maps: what is where, and how a change gets in whole or not at all.
// Knows maps, not programs. Not thread-safe.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "agent/datapath/maps.h"
#include "agent/datapath/range_allocator.h"
#include "agent/datapath/split_plan.h"

namespace weir::datapath {

class SplitTable {
 public:
  /// Takes over what the maps hold. DATA_LOSS if it contradicts itself (two splits share a place).
  static Result<SplitTable> Adopt(Maps maps);

  /// Copies frontends, cursors and affinity of another table, whose maps have other sizes, into this empty
  /// one. RESOURCE_EXHAUSTED if they do not fit.
  Status Import(const SplitTable& from);

  /// See Datapath::Apply.
  Status Apply(const Change& change, uint32_t node_number);

  uint64_t generation() const { return maps_.state[0].generation; }
  std::string controller_id() const;
  uint32_t node_number() const { return maps_.state[0].node_number; }
  void set_node_number(uint32_t number) { maps_.state[0].node_number = number; }

  Result<Stats> ReadStats() const;
  Result<std::vector<SplitCount>> ReadCounts() const;

 private:
  struct NamedVariant {
    std::string revision;
    uint32_t weight;
    bool operator==(const NamedVariant&) const = default;
  };
  struct Held {
    uint32_t service = 0;
    uint32_t slot = 0;
    std::vector<NamedVariant> variants;  // empty when adopted and not yet named by a controller
  };
  struct Range {
    uint32_t first, count;
  };
  static constexpr uint32_t kNone = ~0U;
  /// An upsert whose entries are written but not yet in force.
  struct Staged {
    const Frontend* frontend = nullptr;
    const Held* old = nullptr;  // null: a new frontend
    uint32_t service = kNone;
    uint32_t slot = kNone;
    uint32_t wide = kNone;    // kNone: at most two variants
    uint32_t cursor = kNone;  // kNone: the old split's is kept, or none is needed
    bool keeps_cursor = false;
    std::vector<Range> new_ranges;
    std::vector<Range> kept_ranges;  // shared with the old split
  };

  explicit SplitTable(Maps maps);
  Status AdoptFrontend(uint32_t service);
  Status ImportFrontend(const FrontendKey& key, const weir_split& split, const Maps& from);

  Status CheckChange(const Change& change) const;
  std::vector<FrontendKey> Removals(const Change& change) const;
  Status CheckCapacity(const Change& change, const std::vector<FrontendKey>& removals) const;
  bool IsInForce(const Frontend& frontend) const;
  bool SamePlan(const weir_split& split, const SplitPlan& plan) const;
  uint64_t HeldEndpoints(const weir_split& split) const;
  bool Holds(const weir_variant& variant, const std::vector<SocketAddress>& endpoints) const;
  const weir_split* SplitOf(const Held* held) const;

  Status Stage(const Frontend& frontend, uint64_t generation, uint32_t node_number, Staged& staged);
  Status StageVariants(const Frontend& frontend, const SplitPlan& plan, Staged& staged, weir_split& split);
  Status StageEndpoints(const std::vector<SocketAddress>& endpoints, Staged& staged, weir_variant& variant);
  Status StageCursor(const SplitPlan& plan, uint32_t phase, Staged& staged, weir_split& split);
  void Unstage(const Staged& staged);
  void Flip(const std::vector<Staged>& staged, const std::vector<FrontendKey>& removals);
  void Retire(const weir_split& split, uint32_t slot, const std::vector<Range>& kept, bool keeps_cursor);
  void Finish(const Change& change, const std::vector<Staged>& staged,
              const std::vector<FrontendKey>& removals);

  Maps maps_;
  std::map<FrontendKey, Held> held_;
  RangeAllocator splits_, wide_, cursors_, endpoints_;
  uint64_t slow_graces_ = 0;  // WaitForReaders fell back on RCU
};

}  // namespace weir::datapath
