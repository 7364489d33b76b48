// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* A program that the verifier follows for a long way before it refuses it. */
#include <linux/bpf.h>

/* After the types that it uses. */
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL"; /* dual GPL-2.0/Apache-2.0: the kernel knows only the first */

SEC("cgroup/sock_release")
int weir_rejected(struct bpf_sock* sk) {
  volatile __u32 sum = 0;

#pragma clang loop unroll(full)
  for (int i = 0; i < 2000; i++) sum += *(volatile __u32*)&sk->mark;
  return *(volatile int*)(long)sum; /* a number is no address */
}
