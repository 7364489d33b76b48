// The agent as its controller sees it: from an update sent to its ack received. The bench plays the
// controller.
#include <fmt/format.h>

#include <chrono>

#include "tests/bench/control_sections.h"
#include "tests/bench/memory.h"
#include "tests/bench/played_controller.h"
#include "tests/bench/program.h"
#include "tests/bench/stats.h"
#include "tests/kernel/harness/sandbox.h"

namespace weir::bench {
namespace {

double Milliseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace

void BenchAgent(const ControlSettings& settings) {
  std::vector<double> syncs;
  std::vector<double> changes;
  double agent_mib = 0, anonymous_mib = 0, maps_mib = 0, mapped_mib = 0;
  const std::vector<v1::ControllerMessage> snapshot = Snapshot(1, 10000, 10);
  const int repetitions = settings.quick ? 2 : 7;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    PlayedController controller;
    const kernel_test::Cgroup cgroup(fmt::format("agent-{}", repetition));
    const Program agent({SiblingProgram("weir-agent"), "--node-name", "bench", "--cgroup", cgroup.path(),
                         "--bpffs", fmt::format("{}/agent-{}", kernel_test::TheSandbox().bpffs, repetition),
                         "--controller", controller.address(), "--http", "127.0.0.1:0", "--log-level",
                         "error"});
    controller.Welcome();

    auto begin = std::chrono::steady_clock::now();
    for (const auto& part : snapshot) controller.Send(part);
    controller.AwaitAck(1);
    syncs.push_back(Milliseconds(std::chrono::steady_clock::now() - begin));
    const Memory memory = MemoryOf(agent.pid());
    agent_mib = static_cast<double>(memory.resident) / 1048576;
    anonymous_mib = static_cast<double>(memory.anonymous) / 1048576;
    maps_mib = static_cast<double>(MapBytes(agent.pid())) / 1048576;
    mapped_mib = static_cast<double>(MappedMapBytes(agent.pid())) / 1048576;

    for (int i = 0; i < settings.changes() / repetitions; ++i) {
      v1::ControllerMessage message;
      v1::Update& update = *message.mutable_update();
      update.set_generation(static_cast<uint64_t>(i) + 2);
      update.set_base_generation(static_cast<uint64_t>(i) + 1);
      update.set_last(true);
      FillFrontend(0, i % 2 == 0 ? 50 : 20, 10, update.add_upserts());
      begin = std::chrono::steady_clock::now();
      controller.Send(message);
      controller.AwaitAck(update.generation());
      changes.push_back(1000 * Milliseconds(std::chrono::steady_clock::now() - begin));
    }
  }
  const Spread spread = SpreadOf(syncs);
  PrintHeading(
      "weir-agent over gRPC",
      "10,000 services with 100,000 endpoints in one snapshot, then changes of one weight: from sent by the "
      "controller (which the bench plays) to ack received, both ways over loopback included.");
  PrintTable({"what", "times", "p50", "p99", "greatest"},
             {{"first full sync, ms", std::to_string(syncs.size()), Number(spread.median, 0),
               Number(Percentile(syncs, 99), 0), Number(Percentile(syncs, 100), 0)},
              {"change of one weight, us", std::to_string(changes.size()), Number(Percentile(changes, 50), 0),
               Number(Percentile(changes, 99), 0), Number(Percentile(changes, 100), 0)}});
  PrintTable({"memory of weir-agent, 10,000 services", "MiB"},
             {{"VmRSS", Number(agent_mib, 1)},
              {"of it RssAnon", Number(anonymous_mib, 1)},
              {"BPF maps (memlock)", Number(maps_mib, 1)},
              {"of them mapped, and so in VmRSS too", Number(mapped_mib, 1)},
              {"VmRSS and maps, each page once", Number(agent_mib + maps_mib - mapped_mib, 1)}});
  BenchAgentAtRest(settings);
}

}  // namespace weir::bench
