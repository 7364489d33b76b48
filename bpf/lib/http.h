/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * HTTP/1.x on a client's connection, as it leaves and enters the socket: requests, the status code and delay
 * of each response, or the word that the connection is opaque. Pure: compiled for BPF, and for user space by
 * tests and the fuzzer.
 *
 * Requests are followed byte by byte (http_request.h), so it is known where each begins. Responses are not:
 * the one to a request begins at the number which the packet with the request's first byte acknowledged. For
 * a client sends a request when it has read all of the response before (else it pipelines), then all of that
 * response was received in order, so what is acknowledged is the response's end or lies behind it; and a
 * server sends nothing after a response's end before it has the next request. So only the twelve bytes from
 * there on are looked at, whatever bodies contain and however often a packet comes.
 *
 * The twelve are gathered in any order. A 1xx moves the place on to behind its blank line, which has to be
 * searched in order; a gap there, like all else that is not as described, makes the connection opaque. What
 * comes before the server acknowledged the request is no answer to it.
 */
#ifndef WEIR_HTTP_H
#define WEIR_HTTP_H

#include "bpf/lib/http_request.h"

struct weir_http_packet {
  const void* packet;      /* for http_io.h */
  __u32 payload, length;   /* of TCP's data, as offset in the packet and bytes */
  __u32 seq, acknowledged; /* host order */
  __u8 syn, urgent;        /* flags of the TCP header */
  __u8 pad[2];
};

/* What a packet showed; to be added to the figures of sock->series. */
struct weir_http_events {
  __u64 delay_ns; /* first byte of the request to first bytes of the response */
  __u32 code;     /* 0: no response */
  __u8 request;
  __u8 opaque; /* 1 + enum weir_opaque_reason; 0: not that */
  __u8 first_answer, first_failure;
};

static __always_inline __u32 weir_http_state_of(const struct weir_http_sock* sock) {
  return *(const volatile __u32*)&sock->state;
}

static __always_inline bool weir_http_change(struct weir_http_sock* sock, __u32 from, __u32 to) {
  return __sync_val_compare_and_swap(&sock->state, from, to) == from;
}

/* The first to say so counts it. */
static __always_inline void weir_http_give_up(struct weir_http_sock* sock, __u8 reason,
                                              struct weir_http_events* events) {
  __u32 state = weir_http_state_of(sock);

  if (state >= WEIR_HTTP_OPAQUE) return;
  /* Only BEGUN and WAIT change under our feet, each at most once before it is our turn. */
  if (weir_http_change(sock, state, WEIR_HTTP_OPAQUE)) {
    events->opaque = reason + 1;
    return;
  }
  state = weir_http_state_of(sock);
  if (state < WEIR_HTTP_OPAQUE && weir_http_change(sock, state, WEIR_HTTP_OPAQUE))
    events->opaque = reason + 1;
}

/* A socket dials: its storage as new. */
static __always_inline void weir_http_begin(struct weir_http_sock* sock, __u32 series, bool multipath) {
  sock->state = WEIR_HTTP_IDLE;
  sock->flags = 0;
  sock->interim = 0;
  sock->gathered = 0;
  sock->series = series;
  sock->sent_end = 0;
  sock->synced = multipath ? WEIR_HTTP_NO_ORDER : WEIR_HTTP_NO_SYN;
  sock->asked = 0;
  sock->parser.phase = WEIR_HTTP_START;
  sock->parser.seen = 0;
}

/* True: the connection ended with a request that was not answered. Takes no lock: any program may call it. */
static __always_inline bool weir_http_end(struct weir_http_sock* sock) {
  return weir_http_change(sock, WEIR_HTTP_WAIT, WEIR_HTTP_CLOSED);
}

static __always_inline __u8 weir_http_reason(const struct weir_http_sock* sock, __u8 verdict) {
  if (verdict == WEIR_HTTP_UPGRADES) return WEIR_OPAQUE_UPGRADED;
  if (verdict == WEIR_HTTP_SECOND) return WEIR_OPAQUE_PIPELINED;
  return sock->asked ? WEIR_OPAQUE_OTHER : WEIR_OPAQUE_NOT_HTTP;
}

