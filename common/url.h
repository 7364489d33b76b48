// http and https URLs, as far as a client needs them. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/status.h"

namespace weir {

struct Url {
  bool https = false;
  std::string host;  // a name or an address; an IPv6 address without its brackets
  uint16_t port = 0;
  std::string target;  // "/path?query", at least "/"; no fragment

  /// "example.com", "example.com:8080" or "[::1]:9090": for the Host header.
  std::string authority() const;
};

/// INVALID_ARGUMENT for another scheme, user information, no host, a bad port, spaces or control characters.
Result<Url> ParseUrl(std::string_view text);

/// Percent-encodes everything but unreserved characters (RFC 3986): for a value in a query.
std::string EncodeQuery(std::string_view text);

}  // namespace weir
