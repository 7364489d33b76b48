// What revisions are called in the kernel's maps.
#pragma once

#include <cstdint>
#include <string_view>

namespace weir::datapath {

/// FNV-1a, 64 bits (draft-eastlake-fnv).
constexpr uint64_t Fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

constexpr uint64_t RevisionId(std::string_view revision) { return Fnv1a(revision); }

}  // namespace weir::datapath
