// IP addresses as both sides and the kernel maps see them.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace weir {

enum class AddressFamily : uint8_t { kIPv4 = 4, kIPv6 = 6 };
enum class Protocol : uint8_t { kTcp = 6, kUdp = 17 };  // IANA numbers

/// "TCP" or "UDP".
std::string_view ProtocolName(Protocol protocol);

/// An IPv4 or IPv6 address, 16 bytes in network order; IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2).
class IpAddress {
 public:
  IpAddress() = default;

  /// "127.0.0.1", "::1"; nullopt for anything else (zones, ports, leading zeros included). An IPv4-mapped
  /// text is the IPv4 address.
  static std::optional<IpAddress> Parse(std::string_view text);
  /// 4 or 16 bytes in network order; nullopt for other lengths.
  static std::optional<IpAddress> FromBytes(std::string_view bytes);
  static IpAddress FromMapped(const std::array<uint8_t, 16>& bytes) { return IpAddress(bytes); }

  AddressFamily family() const;
  bool is_unspecified() const;
  bool is_multicast() const;
  /// 127.0.0.0/8 or ::1.
  bool is_loopback() const;
  const std::array<uint8_t, 16>& mapped() const { return bytes_; }
  /// 4 or 16 bytes in network order, as on the wire.
  std::string ToBytes() const;
  std::string ToString() const;

  auto operator<=>(const IpAddress&) const = default;

 private:
  explicit IpAddress(const std::array<uint8_t, 16>& bytes) : bytes_(bytes) {}
  std::array<uint8_t, 16> bytes_{};
};

struct SocketAddress {
  IpAddress address;
  uint16_t port = 0;
  auto operator<=>(const SocketAddress&) const = default;
};

/// "127.0.0.1:80", "[::1]:80".
std::string ToString(const SocketAddress& address);

}  // namespace weir

template <>
struct std::hash<weir::IpAddress> {
  size_t operator()(const weir::IpAddress& address) const noexcept {
    const auto& bytes = address.mapped();
    return std::hash<std::string_view>{}({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
};
