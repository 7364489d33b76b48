// Client code inside a cgroup. All threads of a process share its cgroup2 domain, so clients are child
// processes: forked, moved into the cgroup, then the function runs and its bytes come back through a pipe.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <string>

#include "common/status.h"

namespace weir::kernel_test {

using ClientFunction = std::function<Result<std::string>()>;

class ClientProcess {
 public:
  ClientProcess(const std::string& cgroup, const ClientFunction& function);
  ~ClientProcess();
  ClientProcess(ClientProcess&& other) noexcept : pid_(other.pid_), pipe_(other.pipe_) {
    other.pid_ = -1;
    other.pipe_ = -1;
  }
  ClientProcess& operator=(ClientProcess&&) = delete;

  pid_t pid() const { return pid_; }
  /// What the function returned; an error too when the process died. Waits at most a minute.
  Result<std::string> Wait();
  /// SIGTERM, and waits for its end; SIGKILL after ten seconds.
  void Terminate();
  /// SIGKILL, and waits for its end.
  void Kill();

 private:
  pid_t pid_ = -1;
  int pipe_ = -1;
};

/// Runs the function in a child process inside the cgroup.
Result<std::string> RunIn(const std::string& cgroup, const ClientFunction& function);

/// Runs a shell command inside the cgroup; its standard output, or an error with its exit code and both
/// outputs.
Result<std::string> RunCommand(const std::string& cgroup, const std::string& command);

/// An object in memory shared with children forked after its construction; T must be of lock-free atomics.
template <typename T>
class Shared;

void* MapShared(size_t size);
void UnmapShared(void* memory, size_t size);

template <typename T>
class Shared {
 public:
  Shared() : value_(new (MapShared(sizeof(T))) T()) {}
  ~Shared() { UnmapShared(value_, sizeof(T)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T* operator->() const { return value_; }
  T* get() const { return value_; }

 private:
  T* value_;
};

}  // namespace weir::kernel_test