/* A request's first byte is in the packet: from now on a response may come. */
static __always_inline void weir_http_expect_response(struct weir_http_sock* sock,
                                                      const struct weir_http_packet* packet) {
  const __u64 now = weir_http_now(packet->packet);
  const __u32 seq = packet->seq + packet->syn + (sock->parser.begun_at - packet->payload);
  const __u32 state = sock->parser.counted ? WEIR_HTTP_WAIT : WEIR_HTTP_BEGUN;
  const __u8 flags = sock->flags & (WEIR_HTTP_F_ANSWERED | WEIR_HTTP_F_FAILED);

  weir_http_lock(sock);
  sock->requested_at_ns = now;
  sock->request_seq = seq;
  sock->response_seq = packet->acknowledged;
  sock->received_end = packet->acknowledged;
  sock->gathered = 0;
  sock->interim = 0;
  sock->flags = packet->syn ? flags | WEIR_HTTP_F_UNNUMBERED : flags;
  weir_http_change(sock, WEIR_HTTP_IDLE, state);
  weir_http_unlock(sock);
}

/* What is new in a packet that is sent: its place in the payload, or the length if nothing is. */
static __always_inline __u32 weir_http_unseen(struct weir_http_sock* sock,
                                              const struct weir_http_packet* packet,
                                              struct weir_http_events* events) {
  const __u32 start = packet->seq + packet->syn;
  __u32 seen;

  if (packet->syn && sock->synced == WEIR_HTTP_NO_SYN) {
    sock->sent_end = start;
    sock->synced = WEIR_HTTP_SYNCED;
  }
  if (!packet->length) return 0;
  seen = sock->sent_end - start;
  if (sock->synced != WEIR_HTTP_SYNCED || packet->urgent || (__s32)seen < 0) {
    weir_http_give_up(sock, WEIR_OPAQUE_OTHER, events);
    return packet->length;
  }
  if (seen >= packet->length) return packet->length;
  sock->sent_end = start + packet->length;
  return seen;
}

/* A packet that the socket sends; events is zeroed. */
static __always_inline void weir_http_sent(struct weir_http_sock* sock, const struct weir_http_packet* packet,
                                           struct weir_http_events* events) {
  const __u32 state = weir_http_state_of(sock);
  __u32 unseen;

  if (state >= WEIR_HTTP_OPAQUE) return;
  unseen = weir_http_unseen(sock, packet, events);
  if (unseen >= packet->length) return;
  /* After a final response in place of 100 some clients send the body and some the next request. */
  if (state == WEIR_HTTP_IDLE && (sock->parser.seen & WEIR_HTTP_S_HELD) &&
      !(sock->flags & WEIR_HTTP_F_CONTINUED))
    return weir_http_give_up(sock, WEIR_OPAQUE_OTHER, events);
  weir_http_scan_payload(&sock->parser, packet->packet, packet->payload + unseen,
                         packet->payload + packet->length, state != WEIR_HTTP_IDLE);
  if (sock->parser.begun) {
    weir_http_expect_response(sock, packet);
  } else if (sock->parser.counted && !weir_http_change(sock, WEIR_HTTP_BEGUN, WEIR_HTTP_WAIT)) {
    return;
  }
  if (sock->parser.counted) {
    events->request = 1;
    sock->asked = 1;
  }
  if (sock->parser.verdict != WEIR_HTTP_MORE)
    weir_http_give_up(sock, weir_http_reason(sock, sock->parser.verdict), events);
}

/* The code of "HTTP/1.x nnn", 0 if it is not that. */
static __always_inline __u32 weir_http_code(const __u8* status) {
  const __u8 a = status[9] - '0', b = status[10] - '0', c = status[11] - '0';

  if (status[0] != 'H' || status[1] != 'T' || status[2] != 'T' || status[3] != 'P' || status[4] != '/' ||
      status[5] != '1' || status[6] != '.' || status[7] < '0' || status[7] > '9' || status[8] != ' ')
    return 0;
  if (a < 1 || a > 9 || b > 9 || c > 9) return 0;
  return a * 100 + b * 10 + c;
}

/* A packet on its way through the search for the response. */
struct weir_http_answer {
  struct weir_http_sock* sock;
  const struct weir_http_packet* packet;
  struct weir_http_events* events;
  __u32 start, end; /* of its data, as sequence numbers */
  __u64 done;       /* nothing more is to be found; 64 bits, which the verifier keeps track of */
  __u32 at, count;  /* search for the blank line: place and bytes left in the packet */
  __u8 matched;
  __u8 opaque; /* 1 + reason */
};

static __always_inline bool weir_http_after(__u32 a, __u32 b) { return (__s32)(a - b) > 0; }

static __always_inline void weir_http_note_received(struct weir_http_sock* sock, __u32 end) {
  if (weir_http_after(end, sock->received_end)) sock->received_end = end;
}

