/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where requests begin and end in what a client sends: the framing of RFC 9112, sections 2 to 7. Pure:
 * compiled for BPF, and for user space by tests and the fuzzer.
 *
 * Bytes arrive in pieces cut anywhere; the state between two bytes is in weir_http_parser. What servers are
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

enum { WEIR_HTTP_WORD_LENGTH, WEIR_HTTP_WORD_CODING, WEIR_HTTP_WORD_EXPECT };

const char weir_http_words[4][32] = {"content-length:", "transfer-encoding:", "expect:", ""};
const char weir_http_chunked[8] = {'c', 'h', 'u', 'n', 'k', 'e', 'd', 0};
const char weir_http_version[8] = {'H', 'T', 'T', 'P', '/', '1', '.', 0};

/* As a shift of the bytes, first byte highest. */
#define WEIR_HTTP_PRI 0x505249ULL
#define WEIR_HTTP_CONNECT 0x434f4e4e454354ULL
/* The first byte lowest. */
#define WEIR_HTTP_11 0x312e312f50545448ULL /* "HTTP/1.1" */
#define WEIR_HTTP_GET_SPACE 0x20544547ULL  /* "GET " */
#define WEIR_HTTP_CRLF 0x0a0dULL
#define WEIR_HTTP_GET 0x474554ULL /* as the two above PRI and CONNECT */

static __always_inline __u8 weir_http_lower(__u8 byte) {
  return byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte;
}

static __always_inline bool weir_http_control(__u8 byte) { return byte < 0x20; }

