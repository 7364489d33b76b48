/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* How long something was ago, by clocks that are read on several CPUs. */
#ifndef WEIR_ELAPSED_H
#define WEIR_ELAPSED_H

#include <stdbool.h>

#include "weir/maps.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/*
 * Whether `limit` nanoseconds have passed since `since`. Another CPU, or the agent, may have set `since`
 * after this one read its `now`: that is no time at all, not the 584 years of the unsigned difference.
 */
static __always_inline bool weir_elapsed(__u64 now, __u64 since, __u64 limit) {
  __s64 passed = (__s64)(now - since);

  return passed >= 0 && (__u64)passed >= limit;
}

#endif /* WEIR_ELAPSED_H */
