/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Why a connect() came to nothing. Pure; compiled for user space too. */
#ifndef WEIR_FAILURE_H
#define WEIR_FAILURE_H

#include <linux/errno.h>

#include "weir/maps.h"

/* `error` as in sk_err: 0 or a positive errno. */
static inline enum weir_failure weir_failure_of(int error) {
  switch (error) {
    case 0:
      return WEIR_FAIL_CANCELED;
    case ECONNREFUSED:
      return WEIR_FAIL_REFUSED;
    case ETIMEDOUT:
      return WEIR_FAIL_TIMEOUT;
    case ECONNRESET:
    case EPIPE:
      return WEIR_FAIL_RESET;
    /* What ICMP and ICMPv6 say of a destination (net/ipv4/icmp.c icmp_err_convert, net/ipv6/icmp.c). */
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENONET:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case EACCES:
    case EPROTO:
      return WEIR_FAIL_UNREACHABLE;
    default:
      return WEIR_FAIL_OTHER;
  }
}

#endif /* WEIR_FAILURE_H */