static __always_inline int weir_http_start(struct weir_http_parser* parser, __u8 byte) {
  if (byte == '\r' || byte == '\n') return WEIR_HTTP_MORE; /* RFC 9112, 2.2: ignored before a request */
  if (parser->begun || parser->outstanding) return WEIR_HTTP_SECOND;
  if (byte < 'A' || byte > 'Z') return WEIR_HTTP_BAD;
  parser->begun = 1;
  parser->begun_at = parser->offset + parser->chunk_at;
  parser->method = byte;
  parser->seen = 0;
  parser->remaining = 0;
  parser->at = 1;
  parser->phase = WEIR_HTTP_METHOD;
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_in_method(struct weir_http_parser* parser, __u8 byte) {
  if (byte == ' ') {
    if (parser->method == WEIR_HTTP_PRI || parser->method == WEIR_HTTP_CONNECT) return WEIR_HTTP_UPGRADES;
    parser->phase = WEIR_HTTP_TARGET;
    return WEIR_HTTP_MORE;
  }
  /* The methods there are have capitals and hyphens (IANA's registry), and at most 17 of them. */
  if (((byte < 'A' || byte > 'Z') && byte != '-') || parser->at >= 32) return WEIR_HTTP_BAD;
  parser->at++;
  parser->method = parser->method << 8 | byte;
  return WEIR_HTTP_MORE;
}

/* A space may be within the target, though it should not: only the one before the version ends it. */
static __always_inline int weir_http_in_target(struct weir_http_parser* parser, __u8 byte) {
  if (weir_http_control(byte)) return WEIR_HTTP_BAD;
  parser->phase = byte == ' ' ? WEIR_HTTP_VERSION : WEIR_HTTP_TARGET;
  parser->at = 0;
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_in_version(struct weir_http_parser* parser, __u8 byte) {
  __u8 at = parser->at;

  if (at == 9) {
    if (byte != '\n') return WEIR_HTTP_BAD;
    parser->counted = 1;
    parser->phase = WEIR_HTTP_LINE;
    return WEIR_HTTP_MORE;
  }
  if (at < 7 ? byte != (__u8)weir_http_version[at & 7] : at == 7 ? byte != '0' && byte != '1' : byte != '\r')
    return weir_http_in_target(parser, byte);
  if (at == 7 && byte == '0') parser->seen |= WEIR_HTTP_S_HTTP10;
  if (at == 7 && byte == '1') parser->seen &= ~WEIR_HTTP_S_HTTP10;
  parser->at = at + 1;
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_in_line(struct weir_http_parser* parser, __u8 byte) {
  __u8 lower = weir_http_lower(byte);

  if (byte == '\r') {
    parser->phase = WEIR_HTTP_END_LF;
    return WEIR_HTTP_MORE;
  }
  if (weir_http_control(byte) || byte == ' ' || byte == ':') return WEIR_HTTP_BAD;
  parser->at = 1;
  parser->phase = WEIR_HTTP_NAME;
  if (lower == 'c') {
    parser->word = WEIR_HTTP_WORD_LENGTH;
  } else if (lower == 't') {
    parser->word = WEIR_HTTP_WORD_CODING;
  } else if (lower == 'e') {
    parser->word = WEIR_HTTP_WORD_EXPECT;
  } else {
    parser->phase = WEIR_HTTP_SKIP;
  }
  if (parser->seen & WEIR_HTTP_S_TRAILERS) parser->phase = WEIR_HTTP_SKIP;
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_after_name(struct weir_http_parser* parser) {
  parser->at = 0;
  if (parser->word == WEIR_HTTP_WORD_EXPECT) {
    parser->seen |= WEIR_HTTP_S_EXPECT;
    parser->phase = WEIR_HTTP_SKIP;
    return WEIR_HTTP_MORE;
  }
  if (parser->seen & (WEIR_HTTP_S_LENGTH | WEIR_HTTP_S_CHUNKED)) return WEIR_HTTP_BAD; /* RFC 9112, 6.3 */
  if (parser->word == WEIR_HTTP_WORD_LENGTH) {
    parser->seen |= WEIR_HTTP_S_LENGTH;
    parser->phase = WEIR_HTTP_LENGTH;
    return WEIR_HTTP_MORE;
  }
  if (parser->seen & WEIR_HTTP_S_HTTP10) return WEIR_HTTP_BAD;
  parser->seen |= WEIR_HTTP_S_CHUNKED;
  parser->phase = WEIR_HTTP_CODING;
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_in_name(struct weir_http_parser* parser, __u8 byte) {
  char wanted = weir_http_words[parser->word & 3][parser->at & 31];

  if (weir_http_control(byte)) return WEIR_HTTP_BAD;
  if (weir_http_lower(byte) == (__u8)wanted) {
    if (wanted == ':') return weir_http_after_name(parser);
    parser->at++;
    return WEIR_HTTP_MORE;
  }
  if (wanted == ':' && byte == ' ') return WEIR_HTTP_BAD; /* RFC 9112, 5.1: read differently by servers */
  parser->phase = WEIR_HTTP_SKIP;
  return WEIR_HTTP_MORE;
}

/* Content-Length: 0 before the digits, 1 .. 18 after as many, 32 in the white space behind. */
static __always_inline int weir_http_in_length(struct weir_http_parser* parser, __u8 byte) {
  if (byte >= '0' && byte <= '9' && parser->at < 18) {
    parser->remaining = parser->remaining * 10 + (byte - '0');
    parser->at++;
    return WEIR_HTTP_MORE;
  }
  if (byte == ' ' || byte == '\t') {
    if (parser->at) parser->at = 32;
    return WEIR_HTTP_MORE;
  }
  if (byte != '\r' || !parser->at) return WEIR_HTTP_BAD;
  parser->phase = WEIR_HTTP_LINE_LF;
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_in_coding(struct weir_http_parser* parser, __u8 byte) {
  __u8 at = parser->at;

  if (at < 7 && weir_http_lower(byte) == (__u8)weir_http_chunked[at & 7]) {
    parser->at = at + 1;
    return WEIR_HTTP_MORE;
  }
  if (byte == ' ' || byte == '\t') return at && at < 7 ? WEIR_HTTP_BAD : WEIR_HTTP_MORE;
  if (byte != '\r' || at != 7) return WEIR_HTTP_BAD;
  parser->phase = WEIR_HTTP_LINE_LF;
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_headers_end(struct weir_http_parser* parser, __u8 byte) {
  if (byte != '\n') return WEIR_HTTP_BAD;
  parser->at = 0;
  parser->phase = WEIR_HTTP_START;
  if (parser->seen & WEIR_HTTP_S_TRAILERS) return WEIR_HTTP_MORE;
  if (parser->seen & WEIR_HTTP_S_CHUNKED) {
    parser->phase = WEIR_HTTP_CHUNK_SIZE;
  } else if (parser->remaining) {
    parser->phase = WEIR_HTTP_BODY;
  } else {
    return WEIR_HTTP_MORE;
  }
  if (parser->seen & WEIR_HTTP_S_EXPECT) parser->seen |= WEIR_HTTP_S_HELD;
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_in_chunk_size(struct weir_http_parser* parser, __u8 byte) {
  __u8 lower = weir_http_lower(byte);
  bool digit = byte >= '0' && byte <= '9', letter = lower >= 'a' && lower <= 'f';

  if (digit || letter) {
    if (parser->at == 0) parser->remaining = 0;
    if (parser->at >= 15) return WEIR_HTTP_BAD;
    parser->at++;
    parser->seen &= ~WEIR_HTTP_S_HELD;
    parser->remaining = parser->remaining << 4 | (digit ? byte - '0' : lower - 'a' + 10);
    return WEIR_HTTP_MORE;
  }
  if (!parser->at) return WEIR_HTTP_BAD;
  if (byte == '\r') {
    parser->phase = WEIR_HTTP_CHUNK_SIZE_LF;
  } else if (byte == ';' || byte == ' ' || byte == '\t') {
    parser->phase = WEIR_HTTP_CHUNK_EXT;
  } else {
    return WEIR_HTTP_BAD;
  }
  return WEIR_HTTP_MORE;
}

static __always_inline int weir_http_chunk_begins(struct weir_http_parser* parser, __u8 byte) {
  if (byte != '\n') return WEIR_HTTP_BAD;
  if (parser->remaining) {
    parser->phase = WEIR_HTTP_CHUNK_DATA;
  } else {
    parser->seen |= WEIR_HTTP_S_TRAILERS;
    parser->phase = WEIR_HTTP_LINE;
  }
  return WEIR_HTTP_MORE;
}

/* The rest of a line that says nothing of interest; `next` comes after its CR. */
static __always_inline int weir_http_in_skip(struct weir_http_parser* parser, __u8 byte, __u8 next) {
  if (byte == '\r') {
    parser->phase = next;
    return WEIR_HTTP_MORE;
  }
  return weir_http_control(byte) && byte != '\t' ? WEIR_HTTP_BAD : WEIR_HTTP_MORE;
}

static __always_inline int weir_http_expect_byte(struct weir_http_parser* parser, __u8 byte, __u8 wanted,
                                                 __u8 next) {
  parser->at = 0;
  parser->phase = next;
  return byte == wanted ? WEIR_HTTP_MORE : WEIR_HTTP_BAD;
}

/* One byte, in any phase but the two whose bytes are only counted. */
static __always_inline int weir_http_byte(struct weir_http_parser* parser, __u8 byte) {
  switch (parser->phase) {
    case WEIR_HTTP_START:
      return weir_http_start(parser, byte);
    case WEIR_HTTP_METHOD:
      return weir_http_in_method(parser, byte);
    case WEIR_HTTP_TARGET:
      return weir_http_in_target(parser, byte);
    case WEIR_HTTP_VERSION:
      return weir_http_in_version(parser, byte);
    case WEIR_HTTP_LINE:
      return weir_http_in_line(parser, byte);
    case WEIR_HTTP_NAME:
      return weir_http_in_name(parser, byte);
    case WEIR_HTTP_SKIP:
      return weir_http_in_skip(parser, byte, WEIR_HTTP_LINE_LF);
    case WEIR_HTTP_LENGTH:
      return weir_http_in_length(parser, byte);
    case WEIR_HTTP_CODING:
      return weir_http_in_coding(parser, byte);
    case WEIR_HTTP_LINE_LF:
      return weir_http_expect_byte(parser, byte, '\n', WEIR_HTTP_LINE);
    case WEIR_HTTP_END_LF:
      return weir_http_headers_end(parser, byte);
    case WEIR_HTTP_CHUNK_SIZE:
      return weir_http_in_chunk_size(parser, byte);
    case WEIR_HTTP_CHUNK_EXT:
      return weir_http_in_skip(parser, byte, WEIR_HTTP_CHUNK_SIZE_LF);
    case WEIR_HTTP_CHUNK_SIZE_LF:
      return weir_http_chunk_begins(parser, byte);
    case WEIR_HTTP_CHUNK_CR:
      return weir_http_expect_byte(parser, byte, '\r', WEIR_HTTP_CHUNK_LF);
    case WEIR_HTTP_CHUNK_LF:
      return weir_http_expect_byte(parser, byte, '\n', WEIR_HTTP_CHUNK_SIZE);
    default:
      return WEIR_HTTP_BAD;
  }
}

/* How many of `available` bytes belong to a body that need not be looked at. */
static __always_inline __u32 weir_http_take_body(struct weir_http_parser* parser, __u32 available) {
  __u32 taken = available;

  if (parser->phase != WEIR_HTTP_BODY && parser->phase != WEIR_HTTP_CHUNK_DATA) return 0;
  if (parser->remaining < taken) taken = (__u32)parser->remaining;
  parser->remaining -= taken;
  if (taken) parser->seen &= ~WEIR_HTTP_S_HELD;
  if (!parser->remaining)
    parser->phase = parser->phase == WEIR_HTTP_BODY ? WEIR_HTTP_START : WEIR_HTTP_CHUNK_CR;
  return taken;
}

/* Eight bytes of the chunk from `at` on; what lies behind its end is from another one. */
static __always_inline __u64 weir_http_ahead(const struct weir_http_parser* parser, __u32 at) {
  return weir_http_load8(parser->chunk + (at & (WEIR_HTTP_CHUNK - 1)));
}

/* Past bytes that are of no interest, as long as there are eight of the chunk; where it stopped. */
static __always_inline __u32 weir_http_past_dull(const struct weir_http_parser* parser, __u32 at,
                                                 bool space_too) {
  __u32 i;

  for (i = 0; i < 4 && parser->chunk_end - at >= 8; i++) {
    const __u32 dull = weir_http_dull_bytes(weir_http_ahead(parser, at), space_too);

    at += dull;
    if (dull < 8) break;
  }
  return at;
}

/*
 * What most requests are made of, taken at once: to the same end as byte by byte, or not at all. True: some
 * of it was taken. At least eight bytes are left at chunk_at.
 */
static __always_inline bool weir_http_stride(struct weir_http_parser* parser) {
  const __u32 at = parser->chunk_at;
  const __u64 bytes = weir_http_ahead(parser, at);

  if (parser->phase == WEIR_HTTP_START) {
    if ((bytes & 0xffffffffULL) != WEIR_HTTP_GET_SPACE || parser->begun || parser->outstanding) return false;
    weir_http_start(parser, 'G');
    parser->method = WEIR_HTTP_GET;
    parser->at = 3;
    parser->phase = WEIR_HTTP_TARGET;
    parser->chunk_at = at + 4;
    return true;
  }
  if (parser->phase == WEIR_HTTP_VERSION) {
    if (parser->at || bytes != WEIR_HTTP_11) return false;
    parser->seen &= ~WEIR_HTTP_S_HTTP10;
    parser->at = 8;
    parser->chunk_at = at + 8;
    if (parser->chunk_end - at >= 10 && (weir_http_ahead(parser, at + 8) & 0xffff) == WEIR_HTTP_CRLF) {
      parser->at = 9;
      parser->chunk_at = at + 10;
      weir_http_in_version(parser, '\n');
    }
    return true;
  }
  if (parser->phase == WEIR_HTTP_LINE && (bytes & 0xffff) == WEIR_HTTP_CRLF) {
    parser->chunk_at = at + 2;
    weir_http_headers_end(parser, '\n');
    return true;
  }
  return false;
}

/* The next byte of interest, or several that are of none or are what most requests have there. */
static long weir_http_step(__u32 i, void* context) {
  struct weir_http_parser* parser = *(struct weir_http_parser**)context;
  __u32 at = parser->chunk_at, left = parser->chunk_end - at;
  __u8 phase = parser->phase;

  (void)i;
  if (at >= parser->chunk_end) return 1;
  if (phase == WEIR_HTTP_BODY || phase == WEIR_HTTP_CHUNK_DATA) {
    parser->chunk_at = at + weir_http_take_body(parser, left);
    return 0;
  }
  if (left >= 8) {
    if (weir_http_stride(parser)) return 0;
    if (phase == WEIR_HTTP_TARGET || phase == WEIR_HTTP_SKIP || phase == WEIR_HTTP_CHUNK_EXT) {
      at = weir_http_past_dull(parser, at, phase == WEIR_HTTP_TARGET);
      parser->chunk_at = at;
      if (at >= parser->chunk_end) return 1;
      if (phase == WEIR_HTTP_SKIP && parser->chunk_end - at >= 2 &&
          (weir_http_ahead(parser, at) & 0xffff) == WEIR_HTTP_CRLF) {
        parser->chunk_at = at + 2;
        weir_http_expect_byte(parser, '\n', '\n', WEIR_HTTP_LINE);
        return 0;
      }
    }
  }
  parser->verdict = (__u8)weir_http_byte(parser, parser->chunk[at & (WEIR_HTTP_CHUNK - 1)]);
  parser->chunk_at = at + 1;
  return parser->verdict != WEIR_HTTP_MORE;
}

/* What is in parser->chunk. A function by itself for the verifier, which looks at it once and not at every
 * call. */
WEIR_HTTP_GLOBAL int weir_http_parse_chunk(struct weir_http_parser* parser) {
  struct weir_http_parser* context = parser;

  if (!parser) return 0;
  weir_http_loop(WEIR_HTTP_CHUNK, weir_http_step, &context);
  return 0;
}

struct weir_http_scan {
  struct weir_http_parser* parser;
  const void* packet; /* for http_io.h */
};

/* The next piece of the payload. */
static long weir_http_piece(__u32 i, void* context) {
  struct weir_http_scan* scan = (struct weir_http_scan*)context;
  struct weir_http_parser* parser = scan->parser;
  __u32 count;

  (void)i;
  parser->offset += weir_http_take_body(parser, parser->end - parser->offset);
  count = parser->end - parser->offset;
  if (!count) return 1;
  if (count > WEIR_HTTP_CHUNK) count = WEIR_HTTP_CHUNK;
  if (weir_http_load(scan->packet, parser->offset, parser->chunk, WEIR_HTTP_CHUNK, count)) {
    parser->verdict = WEIR_HTTP_BAD;
    return 1;
  }
  parser->chunk_at = 0;
  parser->chunk_end = count;
  weir_http_parse_chunk(parser);
  parser->offset += count;
  return parser->verdict != WEIR_HTTP_MORE;
}

/* All of [offset, end) of a packet, none of it seen before; what was found is in begun, counted, verdict. */
static __always_inline void weir_http_scan_payload(struct weir_http_parser* parser, const void* packet,
                                                   __u32 offset, __u32 end, bool outstanding) {
  struct weir_http_scan scan = {};

  scan.parser = parser;
  scan.packet = packet;
  parser->offset = offset;
  parser->end = end;
  parser->begun = 0;
  parser->counted = 0;
  parser->outstanding = outstanding;
  parser->verdict = WEIR_HTTP_MORE;
  weir_http_loop((end - offset) / WEIR_HTTP_CHUNK + 2, weir_http_piece, &scan);
}

#endif /* WEIR_HTTP_REQUEST_H */
