/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which sockets belong to what is to be ended. Decided by the socket's record, and only while the socket is
 * connected to the endpoint that the record names: one that was disconnected or led elsewhere since is
 * another matter.
 */
#ifndef WEIR_END_H
#define WEIR_END_H

#include <bpf/bpf_core_read.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <stdbool.h>

#include "bpf/lib/choose.h"
#include "bpf/lib/kernel_types.h"
#include "bpf/lib/map_defs.h"
#include "weir/end.h"

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct weir_end_key);
  __type(value, struct weir_end);
  __uint(max_entries, WEIR_MAX_ENDS);
} weir_ends SEC(".maps");

/* Where the socket is connected to, IPv4 as ::ffff:a.b.c.d; all zero where it is not. */
static __always_inline void weir_remote(const struct sock_common* sk, struct weir_endpoint* remote) {
  __u32* words = (__u32*)&remote->address;

  __builtin_memset(remote, 0, sizeof *remote);
  if (sk->skc_family == WEIR_AF_INET) {
    words[2] = __builtin_bswap32(0x0000ffff);
    words[3] = sk->skc_daddr;
  } else if (sk->skc_family == WEIR_AF_INET6) {
    words[0] = sk->skc_v6_daddr.in6_u.u6_addr32[0];
    words[1] = sk->skc_v6_daddr.in6_u.u6_addr32[1];
    words[2] = sk->skc_v6_daddr.in6_u.u6_addr32[2];
    words[3] = sk->skc_v6_daddr.in6_u.u6_addr32[3];
  }
  remote->port_be = sk->skc_dport;
}

/*
 * Both ends still count on it. Not those that both ends have closed, nor one whose process is gone: they end
 * by themselves, and there is nobody to tell. A listener with a record had another life before.
 */
static __always_inline bool weir_is_open(const struct sock_common* sk, __u8 protocol) {
  __u8 state = sk->skc_state;

  if (protocol == IPPROTO_UDP) return state == WEIR_TCP_ESTABLISHED; /* connected */
  if (sk->skc_flags >> WEIR_SOCK_DEAD & 1) return false;
  return state == WEIR_TCP_ESTABLISHED || state == WEIR_TCP_SYN_SENT || state == WEIR_TCP_FIN_WAIT1 ||
         state == WEIR_TCP_FIN_WAIT2 || state == WEIR_TCP_CLOSE_WAIT;
}

/* What is to be ended that the record belongs to: its revision behind its VIP, or its endpoint. */
static __always_inline struct weir_end* weir_find_end(const struct weir_sock* record) {
  struct weir_end_key key = {.vip = record->vip, .variant_id = record->variant_id};
  struct weir_end* end = bpf_map_lookup_elem(&weir_ends, &key);

  if (end) return end;
  key.vip.address = record->endpoint.address;
  key.vip.port_be = record->endpoint.port_be;
  key.variant_id = 0;
  return bpf_map_lookup_elem(&weir_ends, &key);
}

/* Of an open socket, under its lock or beside whoever works on it. */
static __always_inline bool weir_is_where_recorded(const struct sock_common* sk,
                                                   const struct weir_sock* record) {
  struct weir_endpoint remote;

  weir_remote(sk, &remote);
  return weir_same_endpoint(&remote, &record->endpoint);
}

/* A macro: the helper takes a sock as well as a sock_common. */
#define weir_is_multipath(sk) weir_is_mptcp(bpf_skc_to_tcp_sock(sk))
static __always_inline bool weir_is_mptcp(const struct tcp_sock* tcp) {
  if (!tcp || !bpf_core_field_exists(tcp->is_mptcp)) return false;
  return BPF_CORE_READ_BITFIELD(tcp, is_mptcp);
}

#endif /* WEIR_END_H */
