/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The few fields of kernel structs that measuring reads. Their places are relocated at load by the running
 * kernel's BTF (CO-RE), by name: no vmlinux.h.
 */
#ifndef WEIR_KERNEL_TYPES_H
#define WEIR_KERNEL_TYPES_H

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sock_common {
  unsigned char skc_state;
  unsigned long skc_flags;
};

struct weir_atomic {
  int counter;
};
struct weir_arch_spinlock {
  struct weir_atomic val; /* struct qspinlock; other kinds (PREEMPT_RT, s390) lack it */
};
struct weir_raw_spinlock {
  struct weir_arch_spinlock raw_lock;
};
struct weir_spinlock {
  struct weir_raw_spinlock rlock;
};
struct weir_socket_lock {
  struct weir_spinlock slock; /* held in softirq, and for the moment in which `owned` changes */
  int owned;                  /* by a process */
};

struct sock {
  struct sock_common __sk_common;
  struct weir_socket_lock sk_lock;
  int sk_err;
  __u16 sk_protocol;
  __u8 sk_shutdown;
};

struct tcp_sock {
  __u64 bytes_acked;    /* sequence numbers, SYN and FIN included */
  __u64 bytes_received; /* likewise, but for the SYN */
  __u32 snd_una, snd_nxt, write_seq;
  __u32 total_retrans;
  __u32 srtt_us; /* eighths of a microsecond */
  __u32 segs_out;
};

struct bpf_iter__bpf_sk_storage_map {
  struct sock* sk;
  void* value;
};

#pragma clang attribute pop

enum { WEIR_SOCK_DONE = 1 }; /* enum sock_flags: a FIN was received (tcp_fin) */

/* include/net/tcp_states.h */
enum {
  WEIR_TCP_ESTABLISHED = 1,
  WEIR_TCP_SYN_SENT = 2,
  WEIR_TCP_FIN_WAIT1 = 4,
  WEIR_TCP_FIN_WAIT2 = 5,
  WEIR_TCP_CLOSE = 7,
  WEIR_TCP_LAST_ACK = 9,
  WEIR_TCP_CLOSING = 11,
};

#endif /* WEIR_KERNEL_TYPES_H */
