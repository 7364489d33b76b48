#include "common/address.h"

#include <algorithm>
#include <charconv>

#include "common/net.h"

namespace weir {

bool HostPort::is_loopback() const {
  if (unix_socket || host == "localhost") return true;
  const auto address = IpAddress::Parse(host);
  return address && address->is_loopback();
}

std::string HostPort::ToString() const {
  if (unix_socket) return "unix:" + host;
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format(fmt::runtime(v6 ? "[{}]:{}" : "{}:{}"), host, port);
}

Result<HostPort> ParseHostPort(std::string_view flag, std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return InvalidArgument("{} {:?}: {}; expected HOST:PORT such as 127.0.0.1:7400 or [::1]:7400", flag, text,
                           why);
  };
  std::string_view rest = text;
  if (rest.starts_with("unix:")) {
    rest.remove_prefix(5);
    if (rest.starts_with("///")) rest.remove_prefix(2);
    if (rest.empty()) return bad("no path after unix:");
    return HostPort{std::string(rest), 0, true};
  }
  if (rest.starts_with("dns:///")) rest.remove_prefix(7);
  const size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) return bad("no port");
  std::string_view host = rest.substr(0, colon);
  const std::string_view digits = rest.substr(colon + 1);
  if (host.empty()) return bad("no host");
  if (host.front() == '[') {
    if (host.back() != ']') return bad("no ] before the port");
    host = host.substr(1, host.size() - 2);
    const auto address = IpAddress::Parse(host);
    if (!address || host.find(':') == std::string_view::npos) return bad("no IPv6 address within []");
  } else if (host.find(':') != std::string_view::npos) {
    return bad("an IPv6 address needs []");
  } else if (!std::all_of(host.begin(), host.end(), [](unsigned char c) {
               return std::isalnum(c) || c == '.' || c == '-' || c == '_';
             })) {
    return bad("not a host name");
  }
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size())
    return bad("port is not a number from 0 to 65535");
  return HostPort{std::string(host), port, false};
}

}  // namespace weir
