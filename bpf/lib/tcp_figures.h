/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The life of a measured connection. Its record moves CHOSEN -> PENDING -> OPEN -> CLOSED, each step once and
 * under the socket's lock, so that two programs at one tracepoint (one agent takes over from another) count
 * once.
 */
#ifndef WEIR_TCP_FIGURES_H
#define WEIR_TCP_FIGURES_H

#include <bpf/bpf_core_read.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <stdbool.h>

#include "bpf/lib/failure.h"
#include "bpf/lib/guard.h"
#include "bpf/lib/histogram.h"
#include "bpf/lib/kernel_types.h"
#include "bpf/lib/stats.h"

/* What a connection carried so far. */
struct weir_tcp_counts {
  __u64 sent, received; /* payload, each byte once, whether acknowledged or not */
  __u32 retransmits;
};

/*
 * Sequence numbers are exact where bytes_sent is not: that counts what a local queue dropped, too.
 * bytes_acked is snd_una less the initial number, in 64 bits.
 */
static __always_inline void weir_tcp_count(const struct sock* sk, const struct tcp_sock* tcp, int state,
                                           struct weir_tcp_counts* counts) {
  __u32 next = tcp->snd_nxt;
  __u64 sent = tcp->bytes_acked + (__u32)(next - tcp->snd_una);
  bool fin_queued = state == WEIR_TCP_FIN_WAIT1 || state == WEIR_TCP_FIN_WAIT2 || state == WEIR_TCP_CLOSING ||
                    state == WEIR_TCP_LAST_ACK;
  __u64 fin_sent = fin_queued && next == tcp->write_seq;
  __u64 fin_received = sk->__sk_common.skc_flags >> WEIR_SOCK_DONE & 1;

  counts->sent = sent - 1 - fin_sent; /* the SYN is acknowledged: it is open */
  counts->received = tcp->bytes_received - fin_received;
  counts->retransmits = tcp->total_retrans;
}

/* Moves `seen` on to `now` and adds the difference; whoever comes second adds nothing. Never back. */
static __always_inline void weir_fold(__u64* seen, __u64 now, __u64* figure) {
  __u64 old = *(volatile __u64*)seen;
  int round;

  for (round = 0; round < 4; round++) {
    __u64 found;

    if ((__s64)(now - old) <= 0) return;
    found = __sync_val_compare_and_swap(seen, old, now);
    if (found == old) {
      weir_add(figure, now - old);
      return;
    }
    old = found;
  }
}

static __always_inline void weir_fold32(__u32* seen, __u32 now, __u64* figure) {
  __u32 old = *(volatile __u32*)seen;
  int round;

  for (round = 0; round < 4; round++) {
    __u32 found;

    if ((__s32)(now - old) <= 0) return;
    found = __sync_val_compare_and_swap(seen, old, now);
    if (found == old) {
      weir_add(figure, now - old);
      return;
    }
    old = found;
  }
}

static __always_inline void weir_fold_counts(struct weir_sock* record, const struct weir_tcp_counts* counts,
                                             struct weir_stats* stats) {
  weir_fold(&record->sent_seen, counts->sent, &stats->bytes_sent);
  weir_fold(&record->received_seen, counts->received, &stats->bytes_received);
  weir_fold32(&record->retransmits_seen, counts->retransmits, &stats->retransmits);
}

static __always_inline void weir_tcp_pending(struct weir_sock* record) {
  if (record->phase != WEIR_SOCK_CHOSEN) return;
  record->connect_ns = bpf_ktime_get_ns();
  record->phase = WEIR_SOCK_PENDING;
}

/* Within connect(), mostly: the figures' cache lines are left alone until somebody reads them or it ends. */
static __always_inline void weir_tcp_opened(struct weir_sock* record) {
  if (record->phase != WEIR_SOCK_PENDING) return;
  record->connect_ns = bpf_ktime_get_ns() - record->connect_ns;
  record->phase = WEIR_SOCK_OPEN;
  if (record->guarded) weir_guard_opened(record);
}

/* Of a connection that is open, or was: whoever comes second adds nothing. */
static __always_inline void weir_fold_opened(struct weir_sock* record, struct weir_stats* stats) {
  if (__sync_val_compare_and_swap(&record->opened_counted, 0, 1)) return;
  weir_add(&stats->opened, 1);
  weir_observe(&stats->connect, record->connect_ns);
}

