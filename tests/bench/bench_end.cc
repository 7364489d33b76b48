// Ending 10,000 open connections: from the order to the pass that finds none left.
#include <fmt/format.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <chrono>
#include <future>

#include "agent/datapath/kernel_ending.h"
#include "tests/bench/node.h"
#include "tests/bench/scenario.h"
#include "tests/bench/settings.h"
#include "tests/bench/stats.h"
#include "tests/bench/worker.h"

namespace weir::bench {
namespace {

constexpr uint32_t kConnections = 10000;  // to be ended, and as many that are not

sockaddr_in ToSockAddr(const Ipv4Port& where) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(where.port);
  address.sin_addr.s_addr = htonl(where.address);
  return address;
}

/// A process in the node and a network namespace of its own that holds connections to services 0 and 1 open,
/// as many to each; the servers do not accept, so only clients need descriptors.
class Holder {
 public:
  Holder(const std::string& cgroup, const kernel_test::NetNamespace& netns, uint32_t each)
      : child_(SOCK_SEQPACKET, [&](int bench) { Hold(bench, cgroup, netns.fd(), each); }) {}

  void AwaitOpen() const {
    char byte = 0;
    if (recv(child_.socket(), &byte, 1, 0) != 1) Die("the process that holds the connections died");
  }

 private:
  static UniqueFd Listen(uint32_t service) {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = ToSockAddr(Endpoint(service, 0));
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        listen(fd.get(), kConnections) != 0)
      Die("listen");
    return fd;
  }

  [[noreturn]] static void Hold(int bench, const std::string& cgroup, int netns, uint32_t each) {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0) Die("raise the limit of open files");
    if (const auto status = kernel_test::JoinCgroup(cgroup); !status.ok()) Die(Message(status));
    if (setns(netns, CLONE_NEWNET) != 0) Die("setns");
    kernel_test::WriteFile("/proc/sys/net/core/somaxconn", std::to_string(kConnections));
    const UniqueFd first = Listen(0), second = Listen(1);
    std::vector<UniqueFd> held;
    for (uint32_t i = 0; i < 2 * each; ++i) {
      held.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const sockaddr_in address = ToSockAddr(Vip(i % 2));
      if (connect(held.back().get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        Die("connect");
    }
    char byte = 'o';
    send(bench, &byte, 1, MSG_NOSIGNAL);
    recv(bench, &byte, 1, 0);  // until the bench hangs up
    std::_Exit(0);
  }

  Child child_;
};

struct Times {
  std::vector<double> end, idle;
};

/// One round: all connections of service 0 end, spread over `namespaces`, and then a pass that finds nothing.
void Round(Node& node, datapath::KernelEnding& ending, uint32_t namespaces, int round, Times& times) {
  std::vector<std::unique_ptr<kernel_test::NetNamespace>> spaces;
  std::vector<std::unique_ptr<Holder>> holders;
  const uint32_t each = kConnections / namespaces;
  for (uint32_t i = 0; i < namespaces; ++i) {
    spaces.push_back(std::make_unique<kernel_test::NetNamespace>());
    holders.push_back(std::make_unique<Holder>(node.cgroup(), *spaces.back(), each));
  }
  for (const auto& holder : holders) holder->AwaitOpen();
  const std::string name = fmt::format("{}-{}", namespaces, round);
  const auto sweep = [&](std::vector<double>& into) {
    const auto begin = std::chrono::steady_clock::now();
    const std::vector<datapath::EndTarget> targets{
        {.frontend = {.address = ToSocketAddress(Vip(0)), .protocol = Protocol::kTcp}, .revision = "v0"}};
    if (const auto status = ending.Order(name, targets); !status.ok()) Die(Message(status));
    std::promise<datapath::Swept> done;
    ending.Sweep([&done](datapath::Swept swept) { done.set_value(std::move(swept)); });
    const datapath::Swept swept = done.get_future().get();
    into.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
    if (!swept.failures.empty()) Die(swept.failures[0]);
  };
  sweep(times.end);
  sweep(times.idle);
  const auto counts = ending.Count(name);
  if (!counts.ok() || counts->tcp != uint64_t{each} * namespaces)
    Die(fmt::format("ended {} of {}", counts.ok() ? counts->tcp : 0, each * namespaces));
  if (const auto status = ending.Void(name); !status.ok()) Die(Message(status));
}

}  // namespace

void BenchEnd(const Settings& settings) {
  std::vector<std::vector<std::string>> rows;
  for (const uint32_t namespaces : {2U, 50U}) {  // in one, 20,000 descriptors would not do
    Node node(fmt::format("end-{}", namespaces));
    node.Apply(MakeChange(1, 2, {1, 0}, kEndpointsPerService));
    auto ending = datapath::KernelEnding::Open(node.datapath().maps(),
                                               {.bpffs_dir = node.bpffs(), .on_thread_start = nullptr});
    if (!ending.ok()) Die(Message(ending.status()));
    Times times;
    for (int round = 0; round < (settings.quick ? 3 : 11); ++round)
      Round(node, **ending, namespaces, round, times);
    const Spread end = SpreadOf(times.end), idle = SpreadOf(times.idle);
    rows.push_back({fmt::format("{} namespaces", namespaces), std::to_string(times.end.size()),
                    Number(end.median, 1), Range(end, 1), Number(idle.median, 1), Range(idle, 1)});
  }
  PrintHeading(
      "Ending open connections, ms",
      "10,000 open connections of one revision beside 10,000 of another service: from the order to the pass "
      "that finds none left; then a pass with nothing to end.");
  PrintTable({"where", "rounds", "median", "p10 - p90", "nothing to end", "p10 - p90"}, rows);
}

}  // namespace weir::bench
