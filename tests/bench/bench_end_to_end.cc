// weir-controller with 10,000 services and one weir-agent that starts from nothing.
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <thread>

#include "tests/bench/api_client.h"
#include "tests/bench/control_sections.h"
#include "tests/bench/memory.h"
#include "tests/bench/program.h"
#include "tests/bench/stats.h"
#include "tests/bench/worker.h"
#include "tests/kernel/harness/sandbox.h"

namespace weir::bench {
namespace {

constexpr uint32_t kServices = 10000;
constexpr uint32_t kPerService = 10;
constexpr uint32_t kServicesPerApply = 1000;

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

}  // namespace

void BenchEndToEnd(const ControlSettings& settings) {
  const Program controller({SiblingProgram("weir-controller"), "--listen", "127.0.0.1:0", "--http",
                            "127.0.0.1:0", "--state", settings.directory + "/end-to-end", "--log-level",
                            "error"});
  ApiClient api(controller.Address("grpc"));
  auto begin = std::chrono::steady_clock::now();
  for (uint32_t first = 0; first < kServices; first += kServicesPerApply)
    api.Apply(ServicesYaml(first, first + kServicesPerApply, kPerService));
  const double apply_s = Seconds(begin);
  api.Apply(RolloutYaml("v1"));
  api.Watch();
  const Memory empty = MemoryOf(controller.pid());

  std::vector<double> syncs;
  for (int repetition = 0; repetition < (settings.quick ? 1 : 3); ++repetition) {
    const kernel_test::Cgroup cgroup(fmt::format("end-to-end-{}", repetition));
    begin = std::chrono::steady_clock::now();
    const Program agent({SiblingProgram("weir-agent"), "--node-name", fmt::format("node-{}", repetition),
                         "--cgroup", cgroup.path(), "--bpffs",
                         fmt::format("{}/end-to-end-{}", kernel_test::TheSandbox().bpffs, repetition),
                         "--controller", controller.Address("grpc"), "--http", "127.0.0.1:0", "--log-level",
                         "error"});
    while (api.NodesUpToDate() == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));  // the API has no event
    syncs.push_back(Seconds(begin));
  }
  const Memory memory = MemoryOf(controller.pid());
  PrintHeading(
      "Controller with 10,000 services, 100,000 endpoints",
      "weirctl's Apply of all manifests in ten calls; then a weir-agent is started on an empty node: from "
      "its "
      "start as a process (loading and attaching its programs included) until the controller has its ack.");
  PrintTable({"what", "value"}, {{"Apply of 10,000 services, s", Number(apply_s)},
                                 {"agent's start to first ack, s, median of " + std::to_string(syncs.size()),
                                  Number(Median(syncs))},
                                 {"VmRSS of weir-controller after Apply, MiB",
                                  Number(static_cast<double>(empty.resident) / 1048576, 0)},
                                 {"VmRSS of weir-controller with an agent, MiB",
                                  Number(static_cast<double>(memory.resident) / 1048576, 0)}});
}

}  // namespace weir::bench