static __always_inline enum weir_failure weir_tcp_failure(const struct sock* sk, const struct tcp_sock* tcp) {
  int error = sk->sk_err;

  /* No SYN left and nobody closed it: connect() itself failed, for want of a local port for instance. */
  if (!error && !sk->sk_shutdown && tcp && !tcp->segs_out) return WEIR_FAIL_OTHER;
  return weir_failure_of(error < 0 ? -error : error);
}

/* Whether the other side, or the way there, is to blame. */
static __always_inline bool weir_is_servers_fault(enum weir_failure reason) {
  return reason == WEIR_FAIL_REFUSED || reason == WEIR_FAIL_TIMEOUT || reason == WEIR_FAIL_RESET ||
         reason == WEIR_FAIL_UNREACHABLE;
}

static __always_inline void weir_tcp_failed(struct weir_sock* record, const struct sock* sk,
                                            const struct tcp_sock* tcp, struct weir_stats* stats) {
  enum weir_failure reason = weir_tcp_failure(sk, tcp);

  if (record->guarded && weir_is_servers_fault(reason)) weir_guard_failed(record);
  if (!stats) return;
  if (reason < WEIR_FAIL_MAX) weir_add(&stats->failed[reason], 1);
  if (tcp) weir_fold32(&record->retransmits_seen, tcp->total_retrans, &stats->retransmits);
}

static __always_inline void weir_tcp_closed(struct weir_sock* record, struct sock* sk, int state) {
  bool was_open = record->phase == WEIR_SOCK_OPEN;
  struct weir_tcp_counts counts;
  struct weir_stats* stats;
  struct tcp_sock* tcp;

  if (!was_open && record->phase != WEIR_SOCK_PENDING) return;
  record->phase = WEIR_SOCK_CLOSED;
  stats = weir_stats_of(record->series);
  tcp = bpf_skc_to_tcp_sock(sk);
  if (!was_open) weir_tcp_failed(record, sk, tcp, stats);
  if (!was_open || !stats) return;
  weir_fold_opened(record, stats);
  weir_add(&stats->closed, 1);
  if (!tcp) return;
  weir_tcp_count(sk, tcp, state, &counts);
  weir_fold_counts(record, &counts, stats);
  if (tcp->srtt_us) weir_observe(&stats->srtt, (__u64)(tcp->srtt_us >> 3) * 1000);
  /* tcp_reset() is the only one to leave these two behind before the state changes. */
  if (sk->sk_err == ECONNRESET || sk->sk_err == EPIPE) weir_add(&stats->resets_received, 1);
}

static __always_inline bool weir_is_locked(const struct sock* sk) {
  if (!bpf_core_field_exists(sk->sk_lock.slock.rlock.raw_lock.val.counter)) return true;
  return sk->sk_lock.owned || sk->sk_lock.slock.rlock.raw_lock.val.counter;
}

/* A full barrier: an atomic that returns a value (Documentation/bpf/linux-notes). */
static __always_inline void weir_barrier(void) {
  __u64 word = 0;
  __u64 old = __sync_fetch_and_add(&word, 1);

  asm volatile("" : : "r"(old) : "memory");
}

/*
 * What a socket carried so far, read beside whoever works on it. Two readings that agree, with the lock free
 * in between, are whole: had the first one seen half of a change, its maker would have let the lock go since
 * and the second would show the rest. Where that fails twice: what is certain, which is short by a SYN and a
 * FIN at most.
 */
static __always_inline void weir_tcp_count_living(const struct sock* sk, const struct tcp_sock* tcp,
                                                  struct weir_tcp_counts* counts) {
  int round;

  for (round = 0; round < 2; round++) {
    struct weir_tcp_counts again;
    bool locked;

    weir_tcp_count(sk, tcp, sk->__sk_common.skc_state, counts);
    weir_barrier();
    locked = weir_is_locked(sk);
    weir_barrier();
    weir_tcp_count(sk, tcp, sk->__sk_common.skc_state, &again);
    if (!locked && again.sent == counts->sent && again.received == counts->received) return;
  }
  counts->sent = tcp->bytes_acked > 2 ? tcp->bytes_acked - 2 : 0;
  counts->received = tcp->bytes_received ? tcp->bytes_received - 1 : 0;
}

#endif /* WEIR_TCP_FIGURES_H */
