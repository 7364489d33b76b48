/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * All that the HTTP recogniser wants of its surroundings: a packet's bytes, loops, the clock, a lock. In user
 * space the packet is a weir_http_bytes and nothing is locked.
 */
#ifndef WEIR_HTTP_IO_H
#define WEIR_HTTP_IO_H

#include <stdbool.h>

#include "weir/maps.h"

#ifdef __bpf__
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#else
#include <string.h>
#endif

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#ifdef __bpf__
#define WEIR_HTTP_GLOBAL __attribute__((noinline)) /* and not static */
/* The compiler knows nothing of it from here on. */
#define WEIR_HTTP_OPAQUE_VALUE(value) asm volatile("" : "+r"(value))
#else
#define WEIR_HTTP_GLOBAL static inline
#define WEIR_HTTP_OPAQUE_VALUE(value) (void)(value)
#endif

/* Eight bytes as a number, the first lowest. */
static __always_inline __u64 weir_http_load8(const void* from) {
  __u64 value;

#ifdef __bpf__
  value = *(const __u64*)from; /* map memory: the verifier allows it where the machine does */
#else
  memcpy(&value, from, sizeof value);
#endif
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  value = __builtin_bswap64(value);
#endif
  return value;
}

/*
 * How many of eight bytes come before the first control character (below 0x20, or, with space_too, 0x21).
 * The lowest flagged byte is always right, a higher one may not be (borrow).
 */
static __always_inline __u32 weir_http_dull_bytes(__u64 bytes, bool space_too) {
  const __u64 limit = space_too ? 0x2121212121212121ULL : 0x2020202020202020ULL;
  __u64 found = (bytes - limit) & ~bytes & 0x8080808080808080ULL;
  __u32 dull = 0;

  if (!found) return 8;
  if (!(found & 0xffffffffULL)) {
    dull += 4;
    found >>= 32;
  }
  if (!(found & 0xffffULL)) {
    dull += 2;
    found >>= 16;
  }
  return (found & 0xffULL) ? dull : dull + 1;
}

#ifdef __bpf__

/* `size` bytes are writable at `to`; count must be 1 .. size. 0, or -1. */
static __always_inline int weir_http_load(const void* packet, __u32 offset, void* to, const __u32 size,
                                          __u32 count) {
  asm volatile("" : "+r"(count)); /* or clang proves the check below needless and the verifier does not */
  if (count < 1 || count > size) return -1;
  return bpf_skb_load_bytes(packet, offset, to, count) ? -1 : 0;
}

static __always_inline void weir_http_loop(__u32 rounds, long (*step)(__u32, void*), void* context) {
  bpf_loop(rounds, step, context, 0);
}

static __always_inline __u64 weir_http_now(const void* packet) { return bpf_ktime_get_ns(); }
static __always_inline void weir_http_lock(struct weir_http_sock* sock) { bpf_spin_lock(&sock->lock); }
static __always_inline void weir_http_unlock(struct weir_http_sock* sock) { bpf_spin_unlock(&sock->lock); }

#else

struct weir_http_bytes {
  const __u8* data;
  __u32 size;
  __u64 now_ns;
};

static inline int weir_http_load(const void* packet, __u32 offset, void* to, __u32 size, __u32 count) {
  const struct weir_http_bytes* bytes = (const struct weir_http_bytes*)packet;

  if (count < 1 || count > size || offset > bytes->size || count > bytes->size - offset) return -1;
  memcpy(to, bytes->data + offset, count);
  return 0;
}

static inline void weir_http_loop(__u32 rounds, long (*step)(__u32, void*), void* context) {
  for (__u32 i = 0; i < rounds && !step(i, context); i++) {
  }
}

static inline __u64 weir_http_now(const void* packet) {
  return ((const struct weir_http_bytes*)packet)->now_ns;
}
static inline void weir_http_lock(struct weir_http_sock* sock) { (void)sock; }
static inline void weir_http_unlock(struct weir_http_sock* sock) { (void)sock; }

#endif

#endif /* WEIR_HTTP_IO_H */
