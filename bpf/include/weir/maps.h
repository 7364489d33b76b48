/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The kernel/user border: every struct that lives in a BPF map. Compiled by clang -target bpf and by g++; a
 * unit test compares the layout with the object's BTF. Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d,
 * network order; ports (_be) in network order; times CLOCK_MONOTONIC nanoseconds.
 *
 *   weir_vips, by key ---> .slot ---> weir_splits[slot] ---> weir_endpoints[first .. first+count)
 *      |            (the one store          |
 *      |              that flips)           +--> weir_wide[wide], weir_cursors[cursor]: three variants and
 * more
 *      +--> .next: the cursors of one or two variants
 *
 * What one connection reads lies in as few cache lines as can be: with thousands of services each of them is
 * a miss. One of weir_vips, one or two of weir_splits, one of weir_endpoints.
 */
#ifndef WEIR_MAPS_H
#define WEIR_MAPS_H

#ifdef __bpf__
#include <linux/bpf.h>
#include <linux/types.h>
#else
#include <linux/types.h>
#endif

/* The kernel wants the real type, user space only its size. */
#ifdef __bpf__
#define WEIR_SPIN_LOCK struct bpf_spin_lock
#else
#define WEIR_SPIN_LOCK __u32
#endif

#ifdef __cplusplus
#define WEIR_STATIC_ASSERT static_assert
#else
#define WEIR_STATIC_ASSERT _Static_assert
#endif

/* Grows with every change of a layout below; names the pin directory. */
#define WEIR_SCHEMA_VERSION 3

#define WEIR_MAX_VARIANTS 16
#define WEIR_PAIR 2 /* variants that live in the split itself */
#define WEIR_MAX_WEIGHT 1000000
#define WEIR_MAX_UDP_FLOWS 16
#define WEIR_MAX_FAILING 4096
#define WEIR_MAX_PODS 4096
#define WEIR_HISTOGRAM_BUCKETS 110
#define WEIR_NAME_SIZE 64    /* a Kubernetes label value and its NUL */
#define WEIR_GRACE_CPUS 1024 /* readers on CPU n count in element n mod this */

struct weir_address {
  __u8 bytes[16];
};

/* What a client dials. */
struct weir_vip_key {
  struct weir_address address;
  __be16 port_be;
  __u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
  __u8 pad;
};
WEIR_STATIC_ASSERT(sizeof(struct weir_vip_key) == 20, "weir_vip_key");

/*
 * What the fail safe has seen of a VIP (bpf/lib/guard.h). The kernel writes it; user space resets it once the
 * split has another canary, or is told to go on.
 */
struct weir_guard {
  __u64 diverted;       /* connections given to stable whatever the weights say: numbers them, too */
  __u32 canary_failed;  /* connects to the canary that failed in a row */
  __u8 stable_answered; /* since that row began, and it is the last that was heard of stable */
  __u8 tripped;         /* the canary gets no connection any more */
  __u8 failing;         /* an endpoint of the VIP may be in weir_failing */
  __u8 pad;
};
WEIR_STATIC_ASSERT(sizeof(struct weir_guard) == 16, "weir_guard");

#define WEIR_VIP_FREE 0    /* never used: a search ends here */
#define WEIR_VIP_REMOVED 1 /* a search goes on behind it */

/*
 * weir_vips (ARRAY, mmapable): a hash table with linear probing, written by user space alone
 * (bpf/lib/vips.h). Its entry is one cache line. A VIP stays where it is as long as it is known; the entry's
 * index is the number of the service.
 */
struct weir_vip {
  __u32 tag;  /* WEIR_VIP_FREE, WEIR_VIP_REMOVED, or more: of the key below */
  __u32 slot; /* of weir_splits; 0: not in force */
  struct weir_vip_key key;
  __u32 consumers; /* whose entry it is: value of weir_pods; 0: everybody's who has none of his own */
  __u64 next[2];   /* connections given so far, under splits of one or two variants; weir_split.cursor says
                      which */
  struct weir_guard guard;
};
WEIR_STATIC_ASSERT(sizeof(struct weir_vip) == 64, "weir_vip");

/* A variant that can be chosen: weight above 0 (reduced by the split's gcd), endpoints [first, first +
 * count). */
