// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Every packet of the cgroup's sockets, both ways: attached only while a frontend in force is UDP or asks for
 * HTTP. Nothing is changed or dropped; what is not as expected passes unmeasured.
 */
#include <linux/bpf.h>

#include "bpf/lib/udp_figures.h"

char LICENSE[] SEC("license") = "GPL"; /* dual GPL-2.0/Apache-2.0: the kernel knows only the first */

#define WEIR_SKB_PASS 1

SEC("cgroup_skb/egress")
int weir_egress(struct __sk_buff* skb) {
  struct weir_packet packet;

  if (weir_parse_packet(skb, &packet)) return WEIR_SKB_PASS;
  if (packet.protocol == IPPROTO_UDP) weir_udp_packet(skb, &packet, true);
  return WEIR_SKB_PASS;
}

SEC("cgroup_skb/ingress")
int weir_ingress(struct __sk_buff* skb) {
  struct weir_packet packet;

  if (weir_parse_packet(skb, &packet)) return WEIR_SKB_PASS;
  if (packet.protocol == IPPROTO_UDP) weir_udp_packet(skb, &packet, false);
  return WEIR_SKB_PASS;
}
