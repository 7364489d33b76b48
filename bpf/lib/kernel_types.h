/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The few fields of kernel structs that measuring reads. Their places are relocated at load by the running
 * kernel's BTF (CO-RE), by name: no vmlinux.h.
 */
#ifndef WEIR_KERNEL_TYPES_H
#define WEIR_KERNEL_TYPES_H

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
  unsigned int inum;
};
struct net {
  struct ns_common ns;
};
struct weir_possible_net {
  struct net* net;
};
struct weir_in6_addr {
  union {
    __u32 u6_addr32[4];
  } in6_u;
};

struct sock_common {
  unsigned short skc_family;
  unsigned char skc_state;
  unsigned long skc_flags;
  __u32 skc_daddr;
  __u16 skc_dport; /* network order */
  struct weir_in6_addr skc_v6_daddr;
  struct weir_possible_net skc_net;
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
  __u8 is_mptcp : 1; /* only where the kernel knows MPTCP */
};

struct seq_file;
struct bpf_iter_meta {
  struct seq_file* seq;
};
struct bpf_iter__bpf_sk_storage_map {
  struct bpf_iter_meta* meta;
  struct sock* sk;
  void* value;
};
struct bpf_iter__tcp {
  struct sock_common* sk_common;
};
struct udp_sock;
struct bpf_iter__udp {
  struct udp_sock* udp_sk;
};

#pragma clang attribute pop

/* enum sock_flags */
enum {
  WEIR_SOCK_DEAD = 0, /* its process is gone */
  WEIR_SOCK_DONE = 1, /* a FIN was received (tcp_fin) */
};

enum { WEIR_AF_INET = 2, WEIR_AF_INET6 = 10 };

/* include/net/tcp_states.h */
enum {
  WEIR_TCP_ESTABLISHED = 1,
  WEIR_TCP_SYN_SENT = 2,
  WEIR_TCP_FIN_WAIT1 = 4,
  WEIR_TCP_FIN_WAIT2 = 5,
  WEIR_TCP_CLOSE = 7,
  WEIR_TCP_CLOSE_WAIT = 8,
  WEIR_TCP_LAST_ACK = 9,
  WEIR_TCP_CLOSING = 11,
};

#endif /* WEIR_KERNEL_TYPES_H */
