// How far from 20/80 the canary's share is, counted at the servers.
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <memory>

#include "tests/bench/node.h"
#include "tests/bench/rivals.h"
#include "tests/bench/scenario.h"
#include "tests/bench/settings.h"
#include "tests/bench/stats.h"
#include "tests/bench/worker.h"

namespace weir::bench {
namespace {

/// Who got each connection, in order.
std::vector<uint32_t> Dial(Worker& worker, uint32_t connections) {
  std::vector<uint32_t> canary;
  for (const Sample& sample : worker.Run({.kind = Order::Kind::kTcp, .count = connections}))
    canary.push_back(sample.canary);
  return canary;
}

/// |canary's connections - a fifth of the window| over successive windows.
std::vector<double> Deviations(const std::vector<uint32_t>& canary, size_t window) {
  std::vector<double> deviations;
  for (size_t begin = 0; begin + window <= canary.size(); begin += window) {
    uint32_t count = 0;
    for (size_t i = begin; i < begin + window; ++i) count += canary[i];
    deviations.push_back(std::abs(count - static_cast<double>(window) / 5));
  }
  return deviations;
}

}  // namespace

void BenchDeviation(const Settings& settings) {
  std::string directory =
      fmt::format("{}/weir-bench-XXXXXX", std::filesystem::temp_directory_path().string());
  if (mkdtemp(directory.data()) == nullptr) Die("mkdtemp " + directory);
  std::deque<kernel_test::NetNamespace> namespaces(4);
  Node node("deviation");
  node.Apply(MakeChange(1, 1, {20, 80}, kEndpointsPerService));
  LoadIptables(1, namespaces[1].fd(), directory);
  LoadNftables(1, namespaces[2].fd(), directory);
  const Haproxy haproxy(1, namespaces[3].fd(), directory);
  std::filesystem::remove_all(directory);
  std::deque<Worker> workers;
  workers.emplace_back("Weir 20/80", namespaces[0].fd(), node.cgroup(), 1);
  workers.emplace_back("kube-proxy iptables", namespaces[1].fd(), "", 1);
  workers.emplace_back("kube-proxy nftables", namespaces[2].fd(), "", 1);
  workers.emplace_back("HAProxy TCP", namespaces[3].fd(), "", 1);

  PrintHeading("Deviation from 20/80",
               "Connections to the canary more or fewer than a fifth of them, counted at the servers, one "
               "client; median "
               "and greatest over that many windows; the last column is the greatest in points of per cent.");
  std::vector<std::vector<std::string>> rows;
  for (Worker& worker : workers) {
    const bool slow = &worker == &workers.back();
    const std::vector<uint32_t> canary = Dial(worker, settings.quick || slow ? 20000 : 100000);
    for (const size_t window : {10, 100, 1000, 10000}) {
      const std::vector<double> deviations = Deviations(canary, window);
      const double greatest = Percentile(deviations, 100);
      rows.push_back({worker.name(), std::to_string(window), std::to_string(deviations.size()),
                      Number(Median(deviations), 1), Number(greatest, 1),
                      Number(100 * greatest / static_cast<double>(window))});
    }
  }
  PrintTable({"system", "connections", "windows", "median", "greatest", "points"}, rows);
}

}  // namespace weir::bench
