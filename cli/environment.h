// What weirctl sees of the world around it; tests give it their own.
#pragma once

#include <cstdint>
#include <functional>
#include <istream>
#include <optional>
#include <ostream>
#include <string>

namespace weir::cli {

struct TerminalSize {
  int rows = 0;  // 0: unknown
  int columns = 0;
};

struct Environment {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool out_is_terminal = false;
  /// An environment variable; nullopt where it is not set.
  std::function<std::optional<std::string>(const std::string& name)> variable;
  std::function<TerminalSize()> terminal_size;
  /// Wall clock, for ages people read.
  std::function<int64_t()> now_unix_ms;
  /// What people call it by, in usage and errors.
  std::string program = "weirctl";
};

/// What the exit status tells a pipeline. Part of weirctl's interface: never renumber.
enum ExitCode : int {
  kExitOk = 0,           // done; `status`: Healthy
  kExitError = 1,        // usage, a refused request, no answer, no such object
  kExitDegraded = 2,     // `status`: Degraded or aborted
  kExitTimeout = 3,      // `status --watch`: not settled within --timeout
  kExitPaused = 4,       // `status`: waits at a pause
  kExitProgressing = 5,  // `status`: on its way
};

}  // namespace weir::cli
