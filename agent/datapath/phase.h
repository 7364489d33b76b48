// The node's place in the cluster: where its cursors begin.
#pragma once

#include <cstdint>

#include "agent/datapath/datapath.h"

namespace weir::datapath {

/// The van der Corput sequence in base 2: element `number`, as a fraction of 2^32. Any N successive elements
/// divide [0, 1) evenly, up to O(log N) of them (Niederreiter 1992, section 3.1).
uint32_t VanDerCorput(uint32_t number);

/// A node's phase for one frontend, as a fraction of 2^32: the node's element, turned by a hash of the
/// frontend, so that one node is not the first to try the canary of every service. Turning keeps the evenness
/// over nodes.
uint32_t Phase(uint32_t node_number, const FrontendKey& frontend);

}  // namespace weir::datapath
