// Small files read whole.
#pragma once

#include <string>

#include "common/status.h"

namespace weir::kubernetes {

/// At most 1 MiB. The error names the file and why: NOT_FOUND, PERMISSION_DENIED ...
Result<std::string> ReadSmallFile(const std::string& path);

/// Without blanks and line breaks at both ends.
std::string Trimmed(std::string text);

}  // namespace weir::kubernetes
