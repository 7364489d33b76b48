/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Which connections are looked at for HTTP: connect() says so, at its end. */
#ifndef WEIR_HTTP_CONNECT_H
#define WEIR_HTTP_CONNECT_H

#include "bpf/lib/choose.h"
#include "bpf/lib/http.h"

static __always_inline void weir_http_forget(struct bpf_sock_addr* ctx) {
  bpf_sk_storage_delete(&weir_http_socks, ctx->sk);
}

/* `multipath`: the socket is a subflow of an MPTCP connection, or could become one. */
static __always_inline void weir_http_remember(struct bpf_sock_addr* ctx, __u32 series, bool multipath) {
  struct weir_http_sock* sock;

  weir_http_forget(ctx); /* another life of the socket: a record of its own */
  sock = bpf_sk_storage_get(&weir_http_socks, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
  if (sock) {
    weir_http_begin(sock, series, multipath);
  } else {
    weir_count(WEIR_ERR_SOCK_STORAGE);
  }
}

#endif /* WEIR_HTTP_CONNECT_H */
