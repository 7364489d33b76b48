// A digest of all frontends that can be kept up to date: the sum of one hash per frontend.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "weir/v1/types.pb.h"

namespace weir::app {

/// 128 bits, little half first; sums modulo 2^64 each.
using Digest = std::array<uint64_t, 2>;

void Add(Digest& digest, const v1::Frontend& frontend);
void Subtract(Digest& digest, const v1::Frontend& frontend);
/// 32 hexadecimal digits.
std::string ToHex(const Digest& digest);

}  // namespace weir::app
