/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The maps. User space sets max_entries before it loads the object. */
#ifndef WEIR_MAP_DEFS_H
#define WEIR_MAP_DEFS_H

#include <bpf/bpf_helpers.h>

#include "weir/maps.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct weir_vip);
  __uint(max_entries, 1);
} weir_vips SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct weir_split);
  __uint(max_entries, 1);
} weir_splits SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct weir_wide);
  __uint(max_entries, 1);
} weir_wide SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct weir_endpoint);
  __uint(max_entries, 1);
} weir_endpoints SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __type(key, __u32);
  __type(value, struct weir_cursor);
  __uint(max_entries, 1);
} weir_cursors SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct weir_grace_cpu);
  __uint(max_entries, WEIR_GRACE_CPUS);
} weir_grace SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct weir_state);
  __uint(max_entries, 1);
} weir_state SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct weir_contact);
  __uint(max_entries, 1);
} weir_contact SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct weir_failing_key);
  __type(value, struct weir_failing);
  __uint(max_entries, WEIR_MAX_FAILING);
} weir_failing SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, __u64);
  __type(value, struct weir_pod);
  __uint(max_entries, WEIR_MAX_PODS);
} weir_pods SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct weir_sock);
} weir_socks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct weir_udp_flows);
} weir_udp_flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct weir_http_sock);
} weir_http_socks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __type(key, struct weir_affinity_key);
  __type(value, struct weir_affinity);
  __uint(max_entries, 1);
} weir_affinity SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, __u32);
  __type(value, struct weir_series);
  __uint(max_entries, 1);
} weir_series SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, __u32);
  __type(value, struct weir_stats);
  __uint(max_entries, 1);
} weir_stats SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct weir_http_key);
  __type(value, struct weir_histogram);
  __uint(max_entries, 1);
} weir_http SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __type(key, __u32);
  __type(value, __u64);
  __uint(max_entries, WEIR_COUNTER_MAX);
} weir_counters SEC(".maps");

static __always_inline void weir_count(__u32 counter) {
  __u64* value = bpf_map_lookup_elem(&weir_counters, &counter);

  /* A program may be preempted by another on its CPU: hence atomic. */
  if (value) __sync_fetch_and_add(value, 1);
}

#endif /* WEIR_MAP_DEFS_H */
