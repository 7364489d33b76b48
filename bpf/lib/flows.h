/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Unconnected UDP sockets: a socket keeps its endpoint per VIP while that may be chosen, and replies seem to
 * come from the VIP. All of it lives in the socket's own storage, so nothing is evicted while the socket
 * lives.
 */
#ifndef WEIR_FLOWS_H
#define WEIR_FLOWS_H

#include "bpf/lib/choose.h"

/* The flow that later datagrams to vip follow; false if there is none. */
static __always_inline bool weir_flow_find(struct weir_udp_flows* flows, const struct weir_vip_key* vip,
                                           struct weir_udp_flow* found) {
  bool hit = false;
  __u32 i;

  bpf_spin_lock(&flows->lock);
  for (i = 0; i < WEIR_MAX_UDP_FLOWS; i++) {
    struct weir_udp_flow* flow = &flows->flows[i];

    if (!flow->current || !weir_same_vip(&flow->vip, vip)) continue;
    *found = *flow;
    hit = true;
    break;
  }
  bpf_spin_unlock(&flows->lock);
  return hit;
}

/* Remembers a choice. The flow it replaces stays for late replies. */
static __always_inline void weir_flow_add(struct weir_udp_flows* flows, const struct weir_udp_flow* fresh) {
  bool dropped = false, known = false;
  __u32 i, place;

  bpf_spin_lock(&flows->lock);
  for (i = 0; i < WEIR_MAX_UDP_FLOWS; i++) {
    struct weir_udp_flow* flow = &flows->flows[i];

    if (!weir_same_vip(&flow->vip, &fresh->vip)) continue;
    flow->current = 0;
    if (known || !weir_same_endpoint(&flow->endpoint, &fresh->endpoint)) continue;
    *flow = *fresh; /* back to an endpoint it had before */
    known = true;
  }
  if (!known) {
    place = flows->next++ & (WEIR_MAX_UDP_FLOWS - 1);
    dropped = flows->flows[place].vip.protocol != 0;
    flows->flows[place] = *fresh;
  }
  bpf_spin_unlock(&flows->lock);
  if (dropped) weir_count(WEIR_COUNT_UDP_FLOW_DROPPED);
}

/* The VIP that an endpoint answers for; a current flow is preferred to one that was left. */
static __always_inline bool weir_flow_reverse(struct weir_udp_flows* flows,
                                              const struct weir_endpoint* source, struct weir_vip_key* vip) {
  bool hit = false;
  __u32 i;

  bpf_spin_lock(&flows->lock);
  for (i = 0; i < WEIR_MAX_UDP_FLOWS; i++) {
    struct weir_udp_flow* flow = &flows->flows[i];

    if (!flow->vip.protocol || !weir_same_endpoint(&flow->endpoint, source)) continue;
    *vip = flow->vip;
    hit = true;
    if (flow->current) break;
  }
  bpf_spin_unlock(&flows->lock);
  return hit;
}

#endif /* WEIR_FLOWS_H */
