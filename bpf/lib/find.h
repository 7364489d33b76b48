/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Whether what a client dials is a VIP: the one look-up that every connect() pays for. */
#ifndef WEIR_FIND_H
#define WEIR_FIND_H

#include "bpf/lib/choose.h"
#include "bpf/lib/vips.h"

/* Entries of weir_vips - 1: a power of two. Set before the programs are loaded. */
const volatile __u32 weir_vip_mask = 0;

/* The table's entry for what is dialled, of everybody (0) or of those consumers; or NULL. */
static __always_inline struct weir_vip* weir_find_vip(const struct weir_vip_key* key, __u32 consumers) {
  const __u64 hash = weir_vip_hash(key, consumers);
  const __u32 tag = weir_vip_tag(hash);
  __u32 i;

#pragma clang loop unroll(disable)
  for (i = 0; i < WEIR_MAX_PROBES; i++) {
    __u32 index = ((__u32)hash + i) & weir_vip_mask;
    struct weir_vip* vip = bpf_map_lookup_elem(&weir_vips, &index);
    __u32 found;

    if (!vip) return NULL;
    found = *(volatile __u32*)&vip->tag;
    if (found == WEIR_VIP_FREE) return NULL;
    if (found == tag && vip->consumers == consumers && weir_same_vip(&vip->key, key)) return vip;
  }
  return NULL;
}

#endif /* WEIR_FIND_H */
