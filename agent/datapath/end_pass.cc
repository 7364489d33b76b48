#include "agent/datapath/end_pass.h"

#include <bpf/bpf.h>
#include <netinet/in.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

#include "weir/end.h"

namespace weir::datapath {
namespace {

using std::chrono::milliseconds;

/// A connect() between its choice and its SYN takes microseconds, unless its process is held up. There is no
/// event for its end: the pass looks again this often, for so long.
constexpr milliseconds kUnderWayPause{2};
constexpr milliseconds kUnderWayLimit{500};
/// What is ended in one round may be found again only if its process connected anew meanwhile.
constexpr int kRounds = 16;

/// Runs an iterator to its end. The namespace counts in which this is called, not those of the reads within.
Status RunIterator(int link, const std::function<void(const char*, size_t)>& take) {
  const UniqueFd iterator(bpf_iter_create(link));
  if (!iterator.valid()) return ErrnoStatus(errno, "iterate over sockets");
  std::array<char, 64 * 1024> buffer{};
  for (;;) {
    const ssize_t length = read(iterator.get(), buffer.data(), buffer.size());
    if (length == 0) return OkStatus();
    if (length > 0 && take) take(buffer.data(), static_cast<size_t>(length));
    if (length < 0 && errno != EAGAIN && errno != EINTR) return ErrnoStatus(errno, "iterate over sockets");
  }
}

}  // namespace

Result<EndPass::Found> EndPass::Find() const {
  std::string bytes;
  RETURN_IF_ERROR(
      RunIterator(handles_.find, [&](const char* data, size_t length) { bytes.append(data, length); }));
  Found found;
  for (size_t at = 0; at + sizeof(weir_found) <= bytes.size(); at += sizeof(weir_found)) {
    weir_found socket{};
    std::memcpy(&socket, bytes.data() + at, sizeof socket);
    if (socket.kind == WEIR_FOUND_UNDER_WAY) {
      found.under_way = true;
      continue;
    }
    if (socket.kind == WEIR_FOUND_MULTIPATH) {
      ++found.multipath[socket.order];
      continue;
    }
    Open& open = found.namespaces[socket.netns];
    ++open.orders[socket.order];
    (socket.protocol == IPPROTO_UDP ? open.udp : open.tcp) = true;
  }
  return found;
}

Status EndPass::Walk(const Open& open) const {
  if (open.tcp) RETURN_IF_ERROR(RunIterator(handles_.tcp, nullptr));
  if (open.udp) RETURN_IF_ERROR(RunIterator(handles_.udp, nullptr));
  return OkStatus();
}

void EndPass::Fail(uint64_t number, std::string why) {
  if (!failed_.try_emplace(number, why).second) return;
  outcome_.failures.push_back(fmt::format("network namespace {}: {}", number, why));
}

void EndPass::EndIn(uint64_t number, const Open& open, const std::map<uint64_t, UniqueFd>& others) {
  if (failed_.contains(number)) return;
  Status status;
  if (number == own_number_) {
    status = Walk(open);
  } else {
    const auto fd = others.find(number);
    if (fd == others.end()) return;  // its last process has ended since: the sockets go with it
    if (::setns(fd->second.get(), CLONE_NEWNET) != 0) {
      return Fail(number, errno == EPERM ? std::string("cannot be entered without CAP_SYS_ADMIN")
                                         : fmt::format("cannot be entered: {}", std::strerror(errno)));
    }
    status = Walk(open);
    if (::setns(handles_.own_namespace, CLONE_NEWNET) != 0 && status.ok())
      status = ErrnoStatus(errno, "return to the agent's own network namespace");
  }
  if (!status.ok()) return Fail(number, Message(status));
  for (const auto& [order, sockets] : open.orders) outcome_.orders[order].namespaces.insert(number);
}

EndPass::Outcome EndPass::Run() {
  const auto give_up = std::chrono::steady_clock::now() + kUnderWayLimit;
  for (int round = 0;; ++round) {
    const auto found = Find();
    if (!found.ok()) {
      outcome_.failures.push_back(Message(found.status()));
      return outcome_;
    }
    std::set<uint64_t> elsewhere;
    bool work = false;
    for (const auto& [number, open] : found->namespaces) {
      if (failed_.contains(number)) continue;
      work = true;
      if (number != own_number_) elsewhere.insert(number);
    }
    const bool wait = found->under_way && std::chrono::steady_clock::now() < give_up;
    if ((!work && !wait) || (work && round >= kRounds)) {
      for (const auto& [number, open] : found->namespaces)
        for (const auto& [order, sockets] : open.orders) outcome_.orders[order].left += sockets;
      for (const auto& [order, sockets] : found->multipath) {
        outcome_.orders[order].left += sockets;
        outcome_.orders[order].multipath = sockets;
      }
      return outcome_;
    }
    if (!work) {
      std::this_thread::sleep_for(kUnderWayPause);
      continue;
    }
    NamespaceSearch search;
    if (!elsewhere.empty()) search = FindNamespaces(elsewhere);
    for (const auto& [number, open] : found->namespaces) EndIn(number, open, search.found);
    if (round == 0) continue;
    // Seen twice and still not found: nobody that can be looked at is in it.
    for (const uint64_t number : elsewhere) {
      if (search.found.contains(number)) continue;
      Fail(number, search.unreadable > 0
                       ? fmt::format("not found; {} processes cannot be looked at without CAP_SYS_PTRACE",
                                     search.unreadable)
                       : "not found in /proc (hostPID), /run/netns or /run/docker/netns");
    }
  }
}

}  // namespace weir::datapath
