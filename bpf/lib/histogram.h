/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The bucket of a duration, exact at every edge. Pure; compiled for user space too. */
#ifndef WEIR_HISTOGRAM_H
#define WEIR_HISTOGRAM_H

#include "weir/maps.h"

#ifdef __bpf__
#define WEIR_PURE_INLINE static __attribute__((always_inline)) inline
#else
#define WEIR_PURE_INLINE static inline
#endif

#define WEIR_HISTOGRAM_LAST_NS 128000000000ULL /* the upper bound of the last bucket but one */

/*
 * The least i with ns <= 2^(i/4) * 2^-20 s, that is with ns * 2^20 <= 10^9 * 2^(i/4). Left is an integer; for
 * i = 4q + r the right is floored to one from floor(10^9 * 2^(r/4) * 2^26) without a further error.
 */
WEIR_PURE_INLINE __u32 weir_bucket_of(__u64 ns) {
  __u64 scaled = ns << 20;
  __u32 octave, q = 0;

  if (ns > WEIR_HISTOGRAM_LAST_NS) return WEIR_HISTOGRAM_BUCKETS - 1;
  if (scaled <= 1000000000) return 0;
  octave = (__u32)((scaled - 1) / 1000000000); /* 2^q <= octave < 2^(q+1), q up to 26 */
  if (octave >= 1U << 16) {
    q += 16;
    octave >>= 16;
  }
  if (octave >= 1U << 8) {
    q += 8;
    octave >>= 8;
  }
  if (octave >= 1U << 4) {
    q += 4;
    octave >>= 4;
  }
  if (octave >= 1U << 2) {
    q += 2;
    octave >>= 2;
  }
  q += octave >> 1;
  return 4 * q + 1 + (scaled > 79806338548549967ULL >> (26 - q)) +
         (scaled > 94906265624251552ULL >> (26 - q)) + (scaled > 112863206338698109ULL >> (26 - q));
}

#ifdef __bpf__
static __always_inline void weir_observe(struct weir_histogram* histogram, __u64 ns) {
  __u32 bucket = weir_bucket_of(ns);

  /* Always true: this only tells the verifier the bound. */
  if (bucket < WEIR_HISTOGRAM_BUCKETS) __sync_fetch_and_add(&histogram->buckets[bucket], 1);
  __sync_fetch_and_add(&histogram->sum_ns, ns);
}
#endif

#endif /* WEIR_HISTOGRAM_H */
