// From a frontend as the controller sends it to the split the kernel shall hold. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/datapath/datapath.h"
#include "agent/datapath/revision_id.h"

namespace weir::datapath {

/// A variant that takes part in the choice.
struct PlannedVariant {
  uint64_t id = 0;
  uint32_t weight = 0;  // divided by the gcd of all that take part
  uint32_t index = 0;   // among Frontend::variants
  bool chosen = true;   // false: cut, only its name is kept
};

/// What the cursor depends on. The cursor is kept exactly when this stays equal.
struct SplitPlan {
  std::vector<PlannedVariant> variants;
  uint32_t total_weight = 0;
  bool fail_safe = false;  // the first variant is stable, and gets all when the fail safe says so
};

/// The variants that take part: weight above 0 and, unless each refuses its own share, at least one endpoint;
/// so one without endpoints gives its share to the others, in proportion. With a fail safe, stable comes
/// first, whatever its weight; without an endpoint of stable's there is nothing to fall back on.
SplitPlan MakePlan(const Frontend& frontend);

/// Who gets connection 0 of a split of more than two: the variant whose part of [0, 1) `phase` (of 2^32)
/// falls in.
uint32_t FirstPick(const SplitPlan& plan, uint32_t phase);

/// `phase` scaled to [0, total_weight).
uint32_t Offset(const SplitPlan& plan, uint32_t phase);

/// INVALID_ARGUMENT naming the frontend and the field: more than 16 variants, weights above 1,000,000, two
/// variants of one name, port 0, UDP for consumers, an endpoint of the other family, an endpoint that is the
/// frontend itself.
Status Validate(const Frontend& frontend);

/// Whether its packets are to be looked at: it is UDP, or asks for HTTP.
bool NeedsPackets(const Frontend& frontend);

}  // namespace weir::datapath