/* The status line is complete; true: it is that of a 1xx, look on. Under the lock. */
static __always_inline bool weir_http_judge(struct weir_http_answer* answer, __u64 now) {
  struct weir_http_sock* sock = answer->sock;
  struct weir_http_events* events = answer->events;
  const __u32 code = weir_http_code(sock->status);

  if (!code || !weir_http_after(answer->packet->acknowledged, sock->request_seq)) {
    answer->opaque = 1 + WEIR_OPAQUE_BAD_RESPONSE;
    return false;
  }
  if (code < 200 && code != 101) {
    if (code == 100) sock->flags |= WEIR_HTTP_F_CONTINUED;
    sock->interim = 1;
    sock->matched = 0;
    sock->response_seq += 12;
    /* What follows has come already, and will not come again. */
    if (sock->received_end != answer->end) answer->opaque = 1 + WEIR_OPAQUE_OTHER;
    return true;
  }
  if (!weir_http_change(sock, WEIR_HTTP_WAIT, code == 101 ? WEIR_HTTP_OPAQUE : WEIR_HTTP_IDLE)) return false;
  events->code = code;
  events->delay_ns = now - sock->requested_at_ns;
  if (code == 101) events->opaque = 1 + WEIR_OPAQUE_UPGRADED;
  events->first_answer = !(sock->flags & WEIR_HTTP_F_ANSWERED);
  sock->flags |= WEIR_HTTP_F_ANSWERED;
  if (code >= 500 && code < 600) {
    events->first_failure = !(sock->flags & WEIR_HTTP_F_FAILED);
    sock->flags |= WEIR_HTTP_F_FAILED;
  }
  return false;
}

/* Bytes `first` and on of the status line; a part of it without branches, or the verifier would follow 2^12
 * ways. Under the lock. */
static __always_inline void weir_http_keep(struct weir_http_sock* sock, const __u8* piece, __u32 first,
                                           __u32 count) {
  __u32 i;

  if (!first && count == 12) { /* whole, as nearly always */
    __builtin_memcpy(sock->status, piece, 12);
    sock->gathered = 0xfff;
    return;
  }
  for (i = 0; i < 12; i++) {
    const __u32 from = i - first;
    __u64 mine = (__u64)((__s64)((__u64)from - (__u64)count) >> 63); /* from < count: all ones */

    WEIR_HTTP_OPAQUE_VALUE(mine);
    sock->status[i] = (__u8)((sock->status[i] & ~mine) | (piece[from & 15] & mine));
    sock->gathered |= (__u16)(mine & (1U << i));
  }
}

/* Takes the packet's share of the status line at `seq`; true: look again, a 1xx was found. */
static __always_inline bool weir_http_gather(struct weir_http_answer* answer, __u32 seq) {
  struct weir_http_sock* sock = answer->sock;
  const struct weir_http_packet* packet = answer->packet;
  const __u32 into = seq - answer->start; /* where the status line begins in the packet; may be negative */
  const __u32 first = (__s32)into < 0 ? -into : 0, skip = (__s32)into < 0 ? 0 : into;
  __u32 count = 12 - first;
  bool interim = false;
  __u8 piece[16] = {};
  __u64 now;

  if (skip >= packet->length) return false; /* old */
  if (first >= 12) {
    count = 0; /* it lies behind: only that it came is of interest */
  } else {
    if (count > packet->length - skip) count = packet->length - skip;
    if (weir_http_load(packet->packet, packet->payload + skip, piece, 12, count)) {
      answer->opaque = 1 + WEIR_OPAQUE_OTHER;
      return false;
    }
  }
  now = weir_http_now(packet->packet);
  weir_http_lock(sock);
  if (weir_http_state_of(sock) != WEIR_HTTP_WAIT) {
    /* another packet, on another CPU, was the one */
  } else if (sock->response_seq != seq || sock->interim) {
    answer->opaque = 1 + WEIR_OPAQUE_OTHER; /* another packet moved the place on meanwhile */
  } else {
    weir_http_note_received(sock, answer->end);
    weir_http_keep(sock, piece, first, count);
    if (sock->gathered == 0xfff) interim = weir_http_judge(answer, now);
  }
  weir_http_unlock(sock);
  return interim;
}

