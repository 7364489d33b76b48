// Small socket helpers for clients and servers in tests. Every blocking call has a deadline (kSocketTimeout).
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "common/net.h"
#include "common/status.h"

namespace weir::kernel_test {

inline constexpr std::chrono::seconds kSocketTimeout{10};

/// A sockaddr of the address's own family, or of AF_INET6 with ::ffff:a.b.c.d.
struct SockAddr {
  sockaddr_storage storage{};
  socklen_t length = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};
enum class Mapped { kNo, kYes };
SockAddr ToSockAddr(const SocketAddress& address, Mapped mapped = Mapped::kNo);
/// An IPv4-mapped address becomes the IPv4 one (as common/net.h has it).
SocketAddress FromSockAddr(const SockAddr& address);

/// "127.0.0.1", 80; aborts on text that is no address.
SocketAddress Address(const std::string& text, uint16_t port);

/// Where endpoint `number` (from 0) of a variant listens unless a test says otherwise:
/// 127.1.<variant>.<number + 1>.
SocketAddress Endpoint(int variant, int number = 0, uint16_t port = 8080);

/// Owns a descriptor.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(other.Release()) {}
  Socket& operator=(Socket&& other) noexcept;
  ~Socket() { Close(); }

  /// socket() with deadlines on receive and send; a TCP socket is reset, not lingering, when closed (no
  /// TIME_WAIT).
  static Socket Open(int family, int type, int protocol = 0);

  int fd() const { return fd_; }
  int Release();
  void Close();

  /// The errno, 0 when it worked.
  int Connect(const SockAddr& to);
  int Connect(const SocketAddress& to, Mapped mapped = Mapped::kNo) {
    return Connect(ToSockAddr(to, mapped));
  }
  Status Bind(const SocketAddress& address);
  Status Send(const std::string& data);
  Status SendTo(const SocketAddress& to, const std::string& data, Mapped mapped = Mapped::kNo);
  /// What one recv() gave; empty at the end of a stream.
  Result<std::string> Receive();
  struct Datagram {
    std::string data;
    SocketAddress from;
    int family = 0;  // of the sender's sockaddr
  };
  Result<Datagram> ReceiveFrom();
  SocketAddress Peer() const;
  SocketAddress Local() const;

 private:
  int fd_ = -1;
};

/// Dials over TCP and returns the byte by which the server names itself; the connection is closed.
Result<uint8_t> Fetch(const SocketAddress& to, Mapped mapped = Mapped::kNo);

/// The connections of a client one after the other: a byte each, in order.
Result<std::string> FetchMany(const SocketAddress& to, int connections, Mapped mapped = Mapped::kNo);

/// Tries to connect that often; per try a byte: 0 connected, 1 refused. Any other outcome is an error.
Result<std::string> TryMany(const SocketAddress& to, int times);

/// One datagram from a new connected socket, and the server's byte.
Result<uint8_t> FetchUdp(const SocketAddress& to, Mapped mapped = Mapped::kNo);

}  // namespace weir::kernel_test
