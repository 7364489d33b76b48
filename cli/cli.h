// The whole of weirctl but for main: parse, act, print.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/environment.h"

namespace weir::cli {

/// `arguments` without the program's name. Returns the exit status (ExitCode).
int Run(const std::vector<std::string>& arguments, Environment& environment);

/// What people call a program by that was started as `path`: "kubectl weir" for kubectl-weir, else "weirctl".
std::string ProgramName(std::string_view path);

}  // namespace weir::cli
