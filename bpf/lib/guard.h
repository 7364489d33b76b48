/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The fail safe: a split with WEIR_SPLIT_FAIL_SAFE gives all its connections to its first variant, stable,
 * once no controller was heard for too long, or once the canary's connects failed. Both are decided here and
 * at once, so that they hold while no agent runs. A split that has come to that stays there: the agent
 * makes no sign of life before it has put another split in its place.
 */
#ifndef WEIR_GUARD_H
#define WEIR_GUARD_H

#include <stdbool.h>

#include "bpf/lib/choose.h"

/* The VIP by its number, if it is still the one that the socket dialled. */
static __always_inline struct weir_vip* weir_vip_of(const struct weir_sock* record) {
  __u32 service = record->service;
  struct weir_vip* vip = bpf_map_lookup_elem(&weir_vips, &service);

  return vip && weir_same_vip(&vip->key, &record->vip) ? vip : NULL;
}

static __always_inline struct weir_failing* weir_failing_of(const struct weir_sock* record, bool make) {
  struct weir_failing_key key = {.vip = record->vip, .endpoint = record->endpoint};
  struct weir_failing* failing = bpf_map_lookup_elem(&weir_failing, &key);
  struct weir_failing none = {};

  if (failing || !make) return failing;
  bpf_map_update_elem(&weir_failing, &key, &none, BPF_NOEXIST); /* another CPU may have been first */
  failing = bpf_map_lookup_elem(&weir_failing, &key);
  if (!failing) weir_count(WEIR_ERR_STATS);
  return failing;
}

/* k failures of the canary in a row, and stable answers: it is the canary, not the network. */
static __always_inline void weir_trip(struct weir_guard* guard, __u32 trip_after) {
  if (trip_after && guard->canary_failed >= trip_after && guard->stable_answered) guard->tripped = 1;
}

/* What came of a connection, for the split in force. The caller is a reader. */
static __always_inline void weir_judge(struct weir_guard* guard, const struct weir_split* split,
                                       const struct weir_sock* record, bool failed) {
  const struct weir_variant* stable = weir_variant_at(split, 0);
  const struct weir_variant* canary = weir_variant_at(split, 1);

  if (!(split->flags & WEIR_SPLIT_FAIL_SAFE) || split->variant_count < 2 || !stable || !canary) return;
  if (record->variant_id == stable->id) {
    guard->stable_answered = !failed;
  } else if (record->variant_id != canary->id) {
    return; /* of a split before */
  } else if (!failed) {
    guard->canary_failed = 0;
  } else if (__sync_fetch_and_add(&guard->canary_failed, 1) == 0) {
    guard->stable_answered = 0; /* what stable did before the row began says nothing */
  }
  weir_trip(guard, canary->trip_after);
}

static __always_inline void weir_judge_in_force(struct weir_vip* vip, const struct weir_sock* record,
                                                bool failed) {
  struct weir_reader reader;
  struct weir_split* split;

  if (weir_reader_enter(&reader)) return;
  split = weir_find_split(vip, &record->vip, vip->consumers);
  if (split) weir_judge(&vip->guard, split, record, failed);
  weir_reader_leave(&reader, false);
}

/* A guarded connection is open. Where nothing fails, this is two look-ups in arrays. */
static __always_inline void weir_guard_opened(const struct weir_sock* record) {
  struct weir_vip* vip = weir_vip_of(record);
  struct weir_failing* failing;

  if (!vip) return;
  if (vip->guard.canary_failed) weir_judge_in_force(vip, record, false);
  failing = vip->guard.failing ? weir_failing_of(record, false) : NULL;
  if (!failing) return;
  failing->in_row = 0;
  __sync_fetch_and_add(&failing->answered, 1);
}

/* A guarded connect() failed, and its client did not give up by itself. */
static __always_inline void weir_guard_failed(const struct weir_sock* record) {
  struct weir_vip* vip = weir_vip_of(record);
  struct weir_failing* failing;

  if (!vip) return;
  weir_judge_in_force(vip, record, true);
  failing = weir_failing_of(record, true);
  if (!failing) return;
  __sync_fetch_and_add(&failing->in_row, 1);
  vip->guard.failing = 1;
}

#endif /* WEIR_GUARD_H */
