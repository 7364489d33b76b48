// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The hooks. Each reads the address the caller gave, asks bpf/lib what to do and writes the answer back. All
 * of them fail open: where anything is not as expected, the call goes on unchanged.
 */
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>

#include "bpf/lib/consumers.h"
#include "bpf/lib/find.h"
#include "bpf/lib/flows.h"
#include "bpf/lib/http_connect.h"
#include "bpf/lib/tcp_unsent.h"

char LICENSE[] SEC("license") = "GPL"; /* dual GPL-2.0/Apache-2.0: the kernel knows only the first */

/* 0 where the kernel lacks bpf_skc_to_mptcp_sock (before 5.19). A byte: clang++ does not know the _Bool that
 * bpftool writes into the skeleton. */
const volatile __u8 weir_have_mptcp = 1;

static __always_inline void weir_address4(struct weir_address* address, __u32 ip4_be) {
  __u32* words = (__u32*)address;

  words[0] = 0;
  words[1] = 0;
  words[2] = __builtin_bswap32(0x0000ffff);
  words[3] = ip4_be;
}

static __always_inline void weir_read4(struct bpf_sock_addr* ctx, struct weir_vip_key* key) {
  weir_address4(&key->address, ctx->user_ip4);
  key->port_be = (__be16)ctx->user_port;
  key->protocol = (__u8)ctx->protocol;
  key->pad = 0;
}

static __always_inline void weir_read6(struct bpf_sock_addr* ctx, struct weir_vip_key* key) {
  __u32* words = (__u32*)&key->address;

  words[0] = ctx->user_ip6[0];
  words[1] = ctx->user_ip6[1];
  words[2] = ctx->user_ip6[2];
  words[3] = ctx->user_ip6[3];
  key->port_be = (__be16)ctx->user_port;
  key->protocol = (__u8)ctx->protocol;
  key->pad = 0;
}

static __always_inline void weir_write4(struct bpf_sock_addr* ctx, const struct weir_address* address,
                                        __be16 port_be) {
  ctx->user_ip4 = ((const __u32*)address)[3];
  ctx->user_port = port_be;
}

static __always_inline void weir_write6(struct bpf_sock_addr* ctx, const struct weir_address* address,
                                        __be16 port_be) {
  const __u32* words = (const __u32*)address;

  ctx->user_ip6[0] = words[0];
  ctx->user_ip6[1] = words[1];
  ctx->user_ip6[2] = words[2];
  ctx->user_ip6[3] = words[3];
  ctx->user_port = port_be;
}

static __always_inline int weir_refuse(void) {
  if (bpf_set_retval(-ECONNREFUSED)) weir_count(WEIR_ERR_SET_RETVAL);
  return 0;
}

static __always_inline void weir_fill_sock(struct weir_sock* sock, const struct weir_vip_key* key,
                                           const struct weir_target* target) {
  sock->vip = *key;
  sock->endpoint = target->endpoint;
  sock->variant_id = target->variant_id;
  sock->generation = target->generation;
  sock->service = target->service;
  sock->variant = target->variant;
  sock->series = target->series;
  sock->phase = WEIR_SOCK_CHOSEN;
  sock->guarded = target->guarded;
  sock->all_known = target->all_known;
}

