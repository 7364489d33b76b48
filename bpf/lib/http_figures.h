/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From packets to the HTTP figures of a series; what stands between the kernel and bpf/lib/http.h. */
#ifndef WEIR_HTTP_FIGURES_H
#define WEIR_HTTP_FIGURES_H

#include <linux/tcp.h>

#include "bpf/lib/histogram.h"
#include "bpf/lib/http.h"
#include "bpf/lib/packet.h"
#include "bpf/lib/stats.h"

/* Too big for the stack. */
const struct weir_histogram weir_no_delays = {};

static __always_inline void weir_http_add_response(__u32 series, __u32 code, __u64 delay_ns) {
  const struct weir_http_key key = {.series = series, .code = code};
  struct weir_histogram* delays = bpf_map_lookup_elem(&weir_http, &key);

  if (!delays) {
    /* BPF_NOEXIST: another CPU may have been first. */
    bpf_map_update_elem(&weir_http, &key, &weir_no_delays, BPF_NOEXIST);
    delays = bpf_map_lookup_elem(&weir_http, &key);
  }
  if (delays) {
    weir_observe(delays, delay_ns);
  } else {
    weir_count(WEIR_ERR_HTTP);
  }
}

static __always_inline void weir_http_add(__u32 series, const struct weir_http_events* events) {
  __u32 reason = events->opaque - 1U;
  struct weir_stats* stats;

  asm volatile("" : "+r"(reason)); /* or the check below is made on another register than the access */
  if (events->request || events->opaque || events->first_answer || events->first_failure) {
    stats = weir_stats_of(series);
    if (!stats) return;
    if (events->request) weir_add(&stats->http_requests, 1);
    if (events->first_answer) weir_add(&stats->http_connections, 1);
    if (events->first_failure) weir_add(&stats->http_error_connections, 1);
    if (reason < WEIR_OPAQUE_MAX) weir_add(&stats->http_opaque[reason], 1);
  }
  if (events->code) weir_http_add_response(series, events->code, events->delay_ns);
}

/* -1 where the header is not whole, or there is less than it says. */
static __always_inline int weir_http_packet_of(struct __sk_buff* skb, __u32 transport,
                                               struct weir_http_packet* packet) {
  struct tcphdr tcp;

  if (bpf_skb_load_bytes(skb, transport, &tcp, sizeof tcp)) return -1;
  packet->packet = skb;
  packet->payload = transport + tcp.doff * 4;
  if (tcp.doff < 5 || skb->len < packet->payload) return -1;
  packet->length = skb->len - packet->payload; /* not the IP header's word: it is 0 or 1 segment's on GSO */
  packet->seq = bpf_ntohl(tcp.seq);
  packet->acknowledged = bpf_ntohl(tcp.ack_seq);
  packet->syn = tcp.syn;
  packet->urgent = tcp.urg;
  return 0;
}

/* A packet of a TCP socket whose headers are at `ip`, or, with NULL, could not be understood. */
static __always_inline void weir_http_packet(struct __sk_buff* skb, const struct weir_packet* ip,
                                             bool egress) {
  struct weir_http_events events = {};
  struct weir_http_packet packet = {};
  struct bpf_sock* sk = skb->sk;
  struct weir_http_sock* sock;
  __u32 state;

  if (!sk) return;
  sock = bpf_sk_storage_get(&weir_http_socks, sk, NULL, 0);
  if (!sock) return;
  state = weir_http_state_of(sock);
  if (state >= WEIR_HTTP_OPAQUE || (!egress && state == WEIR_HTTP_IDLE)) return;
  if (!ip || weir_http_packet_of(skb, ip->transport, &packet)) {
    weir_http_give_up(sock, WEIR_OPAQUE_OTHER, &events);
  } else if (egress) {
    weir_http_sent(sock, &packet, &events);
  } else {
    weir_http_received(sock, &packet, &events);
  }
  weir_http_add(sock->series, &events);
}

/*
 * For the program that sees a socket's end, whatever its kind. A response may have passed unseen if the
 * packet programs were away meanwhile.
 */
static __always_inline void weir_http_closed(struct weir_http_sock* sock) {
  __u32 zero = 0;
  struct weir_state* state = bpf_map_lookup_elem(&weir_state, &zero);
  struct weir_stats* stats;
  __u64 since;

  if (!weir_http_end(sock)) return;
  stats = weir_stats_of(sock->series);
  if (!state || !stats) return;
  since = *(volatile __u64*)&state->packets_since_ns;
  if (since && since <= sock->requested_at_ns) {
    weir_add(&stats->http_no_response, 1);
  } else {
    weir_add(&stats->http_opaque[WEIR_OPAQUE_OTHER], 1);
  }
}

#endif /* WEIR_HTTP_FIGURES_H */
