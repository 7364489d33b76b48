// Addresses as flags spell them: "127.0.0.1:7400", "[::1]:0", "localhost:7401", "controller.weir:7400",
// "unix:/run/weir.sock".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/status.h"

namespace weir {

struct HostPort {
  std::string host;  // without brackets; the path of a unix socket
  uint16_t port = 0;
  bool unix_socket = false;

  /// 127.0.0.0/8 (also as ::ffff:127.x), ::1, "localhost" or a unix socket.
  bool is_loopback() const;
  /// "127.0.0.1:80", "[::1]:80", "unix:/path".
  std::string ToString() const;
};

/// `flag` ("--listen") names the place in errors. A leading "dns:///" is dropped. Port 0 is allowed.
Result<HostPort> ParseHostPort(std::string_view flag, std::string_view text);

}  // namespace weir
