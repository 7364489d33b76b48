#include "common/net.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

namespace weir {
namespace {
constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
}

std::string_view ProtocolName(Protocol protocol) { return protocol == Protocol::kTcp ? "TCP" : "UDP"; }

std::optional<IpAddress> IpAddress::Parse(std::string_view text) {
  const std::string terminated(text);
  std::array<uint8_t, 16> bytes{};
  if (terminated.size() != std::strlen(terminated.c_str())) return std::nullopt;
  if (in_addr v4; inet_pton(AF_INET, terminated.c_str(), &v4) == 1) {
    std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin());
    std::memcpy(bytes.data() + 12, &v4, 4);
    return IpAddress(bytes);
  }
  if (inet_pton(AF_INET6, terminated.c_str(), bytes.data()) == 1) return IpAddress(bytes);
  return std::nullopt;
}

std::optional<IpAddress> IpAddress::FromBytes(std::string_view raw) {
  std::array<uint8_t, 16> bytes{};
  if (raw.size() == 4) {
    std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin());
    std::memcpy(bytes.data() + 12, raw.data(), 4);
  } else if (raw.size() == 16) {
    std::memcpy(bytes.data(), raw.data(), 16);
  } else {
    return std::nullopt;
  }
  return IpAddress(bytes);
}

AddressFamily IpAddress::family() const {
  return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes_.begin()) ? AddressFamily::kIPv4
                                                                                : AddressFamily::kIPv6;
}

bool IpAddress::is_unspecified() const {
  const auto first = bytes_.begin() + (family() == AddressFamily::kIPv4 ? 12 : 0);
  return std::all_of(first, bytes_.end(), [](uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_multicast() const {
  return family() == AddressFamily::kIPv4 ? (bytes_[12] & 0xf0) == 0xe0 : bytes_[0] == 0xff;
}

bool IpAddress::is_loopback() const {
  if (family() == AddressFamily::kIPv4) return bytes_[12] == 127;
  return bytes_[15] == 1 &&
         std::all_of(bytes_.begin(), bytes_.end() - 1, [](uint8_t byte) { return byte == 0; });
}

std::string IpAddress::ToBytes() const {
  const size_t skip = family() == AddressFamily::kIPv4 ? 12 : 0;
  return {reinterpret_cast<const char*>(bytes_.data()) + skip, bytes_.size() - skip};
}

std::string IpAddress::ToString() const {
  char text[INET6_ADDRSTRLEN] = {};
  if (family() == AddressFamily::kIPv4) {
    inet_ntop(AF_INET, bytes_.data() + 12, text, sizeof text);
  } else {
    inet_ntop(AF_INET6, bytes_.data(), text, sizeof text);
  }
  return text;
}

std::string ToString(const SocketAddress& address) {
  const std::string text = address.address.ToString();
  const bool v6 = address.address.family() == AddressFamily::kIPv6;
  return (v6 ? "[" + text + "]" : text) + ":" + std::to_string(address.port);
}

}  // namespace weir
