#include "controller/app/digest.h"

#include <fmt/format.h>
#include <openssl/sha.h>

#include <cstring>

namespace weir::app {
namespace {

Digest HashOf(const v1::Frontend& frontend) {
  std::string bytes = frontend.SerializeAsString();  // no maps in it: the same bytes for the same content
  std::array<unsigned char, SHA256_DIGEST_LENGTH> hash;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), hash.data());
  Digest digest;
  std::memcpy(digest.data(), hash.data(), sizeof(digest));
  return digest;
}

}  // namespace

void Add(Digest& digest, const v1::Frontend& frontend) {
  Digest hash = HashOf(frontend);
  for (size_t i = 0; i < digest.size(); ++i) digest[i] += hash[i];
}

void Subtract(Digest& digest, const v1::Frontend& frontend) {
  Digest hash = HashOf(frontend);
  for (size_t i = 0; i < digest.size(); ++i) digest[i] -= hash[i];
}

std::string ToHex(const Digest& digest) { return fmt::format("{:016x}{:016x}", digest[1], digest[0]); }

}  // namespace weir::app
