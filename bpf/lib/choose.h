/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From a VIP to an endpoint: the look-ups around bpf/lib/select.h, and session affinity. */
#ifndef WEIR_CHOOSE_H
#define WEIR_CHOOSE_H

#include <stdbool.h>

#include "bpf/lib/elapsed.h"
#include "bpf/lib/fail_safe.h"
#include "bpf/lib/grace.h"
#include "bpf/lib/select.h"

enum weir_verdict {
  WEIR_PASS,   /* not ours, or nothing to choose from: leave the call as it is */
  WEIR_REFUSE, /* ECONNREFUSED */
  WEIR_CHOSEN, /* weir_target is filled */
};

/* What was chosen, and how to find it again. */
struct weir_target {
  struct weir_endpoint endpoint;
  __u32 endpoint_index; /* within its variant */
  __u64 variant_id;
  __u64 generation;
  __u32 service;
  __u32 variant;
  __u32 series;
  bool http;    /* HTTP/1.x is to be recognised on the connection */
  bool guarded; /* what comes of it matters: bpf/lib/guard.h */
  bool all_known;
};

static __always_inline bool weir_same_address(const struct weir_address* a, const struct weir_address* b) {
  const __u32* x = (const __u32*)a;
  const __u32* y = (const __u32*)b;

  return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

static __always_inline bool weir_same_vip(const struct weir_vip_key* a, const struct weir_vip_key* b) {
  return a->port_be == b->port_be && a->protocol == b->protocol &&
         weir_same_address(&a->address, &b->address);
}

static __always_inline bool weir_same_endpoint(const struct weir_endpoint* a, const struct weir_endpoint* b) {
  return a->port_be == b->port_be && weir_same_address(&a->address, &b->address);
}

/* The split in force for an entry, or NULL. The caller is a reader. */
static __always_inline struct weir_split* weir_find_split(const struct weir_vip* vip,
                                                          const struct weir_vip_key* key, __u32 consumers) {
  __u32 slot = *(volatile __u32*)&vip->slot;

  /* The entry may have become another's before we became a reader. */
  if (!slot || vip->consumers != consumers || !weir_same_vip(&vip->key, key)) return NULL;
  return bpf_map_lookup_elem(&weir_splits, &slot);
}

/* The variant at a place of the split, or NULL where the maps are not as expected. */
static __always_inline const struct weir_variant* weir_variant_at(const struct weir_split* split,
                                                                  __u32 place) {
  __u32 index = split->wide;
  struct weir_wide* wide;

  if (split->variant_count <= WEIR_PAIR) return &split->variants[place & (WEIR_PAIR - 1)];
  wide = bpf_map_lookup_elem(&weir_wide, &index);
  return wide ? &wide->variants[place & (WEIR_MAX_VARIANTS - 1)] : NULL;
}

static __always_inline int weir_fill_target(const struct weir_split* split,
                                            const struct weir_variant* variant, __u32 endpoint_index,
                                            struct weir_target* target) {
  __u32 index = variant->first_endpoint + endpoint_index;
  struct weir_endpoint* endpoint = bpf_map_lookup_elem(&weir_endpoints, &index);

  if (!endpoint) {
    weir_count(WEIR_ERR_BAD_INDEX);
    return -1;
  }
  target->endpoint = *endpoint;
  target->endpoint_index = endpoint_index;
  target->variant_id = variant->id;
  target->variant = variant->index;
  target->series = variant->series;
  target->http = (split->flags & WEIR_SPLIT_HTTP) != 0;
  target->guarded = (split->flags & (WEIR_SPLIT_FAIL_SAFE | WEIR_SPLIT_WATCHED)) != 0;
  target->all_known = (split->flags & WEIR_SPLIT_ALL_KNOWN) != 0;
  target->generation = split->generation;
  target->service = split->service;
  return 0;
}

struct weir_search {
  const struct weir_endpoint* wanted;
  __u32 first;
  __u32 found; /* index in the variant, or ~0 */
};

static long weir_search_step(__u32 i, void* context) {
  struct weir_search* search = context;
  __u32 index = search->first + i;
  struct weir_endpoint* endpoint = bpf_map_lookup_elem(&weir_endpoints, &index);

  if (!endpoint) return 1;
  if (!weir_same_endpoint(endpoint, search->wanted)) return 0;
  search->found = i;
  return 1;
}

/*
 * Fills target if the endpoint that was chosen before may still be: its variant has weight and the endpoint
 * is one of it. `hint` is where it was; a change of the list moves it, then all are looked at.
 */
static __always_inline bool weir_still_there(const struct weir_vip* vip, const struct weir_split* split,
                                             const struct weir_endpoint* wanted, __u64 variant_id, __u32 hint,
                                             struct weir_target* target) {
  struct weir_search search = {.wanted = wanted, .found = ~0U};
  const struct weir_variant* variant;
  __u32 place;

  for (place = 0; place < WEIR_MAX_VARIANTS; place++) {
    if (place >= split->variant_count) return false;
    variant = weir_variant_at(split, place);
    if (!variant) return false;
    if (variant->id == variant_id) break;
  }
  if (place >= WEIR_MAX_VARIANTS || (place > 0 && weir_stable_only(vip, split))) return false;
  variant = weir_variant_at(split, weir_opaque(split, place));
  if (!variant) return false;
  if (hint < variant->endpoint_count && !weir_fill_target(split, variant, hint, target) &&
      weir_same_endpoint(&target->endpoint, wanted))
    return true;
  search.first = variant->first_endpoint;
  bpf_loop(variant->endpoint_count, weir_search_step, &search, 0);
  return search.found < variant->endpoint_count && !weir_fill_target(split, variant, search.found, target);
}

/* The next connection among more than two variants; false where the maps are not as expected. */
static __always_inline bool weir_take_many(const struct weir_split* split, struct weir_choice* choice) {
  __u32 cursor_index = split->cursor, wide_index = split->wide;
  struct weir_cursor* cursor = bpf_map_lookup_elem(&weir_cursors, &cursor_index);
  struct weir_wide* wide = bpf_map_lookup_elem(&weir_wide, &wide_index);

  if (!cursor || !wide) return false;
  bpf_spin_lock(&cursor->lock);
  weir_choose_many(split, wide->variants, cursor, choice);
  bpf_spin_unlock(&cursor->lock);
  return true;
}

/* A new connection: takes a number from the cursor, so its result must be used. The caller is a reader. */
static __always_inline enum weir_verdict weir_choose_new(struct weir_vip* vip, const struct weir_split* split,
                                                         struct weir_target* target) {
  const struct weir_variant* variant;
  struct weir_choice choice = {};

  if (split->variant_count == 0) {
    weir_count(split->on_empty == WEIR_ON_EMPTY_PASS ? WEIR_COUNT_PASSED_EMPTY : WEIR_COUNT_REFUSED_EMPTY);
    return split->on_empty == WEIR_ON_EMPTY_PASS ? WEIR_PASS : WEIR_REFUSE;
  }
  if (weir_stable_only(vip, split)) {
    choice.number = __sync_fetch_and_add(&vip->guard.diverted, 1);
  } else if (split->variant_count <= WEIR_PAIR) {
    weir_choose_pair(split, __sync_fetch_and_add(&vip->next[split->cursor & 1], 1), &choice);
  } else if (!weir_take_many(split, &choice)) {
    weir_count(WEIR_ERR_BAD_INDEX);
    return WEIR_PASS;
  }
  variant = weir_variant_at(split, choice.variant);
  if (!variant) return WEIR_PASS;
  if (variant->endpoint_count == 0) { /* proportional refusal */
    weir_count(WEIR_COUNT_REFUSED_EMPTY);
    return WEIR_REFUSE;
  }
  return weir_fill_target(split, variant, choice.number % variant->endpoint_count, target) ? WEIR_PASS
                                                                                           : WEIR_CHOSEN;
}

static __always_inline bool weir_use_affinity(const struct weir_vip* vip, const struct weir_split* split,
                                              struct weir_affinity* entry, __u64 now,
                                              struct weir_target* target) {
  struct weir_affinity seen = *entry;

  if (weir_elapsed(now, seen.last_used_ns, split->affinity_timeout_s * 1000000000ULL)) return false;
  if (!weir_still_there(vip, split, &seen.endpoint, seen.variant_id, seen.endpoint_index, target))
    return false;
  *(volatile __u64*)&entry->last_used_ns = now;
  weir_count(WEIR_COUNT_AFFINITY_HIT);
  return true;
}

/* sessionAffinity ClientIP: a network namespace keeps its endpoint until it was idle for the timeout. */
static __always_inline enum weir_verdict weir_choose_sticky(struct bpf_sock_addr* ctx, struct weir_vip* vip,
                                                            const struct weir_split* split,
                                                            struct weir_target* target) {
  struct weir_affinity_key key = {.vip = split->key, .netns_cookie = bpf_get_netns_cookie(ctx)};
  struct weir_affinity* entry = bpf_map_lookup_elem(&weir_affinity, &key);
  struct weir_affinity fresh = {};
  __u64 now = bpf_ktime_get_ns();
  enum weir_verdict verdict;
  long error;

  if (entry && weir_use_affinity(vip, split, entry, now, target)) return WEIR_CHOSEN;
  verdict = weir_choose_new(vip, split, target);
  if (verdict != WEIR_CHOSEN) return verdict;
  fresh.endpoint = target->endpoint;
  fresh.endpoint_index = target->endpoint_index;
  fresh.variant_id = target->variant_id;
  fresh.last_used_ns = now;
  error = bpf_map_update_elem(&weir_affinity, &key, &fresh, entry ? BPF_ANY : BPF_NOEXIST);
  if (error == -17 /* EEXIST: another CPU was first; the client stays with that choice */) {
    entry = bpf_map_lookup_elem(&weir_affinity, &key);
    if (entry) weir_use_affinity(vip, split, entry, now, target);
  } else if (error) {
    weir_count(WEIR_ERR_AFFINITY);
  }
  return WEIR_CHOSEN;
}

static __always_inline enum weir_verdict weir_choose(struct bpf_sock_addr* ctx, struct weir_vip* vip,
                                                     const struct weir_split* split,
                                                     struct weir_target* target) {
  return split->affinity_timeout_s ? weir_choose_sticky(ctx, vip, split, target)
                                   : weir_choose_new(vip, split, target);
}

#endif /* WEIR_CHOOSE_H */
