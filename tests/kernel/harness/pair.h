// Both ends of a connection in the test's own hands, with what each sent and received.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "tests/kernel/harness/node.h"
#include "tests/kernel/harness/sockets.h"

namespace weir::kernel_test {

/// A listening socket that accepts only when told to.
class Listener {
 public:
  explicit Listener(const SocketAddress& address, int backlog = 4096, int protocol = 0);
  Socket Accept();

 private:
  Socket socket_;
};

struct Pair {
  Socket client, server;
};

/// A socket that ends with a FIN, as most do, instead of with a reset.
Socket OpenOrderly(TestNode& node, int family, int protocol = 0);
/// Connects through the VIP to the listener behind it.
Pair Connect(TestNode& node, const SocketAddress& vip, Listener& listener, int protocol = 0);

/// Sends that many bytes on one end while the other receives them all; aborts the test program on an error.
void Transfer(Socket& from, Socket& to, size_t bytes);
/// Receives until the end of the stream; the bytes.
size_t Drain(Socket& socket);

/// Waits, at most ten seconds, until the predicate holds.
bool Eventually(const std::function<bool()>& predicate);

}  // namespace weir::kernel_test
