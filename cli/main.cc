// weirctl: see README.md.
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <iostream>

#include "cli/cli.h"

int main(int argc, char** argv) {
  weir::cli::Environment environment{
      .in = std::cin,
      .out = std::cout,
      .err = std::cerr,
      .out_is_terminal = isatty(STDOUT_FILENO) == 1,
      .variable = [](const std::string& name) -> std::optional<std::string> {
        const char* value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): no thread sets any
        return value == nullptr ? std::nullopt : std::optional<std::string>(value);
      },
      .terminal_size =
          [] {
            winsize size{};
            if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return weir::cli::TerminalSize{};
            return weir::cli::TerminalSize{.rows = size.ws_row, .columns = size.ws_col};
          },
      .now_unix_ms =
          [] {
            return std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                .count();
          },
      .program = weir::cli::ProgramName(argc > 0 ? argv[0] : ""),
  };
  return weir::cli::Run({argv + 1, argv + argc}, environment);
}
