// A change of weight in one agent: from received to in force for every later connect().
#include <fmt/format.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <deque>

#include "tests/bench/node.h"
#include "tests/bench/scenario.h"
#include "tests/bench/settings.h"
#include "tests/bench/stats.h"
#include "tests/bench/worker.h"

namespace weir::bench {
namespace {

template <typename Function>
double TimeUs(const Function& function) {
  const auto begin = std::chrono::steady_clock::now();
  function();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

struct Times {
  std::vector<double> apply, membarrier;
};

/// Weight of the canary of service 0 to and fro; after every `every`-th, the kernel's own grace period.
Times Flip(Node& node, uint64_t& generation, uint32_t changes, uint32_t every) {
  Times times;
  for (uint32_t i = 0; i < changes; ++i) {
    datapath::Change change;
    change.generation = ++generation;
    change.controller_id = node.datapath().ControllerId();
    const uint32_t weight = 20 + i % 2 * 30;
    change.upserts.push_back(MakeFrontend(0, {weight, 100 - weight}, kEndpointsPerService, Protocol::kTcp));
    times.apply.push_back(TimeUs([&] { node.Apply(change); }));
    if (i % every != 0) continue;
    times.membarrier.push_back(TimeUs([] {
      if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0) Die("membarrier");
    }));
  }
  return times;
}

std::vector<std::string> Row(const std::string& what, const std::vector<double>& times) {
  return {what, std::to_string(times.size()), Number(Percentile(times, 50), 1),
          Number(Percentile(times, 99), 1), Number(Percentile(times, 100), 1)};
}

}  // namespace

void BenchChange(const Settings& settings) {
  std::vector<std::vector<std::string>> rows;
  const uint32_t changes = settings.quick ? 500 : 2000;
  for (const uint32_t services : {1U, 10000U}) {
    Node node(fmt::format("change-{}", services));
    uint64_t generation = 1;
    node.Apply(MakeChange(generation, services, {20, 80}, kEndpointsPerService));
    std::deque<kernel_test::NetNamespace> namespaces(2);
    for (int load = 0; load <= 2; ++load) {
      std::deque<Worker> workers;
      for (int i = 0; i < load; ++i) {
        workers.emplace_back(fmt::format("load-{}", i), namespaces[static_cast<size_t>(i)].fd(),
                             node.cgroup(), 1 - i);
      }
      for (Worker& worker : workers) worker.Start({.kind = Order::Kind::kLoad});
      const Times times = Flip(node, generation, changes, changes / 100);
      uint64_t connections = 0;
      for (Worker& worker : workers) {
        const LoadReport report = worker.Stop();
        connections += report.connections;
        if (report.failed > 0)
          Die(fmt::format("{} connections failed under changes of weight", report.failed));
      }
      const std::string where =
          load == 0 ? "idle" : fmt::format("{} CPU{} busy with connect()", load, load == 1 ? "" : "s");
      rows.push_back(Row(fmt::format("change, {} service{}, {}", services, services == 1 ? "" : "s", where),
                         times.apply));
      if (services == 1) rows.push_back(Row("MEMBARRIER_CMD_GLOBAL alone, " + where, times.membarrier));
    }
  }
  PrintHeading(
      "Change of one weight in one agent, us",
      "Datapath::Apply: staged, flipped, and waited until no connect() can still use what was before. No "
      "connection failed meanwhile. The kernel's own grace period was measured between the changes.");
  PrintTable({"what", "times", "p50", "p99", "greatest"}, rows);
}

}  // namespace weir::bench
