// The whole of weirctl but for main: parse, act, print.
#pragma once

#include <string>
#include <vector>

#include "cli/environment.h"

namespace weir::cli {

/// `arguments` without the program's name. Returns the exit status (ExitCode).
int Run(const std::vector<std::string>& arguments, Environment& environment);

}  // namespace weir::cli
