/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Datagrams and their payload, by the series that their socket and remote address belong to. */
#ifndef WEIR_UDP_FIGURES_H
#define WEIR_UDP_FIGURES_H

#include <linux/udp.h>
#include <stdbool.h>

#include "bpf/lib/flows.h"
#include "bpf/lib/packet.h"
#include "bpf/lib/stats.h"

/* The series of a flow to or from this endpoint, 0 if there is none; a current flow is preferred. */
static __always_inline __u32 weir_flow_series(struct weir_udp_flows* flows,
                                              const struct weir_endpoint* remote) {
  __u32 series = 0;
  __u32 i;

  bpf_spin_lock(&flows->lock);
  for (i = 0; i < WEIR_MAX_UDP_FLOWS; i++) {
    struct weir_udp_flow* flow = &flows->flows[i];

    if (!flow->vip.protocol || !weir_same_endpoint(&flow->endpoint, remote)) continue;
    series = flow->series;
    if (flow->current) break;
  }
  bpf_spin_unlock(&flows->lock);
  return series;
}

static __always_inline __u32 weir_udp_series(struct bpf_sock* sk, const struct weir_endpoint* remote) {
  struct weir_sock* sock = bpf_sk_storage_get(&weir_socks, sk, NULL, 0);
  struct weir_udp_flows* flows;

  if (sock && sock->vip.protocol == IPPROTO_UDP && weir_same_endpoint(&sock->endpoint, remote)) {
    struct bpf_sock* full = bpf_sk_fullsock(sk);

    /* A socket that was disconnected (AF_UNSPEC runs no hook): the record is of the past. */
    if (full && full->dst_port) return sock->series;
  }
  flows = bpf_sk_storage_get(&weir_udp_flows, sk, NULL, 0);
  return flows ? weir_flow_series(flows, remote) : 0;
}

/* Segments of UDP_SEGMENT and UDP_GRO count as the datagrams they are; their headers stand there once. */
static __always_inline void weir_udp_packet(struct __sk_buff* skb, const struct weir_packet* packet,
                                            bool egress) {
  struct weir_endpoint remote = {.address = egress ? packet->destination : packet->source};
  __u32 headers = packet->transport + sizeof(struct udphdr);
  __u32 datagrams = skb->gso_segs ? skb->gso_segs : 1;
  struct bpf_sock* sk = skb->sk;
  struct weir_stats* stats;
  struct udphdr udp;

  if (!sk || skb->len < headers) return;
  if (bpf_skb_load_bytes(skb, packet->transport, &udp, sizeof udp)) return;
  remote.port_be = egress ? udp.dest : udp.source;
  stats = weir_stats_of(weir_udp_series(sk, &remote));
  if (!stats) return;
  if (egress) {
    weir_add(&stats->udp_datagrams_sent, datagrams);
    weir_add(&stats->udp_bytes_sent, skb->len - headers);
  } else {
    weir_add(&stats->udp_datagrams_received, datagrams);
    weir_add(&stats->udp_bytes_received, skb->len - headers);
  }
}

#endif /* WEIR_UDP_FIGURES_H */
