/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the cgroup_skb programs know of a packet. Direct access for headers only: payload may sit in frags. */
#ifndef WEIR_PACKET_H
#define WEIR_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "bpf/lib/map_defs.h"

struct weir_packet {
  struct weir_address source, destination; /* IPv4 as ::ffff:a.b.c.d */
  __u32 transport;                         /* offset of the TCP or UDP header */
  __u8 protocol;                           /* IPPROTO_* */
};

static __always_inline void weir_mapped_address(struct weir_address* address, __be32 ip4_be) {
  __u32* words = (__u32*)address;

  words[0] = 0;
  words[1] = 0;
  words[2] = __builtin_bswap32(0x0000ffff);
  words[3] = ip4_be;
}

/*
 * 0, or -1 where it is not IP, a later fragment, or has IPv6 extension headers (their transport is not looked
 * for). skb->data is the IP header in both directions.
 */
static __always_inline int weir_parse_packet(struct __sk_buff* skb, struct weir_packet* packet) {
  const void* data = (void*)(long)skb->data;
  const void* end = (void*)(long)skb->data_end;

  if (skb->protocol == __builtin_bswap16(ETH_P_IP)) {
    const struct iphdr* ip = data;

    if ((const void*)(ip + 1) > end || ip->ihl < 5) return -1;
    if (ip->frag_off & __builtin_bswap16(0x1fff)) return -1;
    packet->transport = ip->ihl * 4;
    packet->protocol = ip->protocol;
    weir_mapped_address(&packet->source, ip->saddr);
    weir_mapped_address(&packet->destination, ip->daddr);
    return 0;
  }
  if (skb->protocol == __builtin_bswap16(ETH_P_IPV6)) {
    const struct ipv6hdr* ip = data;

    if ((const void*)(ip + 1) > end) return -1;
    packet->transport = sizeof *ip;
    packet->protocol = ip->nexthdr;
    __builtin_memcpy(&packet->source, &ip->saddr, sizeof packet->source);
    __builtin_memcpy(&packet->destination, &ip->daddr, sizeof packet->destination);
    return 0;
  }
  return -1;
}

#endif /* WEIR_PACKET_H */
