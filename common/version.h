// The release this program was built from.
#pragma once

#include <string_view>

namespace weir {

inline constexpr std::string_view kVersion = WEIR_VERSION;

}  // namespace weir
