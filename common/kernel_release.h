// Which Linux this is.
#pragma once

#include <sys/utsname.h>

#include <string>

namespace weir {

/// As uname(2) has it, "6.1.0-18-amd64"; "unknown" where that fails.
inline std::string KernelRelease() {
  utsname names{};
  return ::uname(&names) == 0 ? names.release : "unknown";
}

}  // namespace weir