static __always_inline void weir_remember(struct bpf_sock* sk, const struct weir_vip_key* key,
                                          const struct weir_target* target) {
  struct weir_sock* sock = bpf_sk_storage_get(&weir_socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

  if (sock && sock->vip.protocol) {
    /* Another life of the socket: a record of its own, as the last one's counts may be under way. */
    weir_count_unsent(sock);
    bpf_sk_storage_delete(&weir_socks, sk);
    sock = bpf_sk_storage_get(&weir_socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
  }
  if (sock) {
    weir_fill_sock(sock, key, target);
  } else {
    weir_count(WEIR_ERR_SOCK_STORAGE);
  }
  if (weir_have_mptcp && key->protocol == IPPROTO_TCP) {
    /* MPTCP connects a subflow; getpeername asks the MPTCP socket above it. */
    struct mptcp_sock* mptcp = bpf_skc_to_mptcp_sock(sk);

    if (!mptcp) return;
    sock = bpf_sk_storage_get(&weir_socks, mptcp, NULL, BPF_SK_STORAGE_GET_F_CREATE);
    if (sock) {
      weir_fill_sock(sock, key, target);
    } else {
      weir_count(WEIR_ERR_SOCK_STORAGE);
    }
  }
}

/*
 * The socket dials something else now; it may have dialled a VIP before. Every connect() that is not to a VIP
 * comes here, so what is looked at first is the cheapest: a socket without storage holds a null pointer,
 * while a deletion takes a reference on it.
 */
static __always_inline void weir_forget(struct bpf_sock* sk, const struct weir_vip_key* key) {
  struct weir_sock* sock = bpf_sk_storage_get(&weir_socks, sk, NULL, 0);

  if (!sock) return;
  weir_count_unsent(sock);
  bpf_sk_storage_delete(&weir_socks, sk);
  if (weir_have_mptcp && key->protocol == IPPROTO_TCP) {
    struct mptcp_sock* mptcp = bpf_skc_to_mptcp_sock(sk);

    if (mptcp) bpf_sk_storage_delete(&weir_socks, mptcp);
  }
}

static __always_inline enum weir_verdict weir_connect(struct bpf_sock_addr* ctx,
                                                      const struct weir_vip_key* key,
                                                      struct weir_target* target) {
  struct weir_vip* vip = weir_find_vip(key, 0);
  enum weir_verdict verdict = WEIR_PASS;
  struct bpf_sock* sk = ctx->sk; /* once: clang would keep &ctx->sk, which the verifier does not follow */
  struct weir_reader reader;

  if (vip) {
    struct weir_split* split;

    if (weir_reader_enter(&reader)) return WEIR_PASS;
    split = weir_find_split(vip, key, 0);
    if (split) {
      weir_prefer_own(key, &vip, &split);
      verdict = weir_choose(ctx, vip, split, target);
    } else {
      weir_count(WEIR_COUNT_STALE_VIP);
    }
    /* Within: who has waited for readers finds the record of every connection given before. */
    if (verdict == WEIR_CHOSEN) weir_remember(sk, key, target);
    weir_reader_leave(&reader, verdict == WEIR_CHOSEN);
  }
  if (verdict != WEIR_CHOSEN) weir_forget(sk, key);
  if (verdict == WEIR_CHOSEN && target->http) {
    weir_http_remember(sk, target->series, weir_have_mptcp && bpf_skc_to_mptcp_sock(sk));
  } else {
    weir_http_forget(sk);
  }
  return verdict;
}

static __always_inline void weir_keep_flow(struct bpf_sock_addr* ctx, const struct weir_vip_key* key,
                                           const struct weir_target* target) {
  struct weir_udp_flows* flows =
      bpf_sk_storage_get(&weir_udp_flows, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
  struct weir_udp_flow fresh = {};

  if (!flows) {
    weir_count(WEIR_ERR_FLOW_STORAGE);
    return;
  }
  fresh.vip = *key;
  fresh.endpoint = target->endpoint;
  fresh.endpoint_index = target->endpoint_index;
  fresh.variant_id = target->variant_id;
  fresh.series = target->series;
  fresh.current = 1;
  weir_flow_add(flows, &fresh);
}

static __always_inline enum weir_verdict weir_sendmsg(struct bpf_sock_addr* ctx,
                                                      const struct weir_vip_key* key,
                                                      struct weir_target* target) {
  struct weir_vip* vip = weir_find_vip(key, 0); /* no route divides UDP, so nobody has his own */
  enum weir_verdict verdict = WEIR_PASS;
  struct weir_udp_flows* flows;
  struct weir_udp_flow flow;
  struct weir_reader reader;
  struct weir_split* split;
  bool kept;

  if (!vip || weir_reader_enter(&reader)) return WEIR_PASS;
  split = weir_find_split(vip, key, 0);
  if (!split) {
    weir_count(WEIR_COUNT_STALE_VIP);
    weir_reader_leave(&reader, false);
    return WEIR_PASS;
  }
  flows = bpf_sk_storage_get(&weir_udp_flows, ctx->sk, NULL, 0);
  kept = flows && weir_flow_find(flows, key, &flow) &&
         weir_still_there(vip, split, &flow.endpoint, flow.variant_id, flow.endpoint_index, target);
  verdict = kept ? WEIR_CHOSEN : weir_choose(ctx, vip, split, target);
  weir_reader_leave(&reader, verdict == WEIR_CHOSEN && !kept);
  /* A kept flow is written anew where its series has another number now. */
  if (verdict == WEIR_CHOSEN && (!kept || flow.series != target->series)) weir_keep_flow(ctx, key, target);
  return verdict;
}

/* The VIP to show in place of the peer's or sender's address. */
static __always_inline bool weir_translate_back(struct bpf_sock_addr* ctx, const struct weir_vip_key* seen,
                                                bool flows_too, struct weir_vip_key* vip) {
  struct weir_sock* sock = bpf_sk_storage_get(&weir_socks, ctx->sk, NULL, 0);
  struct weir_endpoint source = {.address = seen->address, .port_be = seen->port_be};
  struct weir_udp_flows* flows;

  /* recvmsg of a socket that was disconnected (AF_UNSPEC runs no hook): the record is of the past. */
  if (flows_too && !ctx->sk->dst_port) sock = NULL;
  if (sock && weir_same_endpoint(&sock->endpoint, &source)) {
    *vip = sock->vip;
    return true;
  }
  if (!flows_too) return false;
  flows = bpf_sk_storage_get(&weir_udp_flows, ctx->sk, NULL, 0);
  return flows && weir_flow_reverse(flows, &source, vip);
}

SEC("cgroup/connect4")
int weir_connect4(struct bpf_sock_addr* ctx) {
  struct weir_target target;
  struct weir_vip_key key;
  enum weir_verdict verdict;

  weir_read4(ctx, &key);
  verdict = weir_connect(ctx, &key, &target);
  if (verdict == WEIR_REFUSE) return weir_refuse();
  if (verdict == WEIR_CHOSEN) weir_write4(ctx, &target.endpoint.address, target.endpoint.port_be);
  return 1;
}

SEC("cgroup/connect6")
int weir_connect6(struct bpf_sock_addr* ctx) {
  struct weir_target target;
  struct weir_vip_key key;
  enum weir_verdict verdict;

  weir_read6(ctx, &key);
  verdict = weir_connect(ctx, &key, &target);
  if (verdict == WEIR_REFUSE) return weir_refuse();
  if (verdict == WEIR_CHOSEN) weir_write6(ctx, &target.endpoint.address, target.endpoint.port_be);
  return 1;
}

SEC("cgroup/sendmsg4")
int weir_sendmsg4(struct bpf_sock_addr* ctx) {
  struct weir_target target;
  struct weir_vip_key key;
  enum weir_verdict verdict;

  weir_read4(ctx, &key);
  verdict = weir_sendmsg(ctx, &key, &target);
  if (verdict == WEIR_REFUSE) return weir_refuse();
  if (verdict == WEIR_CHOSEN) weir_write4(ctx, &target.endpoint.address, target.endpoint.port_be);
  return 1;
}

SEC("cgroup/sendmsg6")
int weir_sendmsg6(struct bpf_sock_addr* ctx) {
  struct weir_target target;
  struct weir_vip_key key;
  enum weir_verdict verdict;

  weir_read6(ctx, &key);
  verdict = weir_sendmsg(ctx, &key, &target);
  if (verdict == WEIR_REFUSE) return weir_refuse();
  if (verdict == WEIR_CHOSEN) weir_write6(ctx, &target.endpoint.address, target.endpoint.port_be);
  return 1;
}

SEC("cgroup/recvmsg4")
int weir_recvmsg4(struct bpf_sock_addr* ctx) {
  struct weir_vip_key seen, vip;

  weir_read4(ctx, &seen);
  if (weir_translate_back(ctx, &seen, true, &vip)) weir_write4(ctx, &vip.address, vip.port_be);
  return 1;
}

SEC("cgroup/recvmsg6")
int weir_recvmsg6(struct bpf_sock_addr* ctx) {
  struct weir_vip_key seen, vip;

  weir_read6(ctx, &seen);
  if (weir_translate_back(ctx, &seen, true, &vip)) weir_write6(ctx, &vip.address, vip.port_be);
  return 1;
}

SEC("cgroup/getpeername4")
int weir_getpeername4(struct bpf_sock_addr* ctx) {
  struct weir_vip_key seen, vip;

  weir_read4(ctx, &seen);
  if (weir_translate_back(ctx, &seen, false, &vip)) weir_write4(ctx, &vip.address, vip.port_be);
  return 1;
}

SEC("cgroup/getpeername6")
int weir_getpeername6(struct bpf_sock_addr* ctx) {
  struct weir_vip_key seen, vip;

  weir_read6(ctx, &seen);
  if (weir_translate_back(ctx, &seen, false, &vip)) weir_write6(ctx, &vip.address, vip.port_be);
  return 1;
}
