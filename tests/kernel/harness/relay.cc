#include "tests/kernel/harness/relay.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <vector>

#include "common/address.h"

namespace weir::kernel_test {
namespace {

SocketAddress Parse(const std::string& text) {
  const size_t colon = text.rfind(':');
  return {*IpAddress::Parse(text.substr(0, colon)), static_cast<uint16_t>(std::stoi(text.substr(colon + 1)))};
}

void Wake(int event) {
  const uint64_t one = 1;
  if (write(event, &one, sizeof one) != sizeof one) std::abort();
}

/// Clients forked meanwhile hold copies: closing ours would tell the peers nothing.
void End(int one, int other) {
  shutdown(one, SHUT_RDWR);
  shutdown(other, SHUT_RDWR);
}

}  // namespace

Relay::Relay(const std::string& target)
    : target_(Parse(target)), listener_(Socket::Open(AF_INET, SOCK_STREAM)), wake_(eventfd(0, EFD_CLOEXEC)) {
  if (!listener_.Bind(Address("127.0.0.1", 0)).ok() || listen(listener_.fd(), 64) != 0 || wake_ < 0)
    std::abort();
  address_ = ToString(listener_.Local());
  thread_ = std::thread([this] { Run(); });
}

Relay::~Relay() {
  stop_ = true;
  Wake(wake_);
  thread_.join();
  close(wake_);
}

void Relay::Cut() {
  const std::lock_guard lock(mutex_);
  cut_ = true;
  Wake(wake_);
}

void Relay::Heal() {
  const std::lock_guard lock(mutex_);
  cut_ = false;
  pairs_.clear();
  Wake(wake_);
}

void Relay::Direct(const std::string& target) {
  const std::lock_guard lock(mutex_);
  target_.reset();
  if (!target.empty()) target_ = Parse(target);
}

void Relay::Accept() {
  Socket agent(accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
  if (agent.fd() < 0) return;
  Socket controller;
  if (!cut_) {
    controller = Socket::Open(AF_INET, SOCK_STREAM);
    if (!target_ || controller.Connect(*target_) != 0) return End(agent.fd(), controller.fd());
  }
  pairs_.push_back({std::move(agent), std::move(controller)});
}

bool Relay::Carry(int from, int to) {
  std::array<char, 65536> buffer{};
  const ssize_t got = recv(from, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
  for (ssize_t sent = 0; sent < got;) {
    const ssize_t count = send(to, buffer.data() + sent, static_cast<size_t>(got - sent), MSG_NOSIGNAL);
    if (count <= 0) return false;
    sent += count;
  }
  return got > 0;
}

void Relay::Run() {
  while (!stop_) {
    std::vector<pollfd> fds = {{wake_, POLLIN, 0}, {listener_.fd(), POLLIN, 0}};
    {
      const std::lock_guard lock(mutex_);
      for (const Pair& pair : pairs_) {
        if (cut_ || pair.controller.fd() < 0) continue;
        fds.push_back({pair.agent.fd(), POLLIN, 0});
        fds.push_back({pair.controller.fd(), POLLIN, 0});
      }
    }
    poll(fds.data(), fds.size(), -1);
    uint64_t count = 0;
    if ((fds[0].revents & POLLIN) != 0 && read(wake_, &count, sizeof count) < 0) std::abort();
    const std::lock_guard lock(mutex_);
    if ((fds[1].revents & POLLIN) != 0) Accept();
    if (cut_) continue;
    for (auto pair = pairs_.begin(); pair != pairs_.end();) {
      const bool lives = pair->controller.fd() < 0 || (Carry(pair->agent.fd(), pair->controller.fd()) &&
                                                       Carry(pair->controller.fd(), pair->agent.fd()));
      if (!lives) End(pair->agent.fd(), pair->controller.fd());
      pair = lives ? std::next(pair) : pairs_.erase(pair);
    }
  }
}

}  // namespace weir::kernel_test
