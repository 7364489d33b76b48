// Where kernel tests run: a mount namespace with a bpffs of its own, a network namespace with nothing but lo,
// and a cgroup2 subtree; so that nothing is seen by, or left on, the machine, and the same program can run
// twice at once.
//
// The test program is forked from a supervisor that removes the subtree (and kills whoever is left in it)
// however the tests end; what a killed supervisor left is swept by the next run. Pins die with the mount
// namespace.
#pragma once

#include <functional>
#include <string>

#include "common/status.h"

namespace weir::kernel_test {

struct Sandbox {
  std::string cgroup;       // absolute path of our cgroup2 directory; nodes are its children
  std::string bpffs;        // absolute path of our directory in bpffs
  std::string skip_reason;  // why kernel tests cannot run here; empty when they can
};

/// Valid inside RunInSandbox().
const Sandbox& TheSandbox();

/// Forks, sets the sandbox up in the child, runs `tests` there and returns its exit code. Where there is no
/// privilege or no cgroup2, `tests` runs all the same, with skip_reason set.
int RunInSandbox(const std::function<int()>& tests);

/// The cgroup2 mount, found in /proc/self/mountinfo (hybrid hierarchies have it at a place of their own).
Result<std::string> FindCgroup2();

/// A child cgroup; its processes are killed, and it and its children are removed, when the object goes.
class Cgroup {
 public:
  explicit Cgroup(const std::string& name) : Cgroup(TheSandbox().cgroup, name) {}
  Cgroup(const std::string& parent, const std::string& name);
  ~Cgroup();
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;

  const std::string& path() const { return path_; }
  /// Kills what runs in it and removes it now.
  Status Remove();

 private:
  std::string path_;
};

/// Moves the calling process there.
Status JoinCgroup(const std::string& path);

/// A network namespace with only lo up, all of 127.0.0.0/8 and fd00::/64 local to it.
class NetNamespace {
 public:
  NetNamespace();
  ~NetNamespace();
  NetNamespace(const NetNamespace&) = delete;
  NetNamespace& operator=(const NetNamespace&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

/// Runs the function on a thread inside that network namespace.
void RunInNamespace(int netns_fd, const std::function<void()>& function);

/// Writes one file ("sysctl"); aborts the test program with the place when it cannot.
void WriteFile(const std::string& path, const std::string& text);
std::string ReadFile(const std::string& path);

}  // namespace weir::kernel_test