struct weir_variant {
  __u64 id; /* FNV-1a of the revision's name: recognises it across restarts */
  __u32 weight;
  __u32 first_endpoint;
  __u32 endpoint_count; /* 0 only with WEIR_ON_EMPTY_REFUSE_SHARE */
  __u32 index;          /* place among the frontend's variants, weightless ones included */
  __u32 series;         /* key of weir_series and weir_stats; 0: not measured */
  __u32
      trip_after; /* failed connects in a row, while stable's succeed, that take it out; 0: no number does */
};
WEIR_STATIC_ASSERT(sizeof(struct weir_variant) == 32, "weir_variant");

enum weir_on_empty {
  WEIR_ON_EMPTY_PASS = 0,
  WEIR_ON_EMPTY_REFUSE = 1,
  WEIR_ON_EMPTY_REFUSE_SHARE = 2,
};

/* weir_split.flags */
#define WEIR_SPLIT_HTTP 1      /* plaintext HTTP/1.x is to be recognised on its connections */
#define WEIR_SPLIT_FAIL_SAFE 2 /* its first variant is stable and gets all when the others must not */
#define WEIR_SPLIT_WATCHED 4   /* which endpoints fail connects is kept in weir_failing */
/* Why the variants but the first are of weight 0 and without endpoints here: for the next agent to know. */
#define WEIR_SPLIT_CUT_OFF 8
#define WEIR_SPLIT_TRIPPED 16
#define WEIR_SPLIT_CONSUMERS 32 /* the VIP has entries for clients of some namespaces: look there first */
#define WEIR_SPLIT_ALL_KNOWN 64 /* an endpoint that it does not name is gone */

/* weir_splits (ARRAY, mmapable): immutable while a VIP's slot names it. Two cache lines, the first for most.
 */
struct weir_split {
  __u64 generation;
  __u32 service;      /* index in weir_vips */
  __u32 total_weight; /* of the variants */
  __u32 offset;       /* the node's phase, in [0, total_weight) */
  __u32 affinity_timeout_s;
  __u32 cursor; /* one or two variants: index in weir_vip.next; more: in weir_cursors */
  __u8 variant_count;
  __u8 first_pick; /* more than two variants: who gets connection 0 */
  __u8 on_empty;
  __u8 flags;                              /* WEIR_SPLIT_* */
  struct weir_variant variants[WEIR_PAIR]; /* more than two: all are in weir_wide instead */
  struct weir_vip_key key;
  __u32 wide;         /* more than two variants: index in weir_wide */
  __u32 zero;         /* always 0: see weir_opaque() */
  __u32 fail_safe_ms; /* WEIR_SPLIT_FAIL_SAFE: once no controller was heard for longer; 0: never */
};
WEIR_STATIC_ASSERT(sizeof(struct weir_split) == 128, "weir_split");

/* weir_wide (ARRAY, mmapable): the variants of a split that has more than two; immutable like it. */
struct weir_wide {
  struct weir_variant variants[WEIR_MAX_VARIANTS];
};
WEIR_STATIC_ASSERT(sizeof(struct weir_wide) == 32 * WEIR_MAX_VARIANTS, "weir_wide");

/* weir_endpoints (ARRAY, mmapable). */
struct weir_endpoint {
  struct weir_address address;
  __be16 port_be;
  __u16 pad;
};
WEIR_STATIC_ASSERT(sizeof(struct weir_endpoint) == 20, "weir_endpoint");

/* weir_cursors (ARRAY): the running state of a weights-generation of three variants and more. Under the lock;
 * not mmapable, as it holds one.
 */
struct weir_cursor {
  WEIR_SPIN_LOCK lock;
  __u32 pad;
  __u64 next;                       /* connections given so far */
  __s32 deficit[WEIR_MAX_VARIANTS]; /* next * weight - picked * total_weight: within +-total_weight */
  __u64 picked[WEIR_MAX_VARIANTS];
};
WEIR_STATIC_ASSERT(sizeof(struct weir_cursor) == 208, "weir_cursor");

/*
 * weir_grace (ARRAY, mmapable): readers in flight, counted per CPU and phase, as SRCU does. User space waits
 * for old readers by flipping the phase and comparing the sums; this takes microseconds where
 * synchronize_rcu() takes two ticks or more.
 */
struct weir_grace_cpu {
  __u64 entered[2];
  __u64 left[2];   /* without a choice */
  __u64 chosen[2]; /* left with one: connections and flows given to a variant */
  __u64 pad[2];    /* a cache line each */
};
WEIR_STATIC_ASSERT(sizeof(struct weir_grace_cpu) == 64, "weir_grace_cpu");

