// A program run as people run it: its own process, its output in a pipe. Killed when the object goes.
#pragma once

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "common/fd.h"

namespace weir {

class Process {
 public:
  /// `in_child` runs between fork and exec: async-signal-safe calls only where the test has threads.
  explicit Process(std::vector<std::string> command, const std::function<void()>& in_child = nullptr) {
    std::vector<char*> argv;
    argv.reserve(command.size() + 1);
    for (std::string& argument : command) argv.push_back(argument.data());
    argv.push_back(nullptr);
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
    output_ = UniqueFd(ends[0]);
    const UniqueFd input(ends[1]);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(input.get(), 1);
      ::dup2(input.get(), 2);
      if (in_child) in_child();
      ::execvp(argv[0], argv.data());
      ::_exit(127);
    }
  }
  ~Process() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int number) const { ::kill(pid_, number); }

  /// Reads until the output holds `text`; false when it ended before.
  bool WaitFor(const std::string& text) {
    while (seen.find(text) == std::string::npos) {
      if (!ReadSome()) return false;
    }
    return true;
  }
  /// The word behind `text` in the output ("grpc=" -> "127.0.0.1:7400"); empty when the output ended before.
  std::string WordAfter(const std::string& text) {
    if (!WaitFor(text)) return {};
    const size_t at = seen.find(text) + text.size();
    size_t end = 0;
    while ((end = seen.find_first_of(" \n", at)) == std::string::npos) {
      if (!ReadSome()) return {};
    }
    return seen.substr(at, end - at);
  }
  /// Reads to the end; the exit code, or 128 + the signal.
  int Wait() {
    while (ReadSome()) {
    }
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  /// Waits for more output; false at its end.
  bool ReadMore() { return ReadSome(); }
  std::string seen;

 private:
  bool ReadSome() {
    std::array<char, 4096> buffer{};
    const ssize_t got = ::read(output_.get(), buffer.data(), buffer.size());
    if (got > 0) seen.append(buffer.data(), static_cast<size_t>(got));
    return got > 0;
  }

  UniqueFd output_;
  pid_t pid_ = 0;
};

}  // namespace weir
