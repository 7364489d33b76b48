// Waiting for programs that may hold an old split (bpf/lib/grace.h is the readers' side).
#pragma once

#include "agent/datapath/maps.h"

namespace weir::datapath {

/// Returns when every program that began before the call has ended: whatever it stored before the call is
/// what every later connect() sees, and what was replaced may be used anew. Takes microseconds, or as long as
/// a preempted reader stays off its CPU. Should the readers' counters never agree, it falls back on
/// MEMBARRIER_CMD_GLOBAL, which waits for an RCU grace period (kernel/sched/membarrier.c), and says so
/// through the return value: false.
bool WaitForReaders(const Maps& maps);

}  // namespace weir::datapath
