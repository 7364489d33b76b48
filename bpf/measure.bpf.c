// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What becomes of the connections that socket.bpf.c divided. The tracepoint sees every TCP socket of the
 * machine: without a record of ours it returns at once.
 */
#include <linux/bpf.h>

#include "bpf/lib/http_figures.h"
#include "bpf/lib/tcp_figures.h"
#include "bpf/lib/tcp_unsent.h"

char LICENSE[] SEC("license") = "GPL"; /* dual GPL-2.0/Apache-2.0: the kernel knows only the first */

/* TP_PROTO(const struct sock *sk, const int oldstate, const int newstate), include/trace/events/sock.h */
SEC("tp_btf/inet_sock_set_state")
int weir_state_change(__u64* context) {
  struct sock* sk = (struct sock*)context[0];
  int from = (int)context[1], to = (int)context[2];
  struct weir_sock* record = bpf_sk_storage_get(&weir_socks, sk, NULL, 0);

  /* An MPTCP socket has a record as well, but its subflows are what is counted. */
  if (!record || record->vip.protocol != IPPROTO_TCP || sk->sk_protocol != IPPROTO_TCP) return 0;
  if (to == WEIR_TCP_SYN_SENT) weir_tcp_pending(record);
  if (to == WEIR_TCP_ESTABLISHED) weir_tcp_opened(record);
  if (to == WEIR_TCP_CLOSE) {
    struct weir_http_sock* http = bpf_sk_storage_get(&weir_http_socks, sk, NULL, 0);

    if (http) weir_http_closed(http);
    weir_tcp_closed(record, sk, from);
  }
  return 0;
}

SEC("cgroup/sock_release")
int weir_sock_release(struct bpf_sock* sk) {
  if (sk->protocol == IPPROTO_TCP) weir_count_unsent(bpf_sk_storage_get(&weir_socks, sk, NULL, 0));
  return 1;
}

/* Run by user space before it reads the figures: brings living connections and their bytes into them. */
SEC("iter/bpf_sk_storage_map")
int weir_living(struct bpf_iter__bpf_sk_storage_map* context) {
  struct weir_sock* record = context->value;
  struct weir_tcp_counts counts;
  struct sock* sk = context->sk;
  struct weir_stats* stats;
  struct tcp_sock* tcp;

  if (!sk || !record || record->phase != WEIR_SOCK_OPEN || sk->sk_protocol != IPPROTO_TCP) return 0;
  tcp = bpf_skc_to_tcp_sock(sk);
  if (!tcp) return 0;
  stats = weir_stats_of(record->series);
  if (!stats) return 0;
  weir_fold_opened(record, stats);
  weir_tcp_count_living(sk, tcp, &counts);
  /* It may have been closed, disconnected and used anew while we counted: then close counted it all. */
  if (record->phase == WEIR_SOCK_OPEN) weir_fold_counts(record, &counts, stats);
  return 0;
}
