/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Who gets the next connection. Pure: compiled for BPF, and for user space by tests and the fuzzer.
 *
 * After every connection n and for every variant v: |count_v(n) - n * w_v / W| < 1.
 *
 * One or two variants need a single number n. With the node's phase o in [0, W), the second variant has had
 * floor((n * w + o) / W) of the first n connections; that differs from n * w / W by less than one since o / W
 * is in [0, 1), and it begins at 0. Over nodes whose o / W are evenly spread, the connections numbered n are
 * divided evenly too.
 *
 * More variants: the j-th connection of v may be given from the moment n * w_v / W > j - 1 and must be by the
 * first n with n * w_v / W >= j. These are the windows of Pfair scheduling (Baruah et al. 1996,
 * "Proportionate progress"); on one processor earliest-deadline-first meets them all. Here the deadline is
 * compared exactly, as a fraction, by cross-multiplication (Tijdeman's chairman assignment orders in the same
 * way). Connection 0 may go to anyone, since all first windows are open and at every later time t at least
 * one slot is spare unless all windows that began have ended: that is where the node's phase comes in.
 */
#ifndef WEIR_SELECT_H
#define WEIR_SELECT_H

#include "weir/maps.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/*
 * An index below WEIR_MAX_VARIANTS whose value the verifier does not know: where it knows it, it follows what
 * comes after for each value apart, and loading takes ten times as long.
 */
static __always_inline __u32 weir_opaque(const struct weir_split* split, __u32 index) {
#ifdef __bpf__
  return (index + (__u32)split->zero) & (WEIR_MAX_VARIANTS - 1);
#else
  (void)split;
  return index;
#endif
}

struct weir_choice {
  __u32 variant; /* place among the split's variants */
  __u32 pad;
  __u64 number; /* how many connections that variant had before */
};

/*
 * How many of the first n connections went to the second of two variants with weight w of total W.
 * W > 0, w <= W <= 2 * WEIR_MAX_WEIGHT, offset < W; no overflow for any n.
 */
static __always_inline __u64 weir_second_count(__u64 n, __u64 w, __u64 total, __u64 offset) {
  return n / total * w + (n % total * w + offset) / total;
}

/* Connection n among one or two variants: weir_second_count(n) and whether n + 1 has more, in two divisions.
 */
static __always_inline void weir_choose_pair(const struct weir_split* split, __u64 n,
                                             struct weir_choice* choice) {
  /* The first one's weight, as it is in the line that has been read already. */
  const __u64 total = split->total_weight, w = total - split->variants[0].weight;
  __u64 periods, scaled, before;

  choice->variant = 0;
  choice->number = n;
  if (split->variant_count < 2) return;
  periods = n / total;
  scaled = (n - periods * total) * w + split->offset;
  before = scaled / total;
  choice->variant = scaled - before * total + w >= total;
  before += periods * w;
  choice->number = choice->variant ? before : n - before;
}

/*
 * The next connection among 3 to 16 variants. The caller holds cursor->lock. No helper is called.
 * `deficit` stays within +-total_weight, which is at most 16 * WEIR_MAX_WEIGHT.
 */
static __always_inline void weir_choose_many(const struct weir_split* split,
                                             const struct weir_variant* variants, struct weir_cursor* cursor,
                                             struct weir_choice* choice) {
  const __s64 total = split->total_weight;
  const __u32 first = cursor->next == 0 ? split->first_pick : WEIR_MAX_VARIANTS;
  __s64 best_slack = 0, best_weight = 0;
  __u32 best = WEIR_MAX_VARIANTS;
  __u32 i;

  for (i = 0; i < WEIR_MAX_VARIANTS; i++) {
    __s64 weight, due;

    if (i >= split->variant_count) break;
    weight = variants[i].weight;
    due = cursor->deficit[i] + weight;
    cursor->deficit[i] = (__s32)due;
    if (first < WEIR_MAX_VARIANTS ? i != first : due <= 0) continue;
    /* (total - due) / weight connections from now the window ends: the least wins, the lower index on a tie
     */
    if (best == WEIR_MAX_VARIANTS || (total - due) * best_weight < best_slack * weight) {
      best = weir_opaque(split, i);
      best_slack = total - due;
      best_weight = weight;
    }
  }
  cursor->next++;
  best &= WEIR_MAX_VARIANTS - 1; /* someone is always due: this only tells the verifier the bound */
  cursor->deficit[best] -= (__s32)total;
  choice->variant = best;
  choice->number = cursor->picked[best]++;
}

#endif /* WEIR_SELECT_H */
