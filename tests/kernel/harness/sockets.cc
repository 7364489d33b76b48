#include "tests/kernel/harness/sockets.h"

#include <arpa/inet.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>

namespace weir::kernel_test {

SockAddr ToSockAddr(const SocketAddress& address, Mapped mapped) {
  SockAddr out;
  if (address.address.family() == AddressFamily::kIPv4 && mapped == Mapped::kNo) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    std::memcpy(&v4->sin_addr, address.address.mapped().data() + 12, 4);
    out.length = sizeof(*v4);
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    std::memcpy(&v6->sin6_addr, address.address.mapped().data(), 16);
    out.length = sizeof(*v6);
  }
  return out;
}

SocketAddress FromSockAddr(const SockAddr& address) {
  if (address.family() == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
    return {*IpAddress::FromBytes({reinterpret_cast<const char*>(&v4->sin_addr), 4}), ntohs(v4->sin_port)};
  }
  if (address.family() == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    return {*IpAddress::FromBytes({reinterpret_cast<const char*>(&v6->sin6_addr), 16}), ntohs(v6->sin6_port)};
  }
  return {};
}

SocketAddress Address(const std::string& text, uint16_t port) {
  const auto address = IpAddress::Parse(text);
  if (!address) {
    std::cerr << "not an address: " << text << "\n";
    std::abort();
  }
  return {*address, port};
}

SocketAddress Endpoint(int variant, int number, uint16_t port) {
  return Address(fmt::format("127.1.{}.{}", variant, number + 1), port);
}

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = other.Release();
  }
  return *this;
}

int Socket::Release() {
  const int fd = fd_;
  fd_ = -1;
  return fd;
}

void Socket::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

Socket Socket::Open(int family, int type, int protocol) {
  Socket out(socket(family, type | SOCK_CLOEXEC, protocol));
  if (out.fd_ < 0) {
    std::cerr << "socket(): " << std::strerror(errno) << "\n";
    std::abort();
  }
  const timeval timeout{kSocketTimeout.count(), 0};
  setsockopt(out.fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  setsockopt(out.fd_, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
  if (type == SOCK_STREAM) {
    const linger reset{1, 0};
    setsockopt(out.fd_, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  }
  return out;
}

int Socket::Connect(const SockAddr& to) { return connect(fd_, to.get(), to.length) == 0 ? 0 : errno; }

Status Socket::Bind(const SocketAddress& address) {
  const int on = 1;
  setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const SockAddr to = ToSockAddr(address);
  if (bind(fd_, to.get(), to.length) != 0) return ErrnoStatus(errno, "bind " + ToString(address));
  return OkStatus();
}

Status Socket::Send(const std::string& data) {
  if (send(fd_, data.data(), data.size(), MSG_NOSIGNAL) < 0) return ErrnoStatus(errno, "send");
  return OkStatus();
}

Status Socket::SendTo(const SocketAddress& to, const std::string& data, Mapped mapped) {
  const SockAddr address = ToSockAddr(to, mapped);
  if (sendto(fd_, data.data(), data.size(), MSG_NOSIGNAL, address.get(), address.length) < 0)
    return ErrnoStatus(errno, "sendto " + ToString(to));
  return OkStatus();
}

Result<std::string> Socket::Receive() {
  char buffer[4096];
  const ssize_t size = recv(fd_, buffer, sizeof(buffer), 0);
  if (size < 0) return ErrnoStatus(errno, "recv");
  return std::string(buffer, size);
}

Result<Socket::Datagram> Socket::ReceiveFrom() {
  char buffer[4096];
  SockAddr from;
  from.length = sizeof(from.storage);
  const ssize_t size = recvfrom(fd_, buffer, sizeof(buffer), 0, from.get(), &from.length);
  if (size < 0) return ErrnoStatus(errno, "recvfrom");
  return Datagram{std::string(buffer, size), FromSockAddr(from), from.family()};
}

SocketAddress Socket::Peer() const {
  SockAddr address;
  address.length = sizeof(address.storage);
  if (getpeername(fd_, address.get(), &address.length) != 0) return {};
  return FromSockAddr(address);
}

SocketAddress Socket::Local() const {
  SockAddr address;
  address.length = sizeof(address.storage);
  if (getsockname(fd_, address.get(), &address.length) != 0) return {};
  return FromSockAddr(address);
}

Result<uint8_t> Fetch(const SocketAddress& to, Mapped mapped) {
  const SockAddr address = ToSockAddr(to, mapped);
  Socket socket = Socket::Open(address.family(), SOCK_STREAM);
  if (const int error = socket.Connect(address); error != 0)
    return ErrnoStatus(error, "connect to " + ToString(to));
  ASSIGN_OR_RETURN(const std::string id, socket.Receive());
  if (id.empty()) return Error(absl::StatusCode::kUnavailable, "{} closed without a word", ToString(to));
  return static_cast<uint8_t>(id[0]);
}

Result<std::string> FetchMany(const SocketAddress& to, int connections, Mapped mapped) {
  std::string ids;
  for (int i = 0; i < connections; ++i) {
    auto id = Fetch(to, mapped);
    if (!id.ok()) return Annotate(id.status(), fmt::format("connection {}", i));
    ids.push_back(static_cast<char>(*id));
  }
  return ids;
}

Result<std::string> TryMany(const SocketAddress& to, int times) {
  const SockAddr address = ToSockAddr(to);
  std::string out;
  for (int i = 0; i < times; ++i) {
    Socket socket = Socket::Open(address.family(), SOCK_STREAM);
    const int error = socket.Connect(address);
    if (error != 0 && error != ECONNREFUSED) return ErrnoStatus(error, "connect to " + ToString(to));
    out.push_back(error == 0 ? 0 : 1);
  }
  return out;
}

Result<uint8_t> FetchUdp(const SocketAddress& to, Mapped mapped) {
  const SockAddr address = ToSockAddr(to, mapped);
  Socket socket = Socket::Open(address.family(), SOCK_DGRAM);
  if (const int error = socket.Connect(address); error != 0)
    return ErrnoStatus(error, "connect to " + ToString(to));
  RETURN_IF_ERROR(socket.Send("?"));
  ASSIGN_OR_RETURN(const std::string id, socket.Receive());
  if (id.empty()) return Error(absl::StatusCode::kUnavailable, "an empty datagram from {}", ToString(to));
  return static_cast<uint8_t>(id[0]);
}

}  // namespace weir::kernel_test
