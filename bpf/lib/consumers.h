/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Which namespace's client dials, for VIPs that some namespaces have divided for themselves alone. */
#ifndef WEIR_CONSUMERS_H
#define WEIR_CONSUMERS_H

#include "bpf/lib/choose.h"
#include "bpf/lib/find.h"

/* Pods' cgroups are a few levels deep: kubepods, QoS class, pod; more where nodes are containers. */
#define WEIR_MAX_CGROUP_LEVEL 16

/*
 * The number of the caller's namespace, or 0. A pod is told by its cgroup: a network namespace would not do
 * for pods of the host's network, and the process may be in a cgroup of its own below the pod's.
 */
static __always_inline __u32 weir_consumers_of_caller(void) {
  int level;

#pragma clang loop unroll(disable)
  for (level = 1; level < WEIR_MAX_CGROUP_LEVEL; level++) {
    __u64 cgroup = bpf_get_current_ancestor_cgroup_id(level);
    struct weir_pod* pod;

    if (!cgroup) return 0;
    pod = bpf_map_lookup_elem(&weir_pods, &cgroup);
    if (pod) return pod->consumers;
  }
  return 0;
}

/*
 * The caller's own entry for the VIP, or NULL. Not inline: few connections come here, and the verifier gets
 * along better.
 */
static __noinline struct weir_vip* weir_own_vip(const struct weir_vip_key* key) {
  __u32 consumers = weir_consumers_of_caller();

  return consumers ? weir_find_vip(key, consumers) : NULL;
}

/*
 * Puts the caller's own entry and split in the place of everybody's, if it has one in force. The caller is a
 * reader. Each of the two is a split of its own, so either is whole.
 */
static __always_inline void weir_prefer_own(const struct weir_vip_key* key, struct weir_vip** vip,
                                            struct weir_split** split) {
  struct weir_split* own_split;
  struct weir_vip* own;

  if (!((*split)->flags & WEIR_SPLIT_CONSUMERS)) return;
  own = weir_own_vip(key);
  if (!own) return;
  own_split = weir_find_split(own, key, own->consumers);
  if (!own_split) return;
  *vip = own;
  *split = own_split;
}

#endif /* WEIR_CONSUMERS_H */
