/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where requests begin and end in what a client sends: the framing of RFC 9112, sections 2 to 7. Pure:
 * compiled for BPF, and for user space by tests and the fuzzer.
 *
 * Bytes arrive in pieces cut anywhere; the state between two bytes is in weir_http_sock. What servers are
 * known to read differently (a bare LF, folded lines, two lengths, a length beside chunked, a coding other
 * than chunked) is not decided here: the connection becomes opaque.
 */
#ifndef WEIR_HTTP_REQUEST_H
#define WEIR_HTTP_REQUEST_H

#include "bpf/lib/http_io.h"

enum weir_http_phase {
  WEIR_HTTP_START, /* between messages */
  WEIR_HTTP_METHOD,
  WEIR_HTTP_TARGET,
  WEIR_HTTP_VERSION,
  WEIR_HTTP_LINE, /* a header line begins */
  WEIR_HTTP_NAME, /* it may be one of weir_http_words */
  WEIR_HTTP_SKIP, /* to the end of the line */
  WEIR_HTTP_LENGTH,
  WEIR_HTTP_CODING,
  WEIR_HTTP_LINE_LF, /* after a line's CR */
  WEIR_HTTP_END_LF,  /* after the blank line's CR */
  WEIR_HTTP_BODY,    /* `remaining` bytes */
  WEIR_HTTP_CHUNK_SIZE,
  WEIR_HTTP_CHUNK_EXT,
  WEIR_HTTP_CHUNK_SIZE_LF,
  WEIR_HTTP_CHUNK_DATA, /* `remaining` bytes */
  WEIR_HTTP_CHUNK_CR,
  WEIR_HTTP_CHUNK_LF,
};

#define WEIR_HTTP_S_LENGTH 1
#define WEIR_HTTP_S_CHUNKED 2
#define WEIR_HTTP_S_EXPECT 4
#define WEIR_HTTP_S_HTTP10 8
#define WEIR_HTTP_S_TRAILERS 16 /* the lines are a chunked body's trailers */
#define WEIR_HTTP_S_HELD 32     /* the body may wait for a 100, and nothing of it was sent yet */

enum weir_http_verdict {
  WEIR_HTTP_MORE,
  WEIR_HTTP_BAD,      /* not a request that could be followed */
  WEIR_HTTP_UPGRADES, /* CONNECT, or HTTP/2's preface */
  WEIR_HTTP_SECOND,   /* a request began in the packet that another began in, or while one is outstanding */
};

struct weir_http_scan {
  struct weir_http_sock* sock;
  const void* packet; /* for http_io.h */
};

enum { WEIR_HTTP_WORD_LENGTH, WEIR_HTTP_WORD_CODING, WEIR_HTTP_WORD_EXPECT };

const char weir_http_words[4][32] = {"content-length:", "transfer-encoding:", "expect:", ""};
const char weir_http_chunked[8] = {'c', 'h', 'u', 'n', 'k', 'e', 'd', 0};
const char weir_http_version[8] = {'H', 'T', 'T', 'P', '/', '1', '.', 0};

/* As a shift of the bytes, first byte highest. */
#define WEIR_HTTP_PRI 0x505249ULL
#define WEIR_HTTP_CONNECT 0x434f4e4e454354ULL

static __always_inline __u8 weir_http_lower(__u8 byte) {
  return byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte;
}

static __always_inline bool weir_http_control(__u8 byte) { return byte < 0x20; }

