// SHA-256 (FIPS 180-4) as text. Its users link OpenSSL::Crypto.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/sha.h>

#include <array>
#include <string>
#include <string_view>

namespace weir {

/// 64 lower-case hexadecimal digits.
inline std::string Sha256Hex(std::string_view bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  return fmt::format("{:02x}", fmt::join(digest, ""));
}

}  // namespace weir
