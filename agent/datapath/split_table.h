// The frontends in the kernel's maps: what is where, and how a change gets in whole or not at all.
// Knows maps, not programs. Not thread-safe.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "agent/datapath/maps.h"
#include "agent/datapath/range_allocator.h"
#include "agent/datapath/series_table.h"
#include "agent/datapath/split_plan.h"

namespace weir::datapath {

class SplitTable {
 public:
  /// Takes over what the maps hold. DATA_LOSS if it contradicts itself (two splits share a place). `clock`
  /// outlives the table.
  static Result<SplitTable> Adopt(Maps maps, const Clock& clock);

  /// Copies frontends, cursors and affinity of another table, whose maps have other sizes, into this empty
  /// one. RESOURCE_EXHAUSTED if they do not fit.
  Status Import(const SplitTable& from);

  /// See Datapath::Apply.
  Status Apply(const Change& change, uint32_t node_number);

  uint64_t generation() const { return maps_.state[0].generation; }
  std::string controller_id() const;
  /// DATA_LOSS, with the first frontend, where the kernel's maps lack what this table has put into them:
  /// somebody else has written to them.
  Status CheckMaps() const;
  uint32_t node_number() const { return maps_.state[0].node_number; }
  void set_node_number(uint32_t number) { maps_.state[0].node_number = number; }

  const Maps& maps() const { return maps_; }
  /// Whether a frontend in force needs its packets looked at: it is UDP, or asks for HTTP.
  bool NeedsPackets() const { return packet_users_ > 0; }

  /// False: the kernel does not measure, and later splits name no series.
  void set_measured(bool measured) { measured_ = measured; }

  // See Datapath.
  void SetHeard(std::chrono::nanoseconds boottime);
  std::vector<GuardState> ReadGuards(std::chrono::nanoseconds boottime) const;
  Result<std::vector<EndpointFailures>> ReadFailures();
  Status ForgetFailures(const FrontendKey& key, const SocketAddress& endpoint);
  Status ExpectAnswer(const FrontendKey& key, const SocketAddress& endpoint);

  Result<Stats> ReadStats() const;
  Result<std::vector<SplitCount>> ReadCounts() const;
  /// See Datapath::ReadFigures. Forgets series that have been out of use for `grace`.
  Result<Figures> ReadFigures(std::chrono::nanoseconds grace);

 private:
  struct NamedVariant {
    std::string revision;
    uint32_t weight;
    bool operator==(const NamedVariant&) const = default;
  };
  struct Held {
    uint32_t service = 0;
    uint32_t slot = 0;
    bool needs_packets = false;
    std::vector<uint32_t> series;        // of its variants, as far as known
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

  SplitTable(Maps maps, const Clock& clock, SeriesTable series);
  Status AdoptFrontend(uint32_t service);
  Status ImportFrontend(const FrontendKey& key, const weir_split& split, const Maps& from);

  Status CheckChange(const Change& change) const;
  std::vector<FrontendKey> Removals(const Change& change) const;
  Status CheckCapacity(const Change& change, const std::vector<FrontendKey>& removals) const;
  bool IsInForce(const Frontend& frontend) const;
  bool SamePlan(const weir_split& split, const SplitPlan& plan) const;
  uint64_t HeldEndpoints(const weir_split& split) const;
  bool Holds(const weir_variant& variant, const std::vector<SocketAddress>& endpoints) const;
  void AssignSeries(const Frontend& frontend);
  uint32_t SeriesOf(const Frontend& frontend, uint32_t variant) const;
  void UseSeries(Held& held, std::vector<uint32_t> series);
  void Hold(const FrontendKey& key, uint32_t service, uint32_t slot);
  bool AnyFailing() const;
  void ResetGuard(const weir_split* old, uint32_t service, uint32_t slot);
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
  std::set<FrontendKey> guarded_;  // of these: a fail safe or a cut
  std::set<FrontendKey> watched_;  // WEIR_SPLIT_WATCHED
  RangeAllocator splits_, wide_, cursors_, endpoints_;
  const Clock* clock_;
  SeriesTable series_;
  bool measured_ = true;
  uint64_t packet_users_ = 0;  // frontends held whose packets are to be looked at
  uint64_t slow_graces_ = 0;   // WaitForReaders fell back on RCU
};

}  // namespace weir::datapath
