#include "tests/kernel/harness/pair.h"

#include <sched.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <thread>
#include <vector>

namespace weir::kernel_test {
namespace {

[[noreturn]] void Die(const char* what) {
  std::cerr << what << ": " << std::strerror(errno) << "\n";
  std::abort();
}

void EndOrderly(const Socket& socket) {
  const linger off{.l_onoff = 0, .l_linger = 0};
  if (setsockopt(socket.fd(), SOL_SOCKET, SO_LINGER, &off, sizeof off) != 0) Die("SO_LINGER");
}

}  // namespace

Listener::Listener(const SocketAddress& address, int backlog, int protocol) {
  const SockAddr wire = ToSockAddr(address);
  socket_ = Socket::Open(wire.family(), SOCK_STREAM, protocol);
  const int on = 1;
  setsockopt(socket_.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(socket_.fd(), wire.get(), wire.length) != 0 || listen(socket_.fd(), backlog) != 0) Die("listen");
}

Socket Listener::Accept() {
  Socket out(accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
  if (out.fd() < 0) Die("accept");
  EndOrderly(out);
  return out;
}

Socket OpenOrderly(TestNode& node, int family, int protocol) {
  Socket socket = node.OpenSocket(family, SOCK_STREAM, protocol);
  EndOrderly(socket);
  return socket;
}

Pair Connect(TestNode& node, const SocketAddress& vip, Listener& listener, int protocol) {
  const SockAddr to = ToSockAddr(vip);
  Pair pair;
  pair.client = OpenOrderly(node, to.family(), protocol);
  if (pair.client.Connect(to) != 0) Die("connect");
  pair.server = listener.Accept();
  return pair;
}

void Transfer(Socket& from, Socket& to, size_t bytes) {
  std::thread sender([&] {
    const std::vector<char> data(std::min<size_t>(bytes, 1 << 20), 'x');
    for (size_t sent = 0; sent < bytes;) {
      const ssize_t n = send(from.fd(), data.data(), std::min(data.size(), bytes - sent), MSG_NOSIGNAL);
      if (n <= 0) Die("send");
      sent += static_cast<size_t>(n);
    }
  });
  std::vector<char> data(1 << 16);
  for (size_t received = 0; received < bytes;) {
    const ssize_t n = recv(to.fd(), data.data(), std::min(data.size(), bytes - received), 0);
    if (n <= 0) Die("recv");
    received += static_cast<size_t>(n);
  }
  sender.join();
}

size_t Drain(Socket& socket) {
  std::vector<char> data(1 << 16);
  size_t received = 0;
  for (;;) {
    const ssize_t n = recv(socket.fd(), data.data(), data.size(), 0);
    if (n < 0) Die("recv");
    if (n == 0) return received;
    received += static_cast<size_t>(n);
  }
}

bool Eventually(const std::function<bool()>& predicate) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!predicate()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    sched_yield();
  }
  return true;
}

}  // namespace weir::kernel_test
