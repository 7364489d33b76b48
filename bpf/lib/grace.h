/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Readers make themselves known, so that user space can wait for those that may hold an old split: the
 * counting of SRCU (kernel/rcu/srcutree.c), per CPU and phase. Both atomics return a value, because only then
 * are they full barriers on every architecture (Documentation/bpf/linux-notes, memory-barriers.txt).
 */
#ifndef WEIR_GRACE_H
#define WEIR_GRACE_H

#include <stdbool.h>

#include "bpf/lib/map_defs.h"

struct weir_reader {
  struct weir_grace_cpu* cpu;
  __u32 phase;
};

static __always_inline void weir_fetch_inc(__u64* value) {
  __u64 old = __sync_fetch_and_add(value, 1);

  asm volatile("" : : "r"(old));
}

/* 0, or -1 if the maps are not as expected: then do not read. */
static __always_inline int weir_reader_enter(struct weir_reader* reader) {
  __u32 zero = 0, cpu = bpf_get_smp_processor_id() & (WEIR_GRACE_CPUS - 1);
  struct weir_state* state = bpf_map_lookup_elem(&weir_state, &zero);

  reader->cpu = bpf_map_lookup_elem(&weir_grace, &cpu);
  if (!state || !reader->cpu) return -1;
  reader->phase = *(volatile __u32*)&state->phase & 1;
  weir_fetch_inc(&reader->cpu->entered[reader->phase]);
  return 0;
}

/* `chosen` counts too: one atomic does for both. */
static __always_inline void weir_reader_leave(const struct weir_reader* reader, bool chosen) {
  weir_fetch_inc(chosen ? &reader->cpu->chosen[reader->phase & 1] : &reader->cpu->left[reader->phase & 1]);
}

#endif /* WEIR_GRACE_H */
