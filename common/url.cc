#include "common/url.h"

#include <algorithm>
#include <charconv>

namespace weir {

std::string Url::authority() const {
  std::string text = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port != (https ? 443 : 80)) text += ":" + std::to_string(port);
  return text;
}

Result<Url> ParseUrl(std::string_view text) {
  const auto fail = [text](std::string_view expected) {
    return InvalidArgument("found {:?}, expected {}", text.substr(0, 128), expected);
  };
  constexpr std::string_view kWhole = "a URL such as http://prometheus:9090";
  if (std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; }))
    return fail("a URL without spaces");
  Url url;
  if (text.starts_with("https://")) {
    url.https = true;
  } else if (!text.starts_with("http://")) {
    return fail(kWhole);
  }
  std::string_view rest = text.substr(url.https ? 8 : 7);
  rest = rest.substr(0, rest.find('#'));
  const size_t path = rest.find_first_of("/?");
  std::string_view authority = rest.substr(0, path);
  url.target = path == std::string_view::npos ? "" : std::string(rest.substr(path));
  if (!url.target.starts_with('/')) url.target.insert(0, "/");
  if (authority.find('@') != std::string_view::npos)
    return fail("a URL without user and password; give an Authorization header");
  if (authority.starts_with('[')) {
    const size_t end = authority.find(']');
    if (end == std::string_view::npos) return fail("an IPv6 address in brackets");
    url.host = authority.substr(1, end - 1);
    authority.remove_prefix(end + 1);
  } else {
    const size_t colon = authority.find(':');
    url.host = authority.substr(0, colon);
    authority.remove_prefix(std::min(colon, authority.size()));
  }
  if (url.host.empty()) return fail(kWhole);
  url.port = url.https ? 443 : 80;
  if (authority.empty()) return url;
  int port = 0;
  const auto [end, error] = std::from_chars(authority.data() + 1, authority.data() + authority.size(), port);
  if (authority[0] != ':' || authority.size() < 2 || error != std::errc() ||
      end != authority.data() + authority.size() || port < 1 || port > 65535) {
    return fail("a port from 1 to 65535");
  }
  url.port = static_cast<uint16_t>(port);
  return url;
}

std::string EncodeQuery(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4U];
      out += kHex[byte & 0xFU];
    }
  }
  return out;
}

}  // namespace weir
