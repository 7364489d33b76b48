/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A connect() that was given an endpoint and failed before its SYN, for want of a route for instance, passes
 * no state of the socket. It shows when the socket is next connected, or released, with its record unused.
 */
#ifndef WEIR_TCP_UNSENT_H
#define WEIR_TCP_UNSENT_H

#include <linux/in.h>

#include "bpf/lib/guard.h"
#include "bpf/lib/stats.h"

static __noinline void weir_count_unsent(struct weir_sock* sock) {
  struct weir_stats* stats;

  if (!sock || sock->vip.protocol != IPPROTO_TCP || sock->phase != WEIR_SOCK_CHOSEN) return;
  sock->phase = WEIR_SOCK_CLOSED;
  if (sock->guarded) weir_guard_failed(sock);
  stats = weir_stats_of(sock->series);
  if (stats) weir_add(&stats->failed[WEIR_FAIL_UNREACHABLE], 1);
}

#endif /* WEIR_TCP_UNSENT_H */
