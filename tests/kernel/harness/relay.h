// Carries TCP connections between an agent and its controller, until it is told to be the partition between
// them.
#pragma once

#include <atomic>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "tests/kernel/harness/sockets.h"

namespace weir::kernel_test {

class Relay {
 public:
  /// Listens on a free port of 127.0.0.1 and dials `target` ("127.0.0.1:7400") for each connection.
  explicit Relay(const std::string& target);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  const std::string& address() const { return address_; }
  /// From now on nothing passes, and nobody is told: connections stay open, new ones are accepted.
  void Cut();
  /// Connections of before are reset, new ones pass.
  void Heal();
  /// New connections go there, those of before stay where they are; empty: new ones are closed at once.
  void Direct(const std::string& target);

 private:
  struct Pair {
    Socket agent, controller;
  };
  void Run();
  void Accept();
  /// False when the connection has ended.
  static bool Carry(int from, int to);

  std::optional<SocketAddress> target_;  // guarded by mutex_
  std::string address_;
  Socket listener_;
  std::mutex mutex_;  // guards pairs_ and cut_
  std::list<Pair> pairs_;
  bool cut_ = false;
  int wake_ = -1;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace weir::kernel_test
