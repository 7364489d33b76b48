/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Whether a split's canary may have connections now. What it is judged by is written in bpf/lib/guard.h. */
#ifndef WEIR_FAIL_SAFE_H
#define WEIR_FAIL_SAFE_H

#include <stdbool.h>

#include "bpf/lib/elapsed.h"
#include "bpf/lib/map_defs.h"

/*
 * 1 once no controller was heard for longer; 0: never. CLOCK_BOOTTIME: a machine that was suspended was out
 * of reach meanwhile, and no step of a clock counts. A global function: verified once, not with each caller.
 */
__noinline int weir_cut_off(__u32 fail_safe_ms) {
  const __u64 patience = (__u64)fail_safe_ms * 1000000;
  __u32 zero = 0;
  struct weir_contact* contact = bpf_map_lookup_elem(&weir_contact, &zero);

  if (!patience || !contact) return 0;
  return weir_elapsed(bpf_ktime_get_boot_ns(), *(volatile __u64*)&contact->heard_ns, patience);
}

static __always_inline bool weir_stable_only(const struct weir_vip* vip, const struct weir_split* split) {
  if (!(split->flags & WEIR_SPLIT_FAIL_SAFE)) return false;
  return *(volatile __u8*)&vip->guard.tripped || weir_cut_off(split->fail_safe_ms);
}

#endif /* WEIR_FAIL_SAFE_H */
