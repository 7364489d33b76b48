// What revisions are called in the kernel's maps.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/fnv1a.h"

namespace weir::datapath {

constexpr uint64_t RevisionId(std::string_view revision) { return Fnv1a(revision); }

}  // namespace weir::datapath