/* weir_state (ARRAY of 1, mmapable): what a later agent must know. */
struct weir_state {
  __u32 schema;
  __u32 phase; /* of the readers' counters: 0 or 1 */
  __u64 generation;
  __u64 controller_id[2]; /* under which the generation was given */
  __u32 node_number;
  __u32 next_series;      /* the number the next series gets; never used twice under one epoch */
  __u64 epoch[2];         /* UUID under which the figures below count; new with the maps */
  __u64 packets_since_ns; /* no packet of the cgroup went unseen since then; 0: they are not looked at */
};
WEIR_STATIC_ASSERT(sizeof(struct weir_state) == 64, "weir_state");

/* weir_contact (ARRAY of 1, mmapable): written by the agent alone. */
struct weir_contact {
  __u64 heard_ns; /* CLOCK_BOOTTIME: the last sign of life of a controller; 0: none yet */
  __u64 pad[7];
};
WEIR_STATIC_ASSERT(sizeof(struct weir_contact) == 64, "weir_contact");

/*
 * weir_failing (HASH without preallocation): endpoints whose last connect failed, or did not long ago. Made
 * by the kernel with the first failure, removed by user space.
 */
struct weir_failing_key {
  struct weir_vip_key vip;
  struct weir_endpoint endpoint;
};
WEIR_STATIC_ASSERT(sizeof(struct weir_failing_key) == 40, "weir_failing_key");

struct weir_failing {
  __u32 in_row;   /* failed connects since the last one that succeeded */
  __u32 answered; /* successful connects since the element was made */
};

/*
 * weir_pods (HASH without preallocation, key: cgroup ID of a pod): written by user space alone. Only pods in
 * whose namespaces some VIP is divided otherwise (Gateway API: consumer routes).
 */
struct weir_pod {
  __u32 consumers; /* number of its namespace, above 0 */
  __u32 pad;
};

/* weir_socks (SK_STORAGE): the record of a socket that dialled a VIP; dies with it. */
struct weir_sock {
  struct weir_vip_key vip;
  struct weir_endpoint endpoint;
  __u64 variant_id;
  __u64 generation;
  __u64 connect_ns; /* TCP: when the SYN was about to be sent; once open, how long it took */
  __u32 service;
  __u32 variant; /* weir_variant.index */
  __u32 series;
  __u8 phase;     /* enum weir_sock_phase: how far the connection has come */
  __u8 guarded;   /* what comes of it matters to bpf/lib/guard.h */
  __u8 all_known; /* WEIR_SPLIT_ALL_KNOWN */
  __u8 pad;
  /* What of the socket's own counters is in weir_stats already: moved on by compare-and-swap only. */
  __u64 sent_seen, received_seen;
  __u32 retransmits_seen;
  __u32 opened_counted; /* 0, or 1 from when it is in weir_stats as opened; by compare-and-swap too */
};
WEIR_STATIC_ASSERT(sizeof(struct weir_sock) == 104, "weir_sock");

enum weir_sock_phase {
  WEIR_SOCK_CHOSEN,  /* connect() was given an endpoint; UDP stays here */
  WEIR_SOCK_PENDING, /* SYN sent */
  WEIR_SOCK_OPEN,    /* established: counted as opened by its end, or by the reader before */
  WEIR_SOCK_CLOSED,  /* counted as closed or failed */
};

/* weir_udp_flows (SK_STORAGE): what an unconnected UDP socket sent to; the oldest gives way to the 17th. */
struct weir_udp_flow {
  struct weir_vip_key vip;
  struct weir_endpoint endpoint;
  __u64 variant_id;
  __u32 endpoint_index; /* where it was in its variant: looked at first */
  __u32 current;        /* 1: later datagrams to vip go here; 0: only late replies are translated */
  __u32 series;
  __u32 pad;
};
WEIR_STATIC_ASSERT(sizeof(struct weir_udp_flow) == 64, "weir_udp_flow");

struct weir_udp_flows {
  WEIR_SPIN_LOCK lock;
  __u32 next;
  struct weir_udp_flow flows[WEIR_MAX_UDP_FLOWS];
};

/*
 * Figures. A series is one (namespace, service, revision), whatever its ports and protocols.
 *
 * weir_series (HASH, key: series): who it is, written by user space and read by the next agent; the kernel
 * does not look.
 */
struct weir_series {
  char ns[WEIR_NAME_SIZE], service[WEIR_NAME_SIZE], revision[WEIR_NAME_SIZE]; /* NUL-terminated */
};
WEIR_STATIC_ASSERT(sizeof(struct weir_series) == 192, "weir_series");

