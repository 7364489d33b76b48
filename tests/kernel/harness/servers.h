// Servers whose word counts: each endpoint names itself by a byte and counts what reached it, in order.
//
// TCP: on accept the id is sent, then what the client sends is echoed until it closes. UDP: each datagram is
// answered by the id followed by the datagram. One thread (epoll) serves all; methods may be called from any
// thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/net.h"
#include "tests/kernel/harness/sockets.h"

namespace weir::kernel_test {

/// Holds all servers of the process still: for a fork, whose child then calls CloseServersInChild().
[[nodiscard]] std::unique_lock<std::mutex> FreezeServers();
/// A child that inherited listening sockets would keep them alive when the parent closes them.
void CloseServersInChild();

class Servers {
 public:
  Servers();
  ~Servers();
  Servers(const Servers&) = delete;
  Servers& operator=(const Servers&) = delete;

  /// Listens in the caller's network namespace, or in `netns_fd`. Several addresses may share an id. MPTCP
  /// listeners take plain TCP as well.
  void AddTcp(const SocketAddress& address, uint8_t id, int netns_fd = -1, int protocol = 0);
  void AddUdp(const SocketAddress& address, uint8_t id, int netns_fd = -1);
  /// Closes the sockets at the address: connections to it fail from now on, established ones live on.
  void Remove(const SocketAddress& address);
  /// Resets established connections too.
  void RemoveAndReset(const SocketAddress& address);

  /// Connections accepted or datagrams received since the last Forget(). A client that got its byte was
  /// counted before; for one that asked for none, wait: connect() returns before the server accepts.
  uint64_t Count(uint8_t id) const { return counts_[id].load(); }
  uint64_t Total() const;
  /// Waits until the count, or the total, is that much or more; an error after kSocketTimeout.
  Status WaitForCount(uint8_t id, uint64_t n) const;
  Status WaitForTotal(uint64_t n) const;
  /// The ids in the order of acceptance.
  std::string Log() const;
  void Forget();

 private:
  struct Entry {
    enum Kind { kListener, kConnection, kUdp } kind;
    uint8_t id;
    SocketAddress address;
  };

  void Add(const SocketAddress& address, uint8_t id, int netns_fd, int type, int protocol);
  void RemoveIf(const SocketAddress& address, bool connections_too);
  void Serve();
  void Handle(int fd, const Entry& entry);
  void Note(uint8_t id);
  Status WaitFor(const std::function<uint64_t()>& seen, uint64_t n) const;

  int epoll_ = -1;
  int stop_event_ = -1;
  std::map<int, Entry> entries_;  // this and log_: guarded by the lock of FreezeServers()
  std::string log_;
  std::atomic<uint64_t> counts_[256] = {};  // written under that lock
  mutable std::condition_variable counted_;
  std::thread thread_;
};

}  // namespace weir::kernel_test
