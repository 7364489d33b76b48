#include "tests/kernel/harness/client.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <new>

#include "tests/kernel/harness/sandbox.h"
#include "tests/kernel/harness/servers.h"

namespace weir::kernel_test {
namespace {

constexpr std::chrono::seconds kClientTimeout{60};

/// 'K' and the bytes, or 'E' and the message.
[[noreturn]] void RunAndReport(int pipe, const std::string& cgroup, const ClientFunction& function) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_IGN);
  std::string report;
  if (Status joined = JoinCgroup(cgroup); !joined.ok()) {
    report = "E" + Message(joined);
  } else {
    const Result<std::string> result = function();
    report = result.ok() ? "K" + *result : "E" + Message(result.status());
  }
  for (size_t done = 0; done < report.size();) {
    const ssize_t size = write(pipe, report.data() + done, report.size() - done);
    if (size <= 0) _exit(1);
    done += size;
  }
  _exit(0);
}

}  // namespace

ClientProcess::ClientProcess(const std::string& cgroup, const ClientFunction& function) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
  {
    const auto frozen = FreezeServers();
    pid_ = fork();
    if (pid_ == 0) CloseServersInChild();
  }
  if (pid_ < 0) std::abort();
  if (pid_ == 0) RunAndReport(ends[1], cgroup, function);
  close(ends[1]);
  pipe_ = ends[0];
}

ClientProcess::~ClientProcess() {
  if (pid_ > 0) Kill();
}

void ClientProcess::Terminate() {
  kill(pid_, SIGTERM);
  const int process = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  if (process < 0) std::abort();
  pollfd waiting{process, POLLIN, 0};
  while (poll(&waiting, 1, 10000) < 0 && errno == EINTR) {
  }
  close(process);
  Kill();
}

void ClientProcess::Kill() {
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  close(pipe_);
  pid_ = pipe_ = -1;
}

Result<std::string> ClientProcess::Wait() {
  std::string report;
  const auto deadline = std::chrono::steady_clock::now() + kClientTimeout;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd waiting{pipe_, POLLIN, 0};
    if (left.count() <= 0 || poll(&waiting, 1, static_cast<int>(left.count())) == 0) {
      Kill();
      return Error(absl::StatusCode::kDeadlineExceeded, "the client took longer than {} s and was killed",
                   kClientTimeout.count());
    }
    char buffer[65536];
    const ssize_t size = read(pipe_, buffer, sizeof(buffer));
    if (size == 0) break;
    if (size > 0) report.append(buffer, size);
  }
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  close(pipe_);
  pid_ = pipe_ = -1;
  if (report.starts_with('K') && WIFEXITED(status) && WEXITSTATUS(status) == 0) return report.substr(1);
  if (report.starts_with('E')) return Error(absl::StatusCode::kUnknown, "{}", report.substr(1));
  return Error(absl::StatusCode::kAborted, "the client died: wait status {:#x}", status);
}

Result<std::string> RunIn(const std::string& cgroup, const ClientFunction& function) {
  return ClientProcess(cgroup, function).Wait();
}

Result<std::string> RunCommand(const std::string& cgroup, const std::string& command) {
  return RunIn(cgroup, [&]() -> Result<std::string> {
    FILE* pipe = popen(("{ " + command + " ; } 2>&1").c_str(), "r");
    if (pipe == nullptr) return ErrnoStatus(errno, "popen");
    std::string output;
    char buffer[4096];
    while (const size_t size = fread(buffer, 1, sizeof(buffer), pipe)) output.append(buffer, size);
    const int status = pclose(pipe);
    if (status != 0)
      return Error(absl::StatusCode::kUnknown, "'{}': wait status {:#x}: {}", command, status, output);
    return output;
  });
}

void* MapShared(size_t size) {
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  return memory;
}

void UnmapShared(void* memory, size_t size) { munmap(memory, size); }

}  // namespace weir::kernel_test