/*
 * Exponential, four buckets per doubling (Prometheus native histograms, schema 2; OpenTelemetry, scale 2).
 * Bucket i, from 1 to 108, counts durations in (2^(i-1)/4, 2^(i/4)] * 2^-20 s: 0.95 us to 128 s. Bucket 0 is
 * all below, 109 all above.
 */
struct weir_histogram {
  __u64 sum_ns;
  __u64 buckets[WEIR_HISTOGRAM_BUCKETS];
};
WEIR_STATIC_ASSERT(sizeof(struct weir_histogram) == 888, "weir_histogram");

enum weir_failure {
  WEIR_FAIL_REFUSED,     /* ECONNREFUSED */
  WEIR_FAIL_TIMEOUT,     /* ETIMEDOUT */
  WEIR_FAIL_RESET,       /* ECONNRESET, EPIPE */
  WEIR_FAIL_UNREACHABLE, /* EHOSTUNREACH, ENETUNREACH and their like */
  WEIR_FAIL_CANCELED,    /* the client closed the socket before it was connected */
  WEIR_FAIL_OTHER,
  WEIR_FAIL_MAX,
};

/* Why a connection's HTTP is not looked at (any further); each counted once per connection. */
enum weir_opaque_reason {
  WEIR_OPAQUE_NOT_HTTP, /* no request began as one */
  WEIR_OPAQUE_UPGRADED, /* 101, CONNECT, or HTTP/2 (PRI) */
  WEIR_OPAQUE_PIPELINED,
  WEIR_OPAQUE_BAD_RESPONSE, /* no status line where one must be */
  WEIR_OPAQUE_OTHER,
  WEIR_OPAQUE_MAX,
};

/* weir_stats (HASH without preallocation, key: series): made with the series' first connection. Atomics only.
 */
struct weir_stats {
  __u64 opened, closed;             /* TCP: opened = closed + active */
  __u64 failed[WEIR_FAIL_MAX];      /* TCP: never opened */
  __u64 bytes_sent, bytes_received; /* TCP payload, once: neither SYN, FIN nor retransmissions */
  __u64 retransmits;                /* segments, SYNs too */
  __u64 resets_received;
  __u64 udp_datagrams_sent, udp_datagrams_received, udp_bytes_sent, udp_bytes_received; /* UDP payload */
  __u64 http_requests, http_no_response; /* no_response: the connection ended first */
  __u64 http_opaque[WEIR_OPAQUE_MAX];
  __u64 http_connections, http_error_connections; /* with a first response; with at least one 5xx */
  struct weir_histogram connect;                  /* SYN to established */
  struct weir_histogram srtt;                     /* smoothed round trip, once per connection, as it closes */
};
WEIR_STATIC_ASSERT(sizeof(struct weir_stats) == 8 * 25 + 2 * 888, "weir_stats");

/* weir_http (HASH without preallocation): first byte of a request to first byte of its response, by exact
 * status code. */
struct weir_http_key {
  __u32 series;
  __u32 code; /* 100 .. 999 */
};

#define WEIR_HTTP_CHUNK 256 /* bytes of a request looked at in one piece */

/* How far the parser of requests is. */
struct weir_http_parser {
  __u8 phase;      /* enum weir_http_phase */
  __u8 at;         /* place within what the phase matches */
  __u8 word;       /* header name under comparison */
  __u8 seen;       /* WEIR_HTTP_S_*: what the request's headers said */
  __u32 begun_at;  /* where in the packet a request began */
  __u64 remaining; /* of the body or chunk */
  __u64 method;    /* its last eight bytes */
  /* The packet under way. Not on the stack, where the verifier would follow each combination of values. */
  __u32 offset, end;         /* what is left of its payload */
  __u32 chunk_at, chunk_end; /* within `chunk` */
  __u8 begun;                /* a request began */
  __u8 counted;              /* a request's first line is complete */
  __u8 outstanding;          /* a request from before is not answered */
  __u8 verdict;              /* enum weir_http_verdict */
  __u8 pad[4];
  __u8 chunk[WEIR_HTTP_CHUNK + 8];
};
WEIR_STATIC_ASSERT(sizeof(struct weir_http_parser) == 312, "weir_http_parser");

/*
 * weir_http_socks (SK_STORAGE): how far HTTP has come on a connection whose split has WEIR_SPLIT_HTTP; made
 * by connect(), dies with the socket. Sequence numbers are the peers' own, in host order.
 */
