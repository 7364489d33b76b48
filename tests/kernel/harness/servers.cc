#include "tests/kernel/harness/servers.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <set>

#include "tests/kernel/harness/sandbox.h"

namespace weir::kernel_test {
namespace {

[[noreturn]] void Die(const std::string& what) {
  std::cerr << "kernel test servers: " << what << ": " << std::strerror(errno) << "\n";
  std::abort();
}

std::mutex servers_mutex;          // held while an event is handled
std::set<int> descriptors_of_all;  // of every Servers, guarded by servers_mutex

}  // namespace

std::unique_lock<std::mutex> FreezeServers() { return std::unique_lock(servers_mutex); }

void CloseServersInChild() {
  for (const int fd : descriptors_of_all) close(fd);
}

Servers::Servers()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)), stop_event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (epoll_ < 0 || stop_event_ < 0) Die("epoll");
  epoll_event event{.events = EPOLLIN, .data = {.fd = stop_event_}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, stop_event_, &event);
  thread_ = std::thread([this] { Serve(); });
}

Servers::~Servers() {
  const uint64_t one = 1;
  if (write(stop_event_, &one, sizeof(one)) != sizeof(one)) Die("stop");
  thread_.join();
  const std::lock_guard lock(servers_mutex);
  for (const auto& [fd, entry] : entries_) {
    descriptors_of_all.erase(fd);
    close(fd);
  }
  close(stop_event_);
  close(epoll_);
}

void Servers::AddTcp(const SocketAddress& address, uint8_t id, int netns_fd, int protocol) {
  Add(address, id, netns_fd, SOCK_STREAM, protocol);
}

void Servers::AddUdp(const SocketAddress& address, uint8_t id, int netns_fd) {
  Add(address, id, netns_fd, SOCK_DGRAM, 0);
}

void Servers::Add(const SocketAddress& address, uint8_t id, int netns_fd, int type, int protocol) {
  int fd = -1;
  const auto listen_there = [&] {
    const SockAddr to = ToSockAddr(address);
    fd = socket(to.family(), type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    const int on = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0) Die("socket");
    if (bind(fd, to.get(), to.length) != 0) Die("bind " + ToString(address));
    if (type != SOCK_STREAM) return;
    const int queue = 1024;
    setsockopt(fd, IPPROTO_TCP, 23 /* TCP_FASTOPEN */, &queue, sizeof(queue));
    if (listen(fd, 4096) != 0) Die("listen " + ToString(address));
  };
  if (netns_fd < 0) {
    listen_there();
  } else {
    RunInNamespace(netns_fd, listen_there);
  }
  const std::lock_guard lock(servers_mutex);
  descriptors_of_all.insert(fd);
  entries_[fd] = {type == SOCK_STREAM ? Entry::kListener : Entry::kUdp, id, address};
  epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) Die("epoll_ctl");
}

void Servers::Remove(const SocketAddress& address) { RemoveIf(address, false); }
void Servers::RemoveAndReset(const SocketAddress& address) { RemoveIf(address, true); }

void Servers::RemoveIf(const SocketAddress& address, bool connections_too) {
  const std::lock_guard lock(servers_mutex);
  for (auto it = entries_.begin(); it != entries_.end();) {
    const bool connection = it->second.kind == Entry::kConnection;
    if (it->second.address == address && (!connection || connections_too)) {
      const linger reset{1, 0};
      if (connection) setsockopt(it->first, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
      close(it->first);
      descriptors_of_all.erase(it->first);
      it = entries_.erase(it);
    } else {
      ++it;
    }
  }
}

uint64_t Servers::Total() const {
  uint64_t total = 0;
  for (const auto& count : counts_) total += count.load();
  return total;
}

Status Servers::WaitFor(const std::function<uint64_t()>& seen, uint64_t n) const {
  std::unique_lock lock(servers_mutex);
  if (!counted_.wait_for(lock, kSocketTimeout, [&] { return seen() >= n; }))
    return Error(absl::StatusCode::kDeadlineExceeded, "the servers have seen {} of {} after {} s", seen(), n,
                 kSocketTimeout.count());
  return OkStatus();
}

Status Servers::WaitForCount(uint8_t id, uint64_t n) const {
  return WaitFor([&] { return Count(id); }, n);
}

Status Servers::WaitForTotal(uint64_t n) const {
  return WaitFor([&] { return Total(); }, n);
}

std::string Servers::Log() const {
  const std::lock_guard lock(servers_mutex);
  return log_;
}

void Servers::Forget() {
  const std::lock_guard lock(servers_mutex);
  log_.clear();
  for (auto& count : counts_) count = 0;
}

void Servers::Note(uint8_t id) {
  ++counts_[id];
  log_.push_back(static_cast<char>(id));
  counted_.notify_all();
}

void Servers::Serve() {
  for (;;) {
    epoll_event events[64];
    const int ready = epoll_wait(epoll_, events, 64, -1);
    if (ready < 0 && errno != EINTR) Die("epoll_wait");
    const std::lock_guard lock(servers_mutex);
    for (int i = 0; i < ready; ++i) {
      if (events[i].data.fd == stop_event_) return;
      const auto it = entries_.find(events[i].data.fd);
      if (it != entries_.end()) Handle(it->first, Entry(it->second));
    }
  }
}

// A stale event for a reused descriptor is harmless: every socket is non-blocking.
void Servers::Handle(int fd, const Entry& entry) {
  char buffer[4096];
  buffer[0] = static_cast<char>(entry.id);
  switch (entry.kind) {
    case Entry::kListener:
      for (;;) {
        const int connection = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (connection < 0) return;
        Note(entry.id);
        send(connection, buffer, 1, MSG_NOSIGNAL);
        descriptors_of_all.insert(connection);
        entries_[connection] = {Entry::kConnection, entry.id, entry.address};
        epoll_event event{.events = EPOLLIN | EPOLLRDHUP, .data = {.fd = connection}};
        epoll_ctl(epoll_, EPOLL_CTL_ADD, connection, &event);
      }
    case Entry::kConnection: {
      const ssize_t size = recv(fd, buffer, sizeof(buffer), 0);
      if (size > 0) {
        send(fd, buffer, size, MSG_NOSIGNAL);
      } else if (size == 0 || errno != EAGAIN) {
        close(fd);
        descriptors_of_all.erase(fd);
        entries_.erase(fd);
      }
      return;
    }
    case Entry::kUdp:
      for (;;) {
        SockAddr from;
        from.length = sizeof(from.storage);
        const ssize_t size = recvfrom(fd, buffer + 1, sizeof(buffer) - 1, 0, from.get(), &from.length);
        if (size < 0) return;
        Note(entry.id);
        sendto(fd, buffer, size + 1, MSG_NOSIGNAL, from.get(), from.length);
      }
  }
}

}  // namespace weir::kernel_test