static __always_inline int weir_http_start(struct weir_http_sock* sock, __u8 byte) {
  if (byte == '\r' || byte == '\n') return WEIR_HTTP_MORE; /* RFC 9112, 2.2: ignored before a request */
  if (sock->begun || sock->outstanding) return WEIR_HTTP_SECOND;
  if (byte < 'A' || byte > 'Z') return WEIR_HTTP_BAD;
  sock->begun = 1;
  sock->begun_at = sock->offset + sock->chunk_at;
  sock->method = byte;
  sock->seen = 0;
  sock->remaining = 0;
  sock->at = 1;
  sock->phase = WEIR_HTTP_METHOD;
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_in_method(struct weir_http_sock* sock, __u8 byte) {
  if (byte == ' ') {
    if (sock->method == WEIR_HTTP_PRI || sock->method == WEIR_HTTP_CONNECT) return WEIR_HTTP_UPGRADES;
    sock->phase = WEIR_HTTP_TARGET;
    return WEIR_HTTP_MORE;
  }
  /* The methods there are have capitals and hyphens (IANA's registry), and at most 17 of them. */
  if (((byte < 'A' || byte > 'Z') && byte != '-') || sock->at >= 32) return WEIR_HTTP_BAD;
  sock->at++;
  sock->method = sock->method << 8 | byte;
  return WEIR_HTTP_MORE;
}

/* A space may be within the target, though it should not: only the one before the version ends it. */
static __always_inline int weir_http_in_target(struct weir_http_sock* sock, __u8 byte) {
  if (weir_http_control(byte)) return WEIR_HTTP_BAD;
  sock->phase = byte == ' ' ? WEIR_HTTP_VERSION : WEIR_HTTP_TARGET;
  sock->at = 0;
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_in_version(struct weir_http_sock* sock, __u8 byte) {
  __u8 at = sock->at;

  if (at == 9) {
    if (byte != '\n') return WEIR_HTTP_BAD;
    sock->counted = 1;
    sock->phase = WEIR_HTTP_LINE;
    return WEIR_HTTP_MORE;
  }
  if (at < 7 ? byte != (__u8)weir_http_version[at & 7] : at == 7 ? byte != '0' && byte != '1' : byte != '\r')
    return weir_http_in_target(sock, byte);
  if (at == 7 && byte == '0') sock->seen |= WEIR_HTTP_S_HTTP10;
  if (at == 7 && byte == '1') sock->seen &= ~WEIR_HTTP_S_HTTP10;
  sock->at = at + 1;
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_in_line(struct weir_http_sock* sock, __u8 byte) {
  __u8 lower = weir_http_lower(byte);

  if (byte == '\r') {
    sock->phase = WEIR_HTTP_END_LF;
    return WEIR_HTTP_MORE;
  }
  if (weir_http_control(byte) || byte == ' ' || byte == ':') return WEIR_HTTP_BAD;
  sock->at = 1;
  sock->phase = WEIR_HTTP_NAME;
  if (lower == 'c') {
    sock->word = WEIR_HTTP_WORD_LENGTH;
  } else if (lower == 't') {
    sock->word = WEIR_HTTP_WORD_CODING;
  } else if (lower == 'e') {
    sock->word = WEIR_HTTP_WORD_EXPECT;
  } else {
    sock->phase = WEIR_HTTP_SKIP;
  }
  if (sock->seen & WEIR_HTTP_S_TRAILERS) sock->phase = WEIR_HTTP_SKIP;
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_after_name(struct weir_http_sock* sock) {
  sock->at = 0;
  if (sock->word == WEIR_HTTP_WORD_EXPECT) {
    sock->seen |= WEIR_HTTP_S_EXPECT;
    sock->phase = WEIR_HTTP_SKIP;
    return WEIR_HTTP_MORE;
  }
  if (sock->seen & (WEIR_HTTP_S_LENGTH | WEIR_HTTP_S_CHUNKED)) return WEIR_HTTP_BAD; /* RFC 9112, 6.3 */
  if (sock->word == WEIR_HTTP_WORD_LENGTH) {
    sock->seen |= WEIR_HTTP_S_LENGTH;
    sock->phase = WEIR_HTTP_LENGTH;
    return WEIR_HTTP_MORE;
  }
  if (sock->seen & WEIR_HTTP_S_HTTP10) return WEIR_HTTP_BAD;
  sock->seen |= WEIR_HTTP_S_CHUNKED;
  sock->phase = WEIR_HTTP_CODING;
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_in_name(struct weir_http_sock* sock, __u8 byte) {
  char wanted = weir_http_words[sock->word & 3][sock->at & 31];

  if (weir_http_control(byte)) return WEIR_HTTP_BAD;
  if (weir_http_lower(byte) == (__u8)wanted) {
    if (wanted == ':') return weir_http_after_name(sock);
    sock->at++;
    return WEIR_HTTP_MORE;
  }
  if (wanted == ':' && byte == ' ') return WEIR_HTTP_BAD; /* RFC 9112, 5.1: read differently by servers */
  sock->phase = WEIR_HTTP_SKIP;
  return WEIR_HTTP_MORE;
}

/* Content-Length: 0 before the digits, 1 .. 18 after as many, 32 in the white space behind. */
static __always_inline int weir_http_in_length(struct weir_http_sock* sock, __u8 byte) {
  if (byte >= '0' && byte <= '9' && sock->at < 18) {
    sock->remaining = sock->remaining * 10 + (byte - '0');
    sock->at++;
    return WEIR_HTTP_MORE;
  }
  if (byte == ' ' || byte == '\t') {
    if (sock->at) sock->at = 32;
    return WEIR_HTTP_MORE;
  }
  if (byte != '\r' || !sock->at) return WEIR_HTTP_BAD;
  sock->phase = WEIR_HTTP_LINE_LF;
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_in_coding(struct weir_http_sock* sock, __u8 byte) {
  __u8 at = sock->at;

  if (at < 7 && weir_http_lower(byte) == (__u8)weir_http_chunked[at & 7]) {
    sock->at = at + 1;
    return WEIR_HTTP_MORE;
  }
  if (byte == ' ' || byte == '\t') return at && at < 7 ? WEIR_HTTP_BAD : WEIR_HTTP_MORE;
  if (byte != '\r' || at != 7) return WEIR_HTTP_BAD;
  sock->phase = WEIR_HTTP_LINE_LF;
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_headers_end(struct weir_http_sock* sock, __u8 byte) {
  if (byte != '\n') return WEIR_HTTP_BAD;
  sock->at = 0;
  sock->phase = WEIR_HTTP_START;
  if (sock->seen & WEIR_HTTP_S_TRAILERS) return WEIR_HTTP_MORE;
  if (sock->seen & WEIR_HTTP_S_CHUNKED) {
    sock->phase = WEIR_HTTP_CHUNK_SIZE;
  } else if (sock->remaining) {
    sock->phase = WEIR_HTTP_BODY;
  } else {
    return WEIR_HTTP_MORE;
  }
  if (sock->seen & WEIR_HTTP_S_EXPECT) sock->seen |= WEIR_HTTP_S_HELD;
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_in_chunk_size(struct weir_http_sock* sock, __u8 byte) {
  __u8 lower = weir_http_lower(byte);
  bool digit = byte >= '0' && byte <= '9', letter = lower >= 'a' && lower <= 'f';

  if (digit || letter) {
    if (sock->at == 0) sock->remaining = 0;
    if (sock->at >= 15) return WEIR_HTTP_BAD;
    sock->at++;
    sock->seen &= ~WEIR_HTTP_S_HELD;
    sock->remaining = sock->remaining << 4 | (digit ? byte - '0' : lower - 'a' + 10);
    return WEIR_HTTP_MORE;
  }
  if (!sock->at) return WEIR_HTTP_BAD;
  if (byte == '\r') {
    sock->phase = WEIR_HTTP_CHUNK_SIZE_LF;
  } else if (byte == ';' || byte == ' ' || byte == '\t') {
    sock->phase = WEIR_HTTP_CHUNK_EXT;
  } else {
    return WEIR_HTTP_BAD;
  }
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_chunk_begins(struct weir_http_sock* sock, __u8 byte) {
  if (byte != '\n') return WEIR_HTTP_BAD;
  if (sock->remaining) {
    sock->phase = WEIR_HTTP_CHUNK_DATA;
  } else {
    sock->seen |= WEIR_HTTP_S_TRAILERS;
    sock->phase = WEIR_HTTP_LINE;
  }
  return WEIR_HTTP_MORE;
}

/* The rest of a line that says nothing of interest; `next` comes after its CR. */
static __always_inline int weir_http_in_skip(struct weir_http_sock* sock, __u8 byte, __u8 next) {
  if (byte == '\r') {
    sock->phase = next;
    return WEIR_HTTP_MORE;
  }
  return weir_http_control(byte) && byte != '\t' ? WEIR_HTTP_BAD : WEIR_HTTP_MORE;
}

static __always_inline int weir_http_expect_byte(struct weir_http_sock* sock, __u8 byte, __u8 wanted,
                                                 __u8 next) {
  sock->at = 0;
  sock->phase = next;
  return byte == wanted ? WEIR_HTTP_MORE : WEIR_HTTP_BAD;
}

/* One byte, in any phase but the two whose bytes are only counted. */
static __always_inline int weir_http_byte(struct weir_http_sock* sock, __u8 byte) {
  switch (sock->phase) {
    case WEIR_HTTP_START:
      return weir_http_start(sock, byte);
    case WEIR_HTTP_METHOD:
      return weir_http_in_method(sock, byte);
    case WEIR_HTTP_TARGET:
      return weir_http_in_target(sock, byte);
    case WEIR_HTTP_VERSION:
      return weir_http_in_version(sock, byte);
    case WEIR_HTTP_LINE:
      return weir_http_in_line(sock, byte);
    case WEIR_HTTP_NAME:
      return weir_http_in_name(sock, byte);
    case WEIR_HTTP_SKIP:
      return weir_http_in_skip(sock, byte, WEIR_HTTP_LINE_LF);
    case WEIR_HTTP_LENGTH:
      return weir_http_in_length(sock, byte);
    case WEIR_HTTP_CODING:
      return weir_http_in_coding(sock, byte);
    case WEIR_HTTP_LINE_LF:
      return weir_http_expect_byte(sock, byte, '\n', WEIR_HTTP_LINE);
    case WEIR_HTTP_END_LF:
      return weir_http_headers_end(sock, byte);
    case WEIR_HTTP_CHUNK_SIZE:
      return weir_http_in_chunk_size(sock, byte);
    case WEIR_HTTP_CHUNK_EXT:
      return weir_http_in_skip(sock, byte, WEIR_HTTP_CHUNK_SIZE_LF);
    case WEIR_HTTP_CHUNK_SIZE_LF:
      return weir_http_chunk_begins(sock, byte);
    case WEIR_HTTP_CHUNK_CR:
      return weir_http_expect_byte(sock, byte, '\r', WEIR_HTTP_CHUNK_LF);
    case WEIR_HTTP_CHUNK_LF:
      return weir_http_expect_byte(sock, byte, '\n', WEIR_HTTP_CHUNK_SIZE);
    default:
      return WEIR_HTTP_BAD;
  }
}

/* How many of `available` bytes belong to a body that need not be looked at. */
static __always_inline __u32 weir_http_take_body(struct weir_http_sock* sock, __u32 available) {
  __u32 taken = available;

  if (sock->phase != WEIR_HTTP_BODY && sock->phase != WEIR_HTTP_CHUNK_DATA) return 0;
  if (sock->remaining < taken) taken = (__u32)sock->remaining;
  sock->remaining -= taken;
  if (taken) sock->seen &= ~WEIR_HTTP_S_HELD;
  if (!sock->remaining) sock->phase = sock->phase == WEIR_HTTP_BODY ? WEIR_HTTP_START : WEIR_HTTP_CHUNK_CR;
  return taken;
}

/* The next byte of interest, or, eight at a time, several that are of none. */
static long weir_http_step(__u32 i, void* context) {
  struct weir_http_sock* sock = ((struct weir_http_scan*)context)->sock;
  __u32 at = sock->chunk_at, left = sock->chunk_end - at;
  __u8 phase = sock->phase;

  (void)i;
  if (at >= sock->chunk_end) return 1;
  if (phase == WEIR_HTTP_BODY || phase == WEIR_HTTP_CHUNK_DATA) {
    sock->chunk_at = at + weir_http_take_body(sock, left);
    return 0;
  }
  if (left >= 8 && (phase == WEIR_HTTP_TARGET || phase == WEIR_HTTP_SKIP || phase == WEIR_HTTP_CHUNK_EXT)) {
    __u32 dull = weir_http_dull_bytes(weir_http_load8(sock->chunk + (at & (WEIR_HTTP_CHUNK - 1))),
                                      phase == WEIR_HTTP_TARGET);

    at += dull;
    sock->chunk_at = at;
    if (dull == 8) return 0;
  }
  sock->verdict = (__u8)weir_http_byte(sock, sock->chunk[at & (WEIR_HTTP_CHUNK - 1)]);
  sock->chunk_at = at + 1;
  return sock->verdict != WEIR_HTTP_MORE;
}

/* The next piece of the payload. */
static long weir_http_piece(__u32 i, void* context) {
  struct weir_http_scan* scan = (struct weir_http_scan*)context;
  struct weir_http_sock* sock = scan->sock;
  __u32 count;

  (void)i;
  sock->offset += weir_http_take_body(sock, sock->end - sock->offset);
  count = sock->end - sock->offset;
  if (!count) return 1;
  if (count > WEIR_HTTP_CHUNK) count = WEIR_HTTP_CHUNK;
  if (weir_http_load(scan->packet, sock->offset, sock->chunk, WEIR_HTTP_CHUNK, count)) {
    sock->verdict = WEIR_HTTP_BAD;
    return 1;
  }
  sock->chunk_at = 0;
  sock->chunk_end = count;
  weir_http_loop(WEIR_HTTP_CHUNK, weir_http_step, scan);
  sock->offset += count;
  return sock->verdict != WEIR_HTTP_MORE;
}

/* All of [offset, end) of a packet, none of it seen before; what was found is in begun, counted, verdict. */
static __always_inline void weir_http_scan_payload(struct weir_http_sock* sock, const void* packet,
                                                   __u32 offset, __u32 end, bool outstanding) {
  struct weir_http_scan scan = {};

  scan.sock = sock;
  scan.packet = packet;
  sock->offset = offset;
  sock->end = end;
  sock->begun = 0;
  sock->counted = 0;
  sock->outstanding = outstanding;
  sock->verdict = WEIR_HTTP_MORE;
  weir_http_loop((end - offset) / WEIR_HTTP_CHUNK + 2, weir_http_piece, &scan);
}

#endif /* WEIR_HTTP_REQUEST_H */
