#include "tests/bench/program.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>

#include "common/fd.h"
#include "tests/bench/worker.h"

namespace weir::bench {

std::string SiblingProgram(const std::string& name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
}

Program::Program(const std::vector<std::string>& arguments) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) Die("pipe2");
  UniqueFd output(ends[0]);
  {
    const UniqueFd input(ends[1]);
    std::vector<char*> argv;
    for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;  // not fork(): gRPC has threads here
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input.get(), STDOUT_FILENO);
    errno = posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (errno != 0) Die("start " + arguments[0]);
  }
  for (char c = 0; c != '\n'; line_ += c) {
    if (read(output.get(), &c, 1) != 1) Die(arguments[0] + " ended before it listened");
  }
  // Whatever it prints later goes nowhere: nobody reads the pipe.
}

Program::~Program() {
  kill(pid_, SIGTERM);
  waitpid(pid_, nullptr, 0);
}

std::string Program::Address(const std::string& name) const {
  const size_t at = line_.find(name + "=");
  if (at == std::string::npos) Die("no " + name + "= in '" + line_ + "'");
  const size_t begin = at + name.size() + 1;
  return line_.substr(begin, line_.find_first_of(" \n", begin) - begin);
}

}  // namespace weir::bench
