/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The kernel/user border of bpf/ending.bpf.c, as maps.h is of the others; a layout test compares it likewise.
 */
#ifndef WEIR_INCLUDE_END_H
#define WEIR_INCLUDE_END_H

#include "weir/maps.h"

/* Names the pin, with every change of a layout below. */
#define WEIR_END_VERSION 1
#define WEIR_MAX_ENDS 65536 /* elements are made as they are needed */

/*
 * weir_ends (HASH without preallocation): what is to be ended. Written by user space, counted in by the
 * kernel, pinned: what was counted outlives an agent that was killed before it could tell.
 */
struct weir_end_key {
  struct weir_vip_key vip;
  __u32 pad;
  __u64 variant_id; /* 0: `vip` is an endpoint's own address, and all that lead there are meant */
};
WEIR_STATIC_ASSERT(sizeof(struct weir_end_key) == 32, "weir_end_key");

struct weir_end {
  __u64 order;    /* whose: FNV-1a of its name */
  __u64 tcp, udp; /* ended so far */
};
WEIR_STATIC_ASSERT(sizeof(struct weir_end) == 24, "weir_end");

enum weir_found_kind {
  WEIR_FOUND_OPEN,      /* can be ended in its network namespace */
  WEIR_FOUND_MULTIPATH, /* MPTCP: cannot be ended */
  WEIR_FOUND_UNDER_WAY, /* its connect() has not come as far as that yet */
};

/* What weir_end_find writes, per socket that is to be ended. */
struct weir_found {
  __u64 order;
  __u32 netns; /* inode number of its network namespace */
  __u8 kind;   /* enum weir_found_kind */
  __u8 protocol;
  __u16 pad;
};
WEIR_STATIC_ASSERT(sizeof(struct weir_found) == 16, "weir_found");

#endif /* WEIR_INCLUDE_END_H */
