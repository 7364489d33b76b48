/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The table of VIPs: where a key may be, each for everybody or for clients of one namespace. Pure: compiled
 * for BPF, for the agent that fills the table, and for tests.
 *
 * Linear probing (Knuth, TAOCP 3, 6.4): a key lies in the first WEIR_MAX_PROBES entries from its home, and no
 * entry before it is WEIR_VIP_FREE. With a load of at most 0.4 a search for longer than that happens less
 * than once in 10^10 tables; an insertion that would need it is refused.
 */
#ifndef WEIR_VIPS_H
#define WEIR_VIPS_H

#include "weir/maps.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#define WEIR_MAX_PROBES 128

/* Low half: home; high half: tag. Multiply and xor-shift (MurmurHash3's finalizer has the same shape). */
static __always_inline __u64 weir_vip_hash(const struct weir_vip_key* key, __u32 consumers) {
  const __u32* words = (const __u32*)key;
  const __u64 high = (__u64)words[0] << 32 | words[1], low = (__u64)words[2] << 32 | words[3];
  __u64 hash = low ^ high * 0xc2b2ae3d27d4eb4fULL ^ words[4] * 0x9e3779b97f4a7c15ULL ^
               consumers * 0x94d049bb133111ebULL;

  hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93ULL;
  hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93ULL;
  return hash ^ hash >> 32;
}

static __always_inline __u32 weir_vip_tag(__u64 hash) { return (__u32)(hash >> 32) | 2; }

#endif /* WEIR_VIPS_H */