struct weir_http_sock {
  /* Both directions; under the lock, as packets of one socket may arrive on several CPUs. */
  WEIR_SPIN_LOCK lock;
  __u32 state; /* enum weir_http_state; changed by compare-and-swap, as the end comes without the lock */
  __u64 requested_at_ns; /* the first byte of the request */
  __u32 request_seq;     /* its number: what answers it acknowledges it */
  __u32 response_seq;    /* where the status line begins, or, while `interim`, where the search goes on */
  __u32 received_end;    /* end of what was seen of the answer, in whatever order */
  __u16 gathered;        /* bit i: status[i] was seen */
  __u8 status[12];       /* "HTTP/1.1 200" */
  __u8 interim;          /* 1: skipping a 1xx to its blank line */
  __u8 matched;          /* of CR LF CR LF */
  __u8 flags;            /* WEIR_HTTP_F_* */
  __u8 pad[3];
  __u32 series;
  /* Requests alone: packets are sent under the socket's own lock. */
  __u32 sent_end; /* what lies before it was seen: a retransmission */
  __u8 synced;    /* enum weir_http_sync */
  __u8 asked;     /* 1: a request was counted */
  __u8 pad2[6];
  struct weir_http_parser parser;
};
WEIR_STATIC_ASSERT(sizeof(struct weir_http_sock) == 376, "weir_http_sock");

enum weir_http_state {
  WEIR_HTTP_IDLE,   /* nothing is outstanding */
  WEIR_HTTP_BEGUN,  /* a request whose first line is not complete yet */
  WEIR_HTTP_WAIT,   /* a request is outstanding */
  WEIR_HTTP_OPAQUE, /* not looked at any further */
  WEIR_HTTP_CLOSED,
};

enum weir_http_sync {
  WEIR_HTTP_NO_SYN,   /* not seen yet */
  WEIR_HTTP_SYNCED,   /* sent_end holds */
  WEIR_HTTP_NO_ORDER, /* MPTCP: what is sent here need not be in order, or all there is */
};

#define WEIR_HTTP_F_UNNUMBERED 1 /* the request was in the SYN: response_seq comes with the peer's */
#define WEIR_HTTP_F_CONTINUED 2  /* 100 was seen for the request */
#define WEIR_HTTP_F_ANSWERED 4   /* counted in http_connections */
#define WEIR_HTTP_F_FAILED 8     /* counted in http_error_connections */

/* weir_affinity (LRU_HASH): sessionAffinity ClientIP, the client being a network namespace. */
struct weir_affinity_key {
  struct weir_vip_key vip;
  __u32 pad;
  __u64 netns_cookie;
};
WEIR_STATIC_ASSERT(sizeof(struct weir_affinity_key) == 32, "weir_affinity_key");

struct weir_affinity {
  struct weir_endpoint endpoint;
  __u32 endpoint_index;
  __u64 variant_id;
  __u64 last_used_ns;
};
WEIR_STATIC_ASSERT(sizeof(struct weir_affinity) == 40, "weir_affinity");

/* weir_counters (PERCPU_ARRAY of __u64). Those from WEIR_FIRST_ERROR on count things that should not happen.
 */
enum weir_counter {
  WEIR_COUNT_AFFINITY_HIT,     /* of weir_grace_cpu.chosen: by session affinity */
  WEIR_COUNT_PASSED_EMPTY,     /* nothing to choose from: passed unchanged */
  WEIR_COUNT_REFUSED_EMPTY,    /* nothing to choose from: refused */
  WEIR_COUNT_UDP_FLOW_DROPPED, /* a socket's 17th flow took the place of its oldest */
  WEIR_COUNT_STALE_VIP,        /* the VIP went away between two look-ups: passed unchanged */
  WEIR_FIRST_ERROR,
  WEIR_ERR_SOCK_STORAGE = WEIR_FIRST_ERROR, /* bpf_sk_storage_get could not create */
  WEIR_ERR_FLOW_STORAGE,
  WEIR_ERR_BAD_INDEX,  /* an index in the maps points outside them */
  WEIR_ERR_AFFINITY,   /* the affinity map would not take an entry */
  WEIR_ERR_SET_RETVAL, /* bpf_set_retval failed: the caller saw EPERM */
  WEIR_ERR_STATS,      /* weir_stats would not take an entry: something was not measured */
  WEIR_ERR_HTTP,       /* weir_http would not take an entry */
  WEIR_COUNTER_MAX,
};

#endif /* WEIR_MAPS_H */
