/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The figures of a series: found, made when first needed, added to. */
#ifndef WEIR_STATS_H
#define WEIR_STATS_H

#include "bpf/lib/map_defs.h"

/* Too big for the stack. In .rodata, of which each object has its own. */
const struct weir_stats weir_no_stats = {};

/* The element of a series that user space knows; NULL where nothing is to be measured. */
static __always_inline struct weir_stats* weir_stats_of(__u32 series) {
  struct weir_stats* stats;

  if (!series) return NULL;
  stats = bpf_map_lookup_elem(&weir_stats, &series);
  if (stats) return stats;
  /* Forgotten meanwhile: its last sockets must not bring a nameless element back. */
  if (!bpf_map_lookup_elem(&weir_series, &series)) return NULL;
  /* BPF_NOEXIST: another CPU may have been first. */
  bpf_map_update_elem(&weir_stats, &series, &weir_no_stats, BPF_NOEXIST);
  stats = bpf_map_lookup_elem(&weir_stats, &series);
  if (!stats) weir_count(WEIR_ERR_STATS);
  return stats;
}

static __always_inline void weir_add(__u64* figure, __u64 amount) { __sync_fetch_and_add(figure, amount); }

#endif /* WEIR_STATS_H */