/* The next byte of the search for a blank line. */
static long weir_http_seek(__u32 i, void* context) {
  struct weir_http_answer* answer = (struct weir_http_answer*)context;
  __u8 byte;

  (void)i;
  if (!answer->count) return 1;
  if (weir_http_load(answer->packet->packet, answer->at, &byte, 1, 1)) {
    answer->opaque = 1 + WEIR_OPAQUE_OTHER;
    return 1;
  }
  answer->at++;
  answer->count--;
  if (byte == (answer->matched & 1 ? '\n' : '\r')) {
    answer->matched++;
  } else {
    answer->matched = byte == '\r' ? 1 : 0;
  }
  return answer->matched == 4;
}

#define WEIR_HTTP_MAX_SEEK 16384

/* Goes on to the blank line of a 1xx; true: look again, it was found. */
static __always_inline bool weir_http_pass_interim(struct weir_http_answer* answer, __u32 seq) {
  struct weir_http_sock* sock = answer->sock;
  const __u32 into = seq - answer->start;
  bool found = false;

  if ((__s32)into >= 0 && into >= answer->packet->length) return false; /* old, or all of it was looked at */
  if ((__s32)into < 0) {                                                /* a gap */
    answer->opaque = 1 + WEIR_OPAQUE_OTHER;
    return false;
  }
  answer->at = answer->packet->payload + into;
  answer->count = answer->packet->length - into;
  answer->matched = sock->matched;
  weir_http_loop(WEIR_HTTP_MAX_SEEK, weir_http_seek, answer);
  weir_http_lock(sock);
  if (sock->response_seq != seq || !sock->interim) {
    answer->opaque = 1 + WEIR_OPAQUE_OTHER; /* another packet, on another CPU, moved on meanwhile */
  } else {
    weir_http_note_received(sock, answer->end);
    sock->response_seq = answer->end - answer->count;
    sock->matched = answer->matched & 3;
    found = answer->matched == 4;
    if (found) {
      sock->interim = 0;
      sock->gathered = 0;
    }
    /* Too far, or what follows has come already and will not come again. */
    if ((!found && answer->count) || sock->received_end != answer->end)
      answer->opaque = 1 + WEIR_OPAQUE_OTHER;
  }
  weir_http_unlock(sock);
  return found;
}

/* One status line, or the rest of one 1xx. */
static long weir_http_look(__u32 i, void* context) {
  struct weir_http_answer* answer = (struct weir_http_answer*)context;
  struct weir_http_sock* sock = answer->sock;
  const __u32 seq = *(volatile __u32*)&sock->response_seq;
  bool again;

  (void)i;
  /* For the verifier, which does not know that a loop ends where its step says so. */
  if (answer->done) return 1;
  again =
      *(volatile __u8*)&sock->interim ? weir_http_pass_interim(answer, seq) : weir_http_gather(answer, seq);
  if (again && !answer->opaque) return 0;
  answer->done = 1;
  return 1;
}

#define WEIR_HTTP_MAX_INTERIM 32 /* 1xx in one packet, twice */

/* A packet that the socket receives; events is zeroed. */
static __always_inline void weir_http_received(struct weir_http_sock* sock,
                                               const struct weir_http_packet* packet,
                                               struct weir_http_events* events) {
  const __u32 state = weir_http_state_of(sock);
  struct weir_http_answer answer = {};

  if (state != WEIR_HTTP_WAIT && state != WEIR_HTTP_BEGUN) return;
  answer.sock = sock;
  answer.packet = packet;
  answer.events = events;
  answer.start = packet->seq + packet->syn;
  answer.end = answer.start + packet->length;
  if (packet->syn) {
    weir_http_lock(sock);
    if (sock->flags & WEIR_HTTP_F_UNNUMBERED) {
      sock->flags &= ~WEIR_HTTP_F_UNNUMBERED;
      sock->response_seq = answer.start;
      sock->received_end = answer.start;
    }
    weir_http_unlock(sock);
  }
  if (!packet->length) return;
  if (state == WEIR_HTTP_BEGUN) {
    if (!weir_http_after(answer.end, *(volatile __u32*)&sock->response_seq)) return;
    answer.opaque = 1 + WEIR_OPAQUE_OTHER; /* an answer to the first half of a line */
  } else if (sock->flags & WEIR_HTTP_F_UNNUMBERED) {
    answer.opaque = 1 + WEIR_OPAQUE_OTHER; /* faster than the SYN */
  } else {
    weir_http_loop(WEIR_HTTP_MAX_INTERIM, weir_http_look, &answer);
  }
  if (answer.opaque) weir_http_give_up(sock, answer.opaque - 1, events);
}

#endif /* WEIR_HTTP_H */
