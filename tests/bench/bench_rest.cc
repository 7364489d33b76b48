// What an agent costs its node while nothing changes: memory, CPU by itself, CPU of a scrape.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "common/address.h"
#include "common/fd.h"
#include "tests/bench/control_sections.h"
#include "tests/bench/memory.h"
#include "tests/bench/played_controller.h"
#include "tests/bench/program.h"
#include "tests/bench/scenario.h"
#include "tests/bench/stats.h"
#include "tests/bench/worker.h"
#include "tests/kernel/harness/sandbox.h"

namespace weir::bench {
namespace {

constexpr uint32_t kServices = 10000;
constexpr uint32_t kPerService = 10;
constexpr uint32_t kConnections = 10000;
constexpr double kScrapeEverySeconds = 15;

/// Many connections, in a process of its own: forked before gRPC has threads, as a cgroup is a process's.
/// Nobody accepts them: the listeners' backlogs hold the other ends, which so need no descriptors.
class Crowd {
 public:
  Crowd() : child_(SOCK_SEQPACKET, Serve) {}

  /// Opens `count` connections from within the cgroup, each to another service's virtual address; they stay
  /// open while the object lives.
  void Open(const std::string& cgroup, uint32_t count) {
    const std::string order = fmt::format("{} {}", count, cgroup);
    char done = 0;
    if (send(child_.socket(), order.data(), order.size(), MSG_NOSIGNAL) < 0 ||
        recv(child_.socket(), &done, 1, 0) != 1)
      Die("the process that holds the connections died");
  }

 private:
  static UniqueFd Listen(uint16_t port) {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        listen(fd.get(), kConnections) != 0)
      Die("listen on port " + std::to_string(port));
    return fd;
  }

  static UniqueFd Dial(uint32_t service) {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(kVipPort);
    address.sin_addr.s_addr = htonl(Vip(service).address);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) Die("connect");
    return fd;
  }

  [[noreturn]] static void Serve(int orders) {
    char order[4096] = {};
    if (recv(orders, order, sizeof order - 1, 0) <= 0) std::_Exit(0);
    char* rest = nullptr;
    const auto count = static_cast<uint32_t>(std::strtoul(order, &rest, 10));
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0) Die("raise the limit of open files");
    if (auto status = kernel_test::JoinCgroup(rest + 1); !status.ok()) Die(Message(status));
    const UniqueFd stable = Listen(kStablePort), canary = Listen(kCanaryPort);
    std::vector<UniqueFd> held;
    for (uint32_t i = 0; i < count; ++i) held.push_back(Dial(i % kServices));
    char byte = 'w';
    send(orders, &byte, 1, MSG_NOSIGNAL);
    recv(orders, &byte, 1, 0);  // until the bench hangs up
    std::_Exit(0);
  }

  Child child_;
};

/// Seconds of CPU of all threads (schedstat; stat counts in ticks).
double CpuSeconds(const std::string& pid) {
  double seconds = 0;
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + pid + "/task", error)) {
    std::ifstream file(task.path() / "schedstat");
    if (double ns = 0; file >> ns) seconds += ns / 1e9;
  }
  if (seconds == 0) Die("read the schedstat of process " + pid);
  return seconds;
}

/// One request; the bytes of the answer.
size_t Get(const std::string& address, const std::string& path) {
  const auto where = ParseHostPort("--http", address);
  if (!where.ok()) Die("the agent's address " + address);
  const UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(where->port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const std::string request =
      "GET " + path +
      " HTTP/1.1\r\nHost: agent\r\nAccept: application/openmetrics-text;version=1.0.0\r\n"
      "Connection: close\r\n\r\n";
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0 ||
      send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
    Die("scrape the agent");
  std::string buffer(1 << 16, '\0'), end;
  size_t bytes = 0;
  for (ssize_t got; (got = recv(fd.get(), buffer.data(), buffer.size(), 0)) > 0;) {
    bytes += static_cast<size_t>(got);
    end.append(buffer, 0, static_cast<size_t>(got));
    end.erase(0, end.size() - std::min<size_t>(end.size(), 8));
  }
  if (path == "/metrics" && !end.ends_with("# EOF\n")) Die("a scrape was cut off");
  return bytes;
}

std::vector<std::string> Observe(const std::string& name, const Program& agent, bool quick) {
  // What the change before set off is over with the first answer: both are the same thread's.
  Get(agent.Address("http"), "/healthz");
  const auto span = std::chrono::seconds(quick ? 4 : 30);
  double before = CpuSeconds(agent.pid());
  std::this_thread::sleep_for(span);  // the measured time itself
  const double by_itself = (CpuSeconds(agent.pid()) - before) / std::chrono::duration<double>(span).count();
  const Memory unscraped = MemoryOf(agent.pid());
  std::vector<double> scrapes;
  size_t bytes = 0;
  for (int i = 0; i < (quick ? 3 : 11); ++i) {
    before = CpuSeconds(agent.pid());
    bytes = Get(agent.Address("http"), "/metrics");
    scrapes.push_back(CpuSeconds(agent.pid()) - before);
  }
  const Memory memory = MemoryOf(agent.pid());
  const auto mib = [](auto count) { return Number(static_cast<double>(count) / 1048576, 1); };
  return {name,
          mib(unscraped.resident),
          mib(unscraped.anonymous),
          mib(memory.resident),
          mib(MapBytes(agent.pid())),
          Number(100 * by_itself, 2),
          mib(bytes),
          Number(1000 * Median(scrapes), 1),
          Number(100 * (by_itself + Median(scrapes) / kScrapeEverySeconds), 2)};
}

}  // namespace

void BenchAgentAtRest(const ControlSettings& settings) {
  kernel_test::WriteFile("/proc/sys/net/core/somaxconn", std::to_string(kConnections));
  Crowd crowd;
  PlayedController controller;
  const kernel_test::Cgroup cgroup("agent-at-rest");
  const Program agent({SiblingProgram("weir-agent"), "--node-name", "bench", "--cgroup", cgroup.path(),
                       "--bpffs", kernel_test::TheSandbox().bpffs + "/agent-at-rest", "--controller",
                       controller.address(), "--http", "127.0.0.1:0", "--log-level", "error"});
  controller.Welcome();
  std::vector<std::vector<std::string>> rows;
  rows.push_back(Observe("no service", agent, settings.quick));
  for (const auto& part : Snapshot(1, kServices, kPerService, std::nullopt)) controller.Send(part);
  controller.AwaitAck(1);
  rows.push_back(Observe("10,000 services at rest", agent, settings.quick));
  for (const auto& part : Snapshot(2, kServices, kPerService)) controller.Send(part);
  controller.AwaitAck(2);
  rows.push_back(Observe("10,000 services, each with a canary", agent, settings.quick));
  crowd.Open(cgroup.path(), kConnections);
  rows.push_back(Observe("and 10,000 connections open", agent, settings.quick));
  PrintHeading(
      "weir-agent at rest",
      "With a canary a split is at work: its figures are read and reported each second. CPU in percent "
      "of one processor.");
  PrintTable({"agent with", "VmRSS MiB", "of it RssAnon", "VmRSS after scrapes", "maps", "CPU %",
              "scrape MiB", "CPU ms a scrape", "CPU % with a scrape each 15 s"},
             rows);
}

}  // namespace weir::bench
