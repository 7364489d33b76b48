// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Every packet of the cgroup's sockets, both ways: attached only while a frontend in force is UDP or asks for
 * HTTP. Nothing is changed or dropped; what is not as expected passes unmeasured.
 */
#include <linux/bpf.h>

#include "bpf/lib/http_figures.h"
#include "bpf/lib/udp_figures.h"

char LICENSE[] SEC("license") = "GPL"; /* dual GPL-2.0/Apache-2.0: the kernel knows only the first */

#define WEIR_SKB_PASS 1

/* A packet that is not understood may be a TCP socket's: HTTP cannot be followed past it. */
static __always_inline int weir_packet_seen(struct __sk_buff* skb, bool egress) {
  struct weir_packet packet;

  if (weir_parse_packet(skb, &packet)) {
    weir_http_packet(skb, NULL, egress);
  } else if (packet.protocol == IPPROTO_TCP) {
    weir_http_packet(skb, &packet, egress);
  } else if (packet.protocol == IPPROTO_UDP) {
    weir_udp_packet(skb, &packet, egress);
  }
  return WEIR_SKB_PASS;
}

SEC("cgroup_skb/egress")
int weir_egress(struct __sk_buff* skb) { return weir_packet_seen(skb, true); }

SEC("cgroup_skb/ingress")
int weir_ingress(struct __sk_buff* skb) { return weir_packet_seen(skb, false); }
