// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Ends connections. User space says in weir_ends which, has weir_end_find tell in which network namespaces
 * there are any (the storage is one for all), then runs the other two inside each of those: they walk the
 * sockets of the namespace they were started in, with each one's lock held, as bpf_sock_destroy() wants it.
 *
 * MPTCP is left alone: with its subflow ended, neither end of the connection is told, and the socket above
 * the subflows cannot be ended so.
 *
 * TIME_WAIT and request sockets are not full sockets: they have no storage, so no record.
 */
#include <linux/bpf.h>

#include "bpf/lib/end.h"

char LICENSE[] SEC("license") = "GPL"; /* dual GPL-2.0/Apache-2.0: the kernel knows only the first */

/* Linux 6.5; TCP and UDP only. The owner sees ECONNABORTED, a TCP peer a reset. */
extern int bpf_sock_destroy(struct sock_common* sk) __ksym;

SEC("iter/bpf_sk_storage_map")
int weir_end_find(struct bpf_iter__bpf_sk_storage_map* context) {
  struct weir_sock* record = context->value;
  struct weir_found found = {};
  struct sock* sk = context->sk;
  struct weir_end* end;

  if (!sk || !record || sk->sk_protocol != record->vip.protocol) return 0;
  end = weir_find_end(record);
  if (!end) return 0;
  found.order = end->order;
  found.protocol = record->vip.protocol;
  found.netns = sk->__sk_common.skc_net.net->ns.inum;
  if (weir_is_open(&sk->__sk_common, record->vip.protocol)) {
    if (!weir_is_where_recorded(&sk->__sk_common, record)) return 0;
    found.kind = weir_is_multipath(sk) ? WEIR_FOUND_MULTIPATH : WEIR_FOUND_OPEN;
  } else if (sk->__sk_common.skc_state == WEIR_TCP_CLOSE && sk->sk_lock.owned) {
    /* Its process is between the choice and the SYN, or about to close it. */
    found.kind = WEIR_FOUND_UNDER_WAY;
  } else {
    return 0;
  }
  bpf_seq_write(context->meta->seq, &found, sizeof found);
  return 0;
}

/*
 * Which endpoints have open connections, of those that splits gave which knew all that there are: user space
 * knows which of them there should be.
 */
SEC("iter/bpf_sk_storage_map")
int weir_end_list(struct bpf_iter__bpf_sk_storage_map* context) {
  struct weir_sock* record = context->value;
  struct weir_living_at at = {};
  struct sock* sk = context->sk;

  if (!sk || !record || !record->all_known || sk->sk_protocol != record->vip.protocol) return 0;
  if (!weir_is_open(&sk->__sk_common, record->vip.protocol)) return 0;
  if (!weir_is_where_recorded(&sk->__sk_common, record)) return 0;
  at.vip = record->vip;
  at.endpoint.address = record->endpoint.address;
  at.endpoint.port_be = record->endpoint.port_be;
  bpf_seq_write(context->meta->seq, &at, sizeof at);
  return 0;
}

static __always_inline struct weir_end* weir_end_of(struct sock_common* sk, __u8 protocol) {
  struct weir_sock* record = bpf_sk_storage_get(&weir_socks, sk, NULL, 0);

  if (!record || record->vip.protocol != protocol) return NULL;
  if (!weir_is_open(sk, protocol) || !weir_is_where_recorded(sk, record)) return NULL;
  if (weir_is_multipath(sk)) return NULL;
  return weir_find_end(record);
}

SEC("iter/tcp")
int weir_end_tcp(struct bpf_iter__tcp* context) {
  struct sock_common* sk = context->sk_common;
  struct weir_end* end;

  if (!sk) return 0;
  end = weir_end_of(sk, IPPROTO_TCP);
  if (end && bpf_sock_destroy(sk) == 0) __sync_fetch_and_add(&end->tcp, 1);
  return 0;
}

SEC("iter/udp")
int weir_end_udp(struct bpf_iter__udp* context) {
  struct sock_common* sk = (struct sock_common*)context->udp_sk;
  struct weir_end* end;

  if (!sk) return 0;
  end = weir_end_of(sk, IPPROTO_UDP);
  if (end && bpf_sock_destroy(sk) == 0) __sync_fetch_and_add(&end->udp, 1);
  return 0;
}
