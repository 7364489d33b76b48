/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Which connections are looked at for HTTP: connect() says so, at its end. */
#ifndef WEIR_HTTP_CONNECT_H
#define WEIR_HTTP_CONNECT_H

#include "bpf/lib/choose.h"
#include "bpf/lib/http.h"

/* Every connect() comes here: looking first is cheaper than a deletion, which takes a reference. */
static __always_inline void weir_http_forget(struct bpf_sock* sk) {
  if (bpf_sk_storage_get(&weir_http_socks, sk, NULL, 0)) bpf_sk_storage_delete(&weir_http_socks, sk);
}

/* `multipath`: the socket is a subflow of an MPTCP connection, or could become one. */
static __always_inline void weir_http_remember(struct bpf_sock* sk, __u32 series, bool multipath) {
  struct weir_http_sock* record;

  weir_http_forget(sk); /* another life of the socket: a record of its own */
  record = bpf_sk_storage_get(&weir_http_socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
  if (record) {
    weir_http_begin(record, series, multipath);
  } else {
    weir_count(WEIR_ERR_SOCK_STORAGE);
  }
}

#endif /* WEIR_HTTP_CONNECT_H */
