// Blue-green: the flip of two nodes, and the way back, while clients of both connect without a pause.
#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <memory>

#include "tests/bench/api_client.h"
#include "tests/bench/control_sections.h"
#include "tests/bench/program.h"
#include "tests/bench/scenario.h"
#include "tests/bench/stats.h"
#include "tests/bench/worker.h"
#include "tests/kernel/harness/load.h"
#include "tests/kernel/harness/sandbox.h"
#include "tests/kernel/harness/servers.h"

namespace weir::bench {
namespace {

constexpr uint32_t kNodes = 2;
constexpr uint32_t kPerService = 2;  // endpoint 0 is v2's, 1 is v1's
constexpr char kV1 = 1, kV2 = 2;     // what the servers answer
constexpr uint32_t kCheckedAfter = 20;

std::string BlueGreenYaml(const std::string& revision) {
  return fmt::format(
      "apiVersion: weir.dev/v1alpha1\nkind: Rollout\nmetadata: {{name: service-0, namespace: bench}}\nspec:\n"
      "  revision: {}\n  strategy:\n    blueGreen: {{activeService: service-0, autoPromotionEnabled: false, "
      "scaleDownDelaySeconds: 3600}}\n",
      revision);
}

void Require(const Status& status) {
  errno = 0;
  if (!status.ok()) Die(std::string(Message(status)));
}

/// Milliseconds from the command until a watcher of the rollout sees that both nodes hold its outcome. From
/// then on the clients' connections are held to `allowed`.
double Flip(ApiClient& api, kernel_test::Load& load, ApiClient::Verb verb, const std::string& active,
            char allowed) {
  load.BeginChange();
  const auto begin = std::chrono::steady_clock::now();
  const uint64_t generation = api.Command(verb).generation();
  const v1::Rollout done = api.WaitFor([&](const v1::Rollout& rollout) {
    return rollout.generation() >= generation && rollout.active_revision() == active &&
           rollout.nodes_desired() == kNodes && rollout.nodes_acked() == kNodes &&
           (verb == ApiClient::Verb::kAbort || rollout.stable_revision() == active);
  });
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  if (done.generation() != generation) Die("a flip took more than one generation");
  load.EndChange(std::string(1, allowed));
  Require(load.WaitChecked(kCheckedAfter));
  return took.count();
}

std::vector<std::string> Row(const std::string& what, const std::vector<double>& took_ms) {
  return {what, std::to_string(took_ms.size()), Number(Percentile(took_ms, 50), 1),
          Number(Percentile(took_ms, 99), 1), Number(Percentile(took_ms, 100), 1)};
}

}  // namespace

void BenchFlip(const ControlSettings& settings) {
  kernel_test::Servers servers;
  servers.AddTcp(ToSocketAddress(Endpoint(0, 0, kPerService)), kV2);
  servers.AddTcp(ToSocketAddress(Endpoint(0, 1, kPerService)), kV1);
  const Program controller({SiblingProgram("weir-controller"), "--listen", "127.0.0.1:0", "--http",
                            "127.0.0.1:0", "--state", settings.directory + "/flip", "--log-level", "error"});
  ApiClient api(controller.Address("grpc"));
  std::vector<std::unique_ptr<kernel_test::Cgroup>> cgroups;
  std::vector<std::unique_ptr<Program>> agents;
  std::vector<std::string> nodes;
  for (uint32_t i = 0; i < kNodes; ++i) {
    cgroups.push_back(std::make_unique<kernel_test::Cgroup>(fmt::format("flip-{}", i)));
    nodes.push_back(cgroups.back()->path());
    agents.push_back(std::make_unique<Program>(std::vector<std::string>{
        SiblingProgram("weir-agent"), "--node-name", fmt::format("node-{}", i), "--cgroup", nodes.back(),
        "--bpffs", fmt::format("{}/flip-{}", kernel_test::TheSandbox().bpffs, i), "--controller",
        controller.Address("grpc"), "--http", "127.0.0.1:0", "--log-level", "error"}));
  }
  api.Apply(ServicesYaml(0, 1, kPerService));
  api.Apply(BlueGreenYaml("v1"));
  api.Watch();
  const auto paused = [](const v1::Rollout& rollout) {
    return rollout.phase() == "Paused" && rollout.nodes_desired() == kNodes &&
           rollout.nodes_acked() == kNodes;
  };
  api.WaitFor([&](const v1::Rollout& rollout) {
    return rollout.phase() == "Healthy" && rollout.nodes_desired() == kNodes &&
           rollout.nodes_acked() == kNodes;
  });
  api.Apply(BlueGreenYaml("v2"));
  api.WaitFor(paused);

  kernel_test::Load load(nodes, ToSocketAddress(Vip(0)), 1);
  load.BeginChange();
  load.EndChange(std::string(1, kV1));
  Require(load.WaitChecked(kCheckedAfter));
  std::vector<double> there, back;
  for (int i = 0; i < settings.flips(); ++i) {
    there.push_back(Flip(api, load, ApiClient::Verb::kPromote, "v2", kV2));
    back.push_back(Flip(api, load, ApiClient::Verb::kAbort, "v1", kV1));
    api.Command(ApiClient::Verb::kRetry);
    api.WaitFor(paused);
  }
  Require(load.Stop());
  PrintHeading(
      "Blue-green flip, ms",
      fmt::format(
          "From the call of Promote, or of Abort while the old revision is kept, until a watcher of the "
          "rollout sees both nodes hold it: one generation each. Two agents, a client on each node that "
          "connects "
          "without a pause: {} connections, none failed, and none to the other revision from the "
          "acknowledgement on.",
          load.state().connections.load()));
  PrintTable({"", "times", "p50", "p99", "greatest"}, {Row("flip", there), Row("way back", back)});
}

}  // namespace weir::bench
