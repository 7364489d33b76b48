// Between the maps' structs and the datapath's types.
#pragma once

#include <arpa/inet.h>

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "agent/datapath/datapath.h"
#include "weir/maps.h"

namespace weir::datapath {

inline weir_address ToWire(const IpAddress& address) {
  weir_address wire{};
  std::memcpy(wire.bytes, address.mapped().data(), sizeof wire.bytes);
  return wire;
}

inline IpAddress FromWire(const weir_address& wire) {
  std::array<uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), wire.bytes, bytes.size());
  return IpAddress::FromMapped(bytes);
}

inline weir_endpoint ToWire(const SocketAddress& endpoint) {
  return {.address = ToWire(endpoint.address), .port_be = htons(endpoint.port), .pad = 0};
}

inline weir_vip_key ToWire(const FrontendKey& key) {
  return {.address = ToWire(key.address.address),
          .port_be = htons(key.address.port),
          .protocol = static_cast<uint8_t>(key.protocol),
          .pad = 0};
}

/// Of everybody's frontend.
inline FrontendKey FromWire(const weir_vip_key& wire) {
  return {.address = {.address = FromWire(wire.address), .port = ntohs(wire.port_be)},
          .protocol = static_cast<Protocol>(wire.protocol)};
}

inline FrontendKey FromWire(const weir_vip& wire) {
  FrontendKey key = FromWire(wire.key);
  key.consumers = wire.consumers;
  return key;
}

/// 128 bits of a UUID, most significant first.
using Uuid = std::array<uint64_t, 2>;

/// RFC 9562 text, 8-4-4-4-12 hexadecimal digits; nullopt for anything else.
inline std::optional<Uuid> ParseUuid(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  Uuid uuid{};
  int digits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const char c = text[i];
    if (dash != (c == '-')) return std::nullopt;
    if (dash) continue;
    const int value = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (value < 0) return std::nullopt;
    uint64_t& word = uuid[digits++ / 16];
    word = word << 4 | static_cast<uint64_t>(value);
  }
  return uuid;
}

/// The text of ParseUuid, lower case; empty for all zero.
inline std::string FormatUuid(const Uuid& uuid) {
  if (uuid == Uuid{}) return "";
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", uuid[0] >> 32, uuid[0] >> 16 & 0xffff,
                     uuid[0] & 0xffff, uuid[1] >> 48, uuid[1] & 0xffffffffffff);
}

}  // namespace weir::datapath
