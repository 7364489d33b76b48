// A process of its own that opens connections on command: cgroup and network namespace are a process's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/fd.h"

namespace weir::bench {

/// Sent over a socket between two processes of one binary.
struct Order {
  enum class Kind : uint32_t { kTcp, kUdp, kLoad, kQuit };
  Kind kind = Kind::kTcp;
  uint32_t direct = 0;       // 1: dial endpoints, 0: dial virtual addresses
  uint32_t count = 0;        // connections to measure; kLoad: unused, goes on until Stop()
  uint32_t warm_up = 0;      // connections before them that are not reported
  uint32_t services = 1;     // a service is drawn for each connection: the same ones for the same seed
  uint32_t per_service = 5;  // endpoints, for direct
  uint32_t seed = 1;
};

struct Sample {
  uint32_t connect_ns = 0;     // connect() alone
  uint32_t first_byte_ns = 0;  // from connect() until a byte has been to the server and back; 0 over UDP
  uint32_t canary = 0;         // 1: the server that accepted is the canary's
};

struct LoadReport {
  uint64_t connections = 0, failed = 0, canary = 0;
};

/// A child process and a socket to it: what must be in a cgroup or namespace of its own.
class Child {
 public:
  /// `serve` is given the child's end and does not return.
  Child(int socket_type, const std::function<void(int socket)>& serve);
  /// Shuts our end down, of which later children hold copies: what the child receives has ended. Waits for it
  /// to go.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  int socket() const { return socket_.get(); }

 private:
  UniqueFd socket_;
  pid_t pid_ = -1;
};

/// Owns the process. It listens on both servers' ports on every address of its network namespace, so each
/// worker needs a namespace of its own. Dials and accepts on one thread pinned to `cpu` (-1: any), so that
/// the loopback handshake runs to its end without a second process to schedule; only a proxy adds one. Closes
/// with RST (SO_LINGER 0). Aborts the program with the reason when a connection fails, except under kLoad.
class Worker {
 public:
  /// `netns_fd` -1: stays in the caller's. `cgroup` empty: stays in the caller's.
  Worker(std::string name, int netns_fd, const std::string& cgroup, int cpu);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  const std::string& name() const { return name_; }
  std::vector<Sample> Run(const Order& order);
  /// Load: begins, goes on in the background until Stop().
  void Start(const Order& order);
  LoadReport Stop();

 private:
  std::string name_;
  Child child_;
};

/// Runs the program with its standard output going to ours; returns its exit code. In `netns_fd` unless -1.
int RunProgram(const std::vector<std::string>& arguments, int netns_fd);

/// Ends a process that is not our child, and returns when it is gone.
void EndProcess(pid_t pid, int signal_number);

[[noreturn]] void Die(const std::string& what);

}  // namespace weir::bench
