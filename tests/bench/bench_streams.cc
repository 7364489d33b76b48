// setWeight to the last acknowledgement: the real controller, real gRPC, agents without a kernel.
#include <fmt/format.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <mutex>

#include "tests/bench/api_client.h"
#include "tests/bench/control_sections.h"
#include "tests/bench/memory.h"
#include "tests/bench/program.h"
#include "tests/bench/stats.h"
#include "tests/bench/worker.h"
#include "tests/integration/sim_agent.h"

namespace weir::bench {
namespace {

constexpr uint32_t kStreamsPerChannel = 50;

double Milliseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

/// Counts acks of the newest generation.
class AckCounter {
 public:
  void Count(uint64_t generation) {
    const std::scoped_lock lock(mutex_);
    if (generation > newest_) {
      newest_ = generation;
      count_ = 0;
    }
    if (generation == newest_ && ++count_ == wanted_) {
      complete_ = std::chrono::steady_clock::now();
      changed_.notify_all();
    }
  }
  void Expect(uint32_t wanted) {
    const std::scoped_lock lock(mutex_);
    wanted_ = wanted;
  }
  /// When the last of the agents acked `generation`.
  std::chrono::steady_clock::time_point WaitFor(uint64_t generation) {
    std::unique_lock lock(mutex_);
    errno = 0;
    if (!changed_.wait_for(lock, std::chrono::minutes(1),
                           [&] { return newest_ >= generation && count_ >= wanted_; }))
      Die(fmt::format("{} of {} agents acked generation {} within a minute", count_, wanted_, generation));
    return complete_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t newest_ = 0;
  uint32_t count_ = 0, wanted_ = ~0U;
  std::chrono::steady_clock::time_point complete_;
};

struct Delays {
  std::vector<double> acked_ms, known_ms;
};

Delays Flip(ApiClient& api, AckCounter& acks, uint32_t agents, int times) {
  Delays delays;
  for (int i = 0; i < times; ++i) {
    const uint32_t weight = i % 2 == 0 ? 50 : 20;
    const auto begin = std::chrono::steady_clock::now();
    const uint64_t generation = api.SetWeight(weight).generation();
    delays.acked_ms.push_back(Milliseconds(acks.WaitFor(generation) - begin));
    api.WaitFor([&](const v1::Rollout& rollout) {
      return rollout.generation() >= generation && rollout.nodes_desired() == agents &&
             rollout.nodes_acked() == agents;
    });
    delays.known_ms.push_back(Milliseconds(std::chrono::steady_clock::now() - begin));
  }
  return delays;
}

}  // namespace

void BenchStreams(const ControlSettings& settings) {
  std::vector<std::vector<std::string>> rows;
  for (const uint32_t agents : settings.agents()) {
    const std::string state = settings.directory + fmt::format("/streams-{}", agents);
    const Program controller({SiblingProgram("weir-controller"), "--listen", "127.0.0.1:0", "--http",
                              "127.0.0.1:0", "--state", state, "--log-level", "error"});
    AckCounter acks;
    std::deque<testing::SimAgent> simulated;
    std::shared_ptr<grpc::Channel> channel;
    for (uint32_t i = 0; i < agents; ++i) {
      if (i % kStreamsPerChannel == 0) {
        grpc::ChannelArguments arguments;
        arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
        channel = grpc::CreateCustomChannel(controller.Address("grpc"), grpc::InsecureChannelCredentials(),
                                            arguments);
      }
      testing::SimAgent::Options options;
      options.node_name = fmt::format("node-{}", i);
      options.channel = channel;
      options.keep_content = false;
      options.on_ack = [&acks](uint64_t generation) { acks.Count(generation); };
      simulated.emplace_back(std::move(options)).Start();
    }
    for (auto& agent : simulated) {
      errno = 0;
      if (!agent.WaitFor([](const auto& view) { return view.connected; }, std::chrono::minutes(1)))
        Die("an agent was not welcomed within a minute");
    }
    ApiClient api(controller.Address("grpc"));
    api.Apply(ServicesYaml(0, 1, 5));
    api.Apply(RolloutYaml("v1"));
    acks.Expect(agents);
    api.Watch();
    const auto all_acked = [&](const v1::Rollout& rollout) { return rollout.nodes_acked() == agents; };
    api.WaitFor(
        [&](const v1::Rollout& rollout) { return rollout.stable_revision() == "v1" && all_acked(rollout); });
    api.Apply(RolloutYaml("v2"));
    api.WaitFor([&](const v1::Rollout& rollout) {
      return rollout.canary_weight() == 20 && rollout.phase() == "Paused" && all_acked(rollout);
    });
    Flip(api, acks, agents, 3);  // warm-up
    const Delays delays = Flip(api, acks, agents, settings.flips());
    const Memory memory = MemoryOf(controller.pid());
    rows.push_back({std::to_string(agents), std::to_string(delays.acked_ms.size()),
                    Number(Percentile(delays.acked_ms, 50), 1), Number(Percentile(delays.acked_ms, 99), 1),
                    Number(Percentile(delays.acked_ms, 100), 1), Number(Percentile(delays.known_ms, 50), 1),
                    Number(Percentile(delays.known_ms, 99), 1), Number(Percentile(delays.known_ms, 100), 1),
                    Number(static_cast<double>(memory.resident) / 1048576, 0)});
    for (auto& agent : simulated) agent.Stop();
  }
  PrintHeading("setWeight to all acked, ms",
               "From the call of SetWeight until the last agent has sent its ack, and until a watcher of the "
               "rollout sees "
               "every node acked. The agents share the two cores with the controller.");
  PrintTable({"agents", "times", "last ack p50", "p99", "greatest", "known p50", "p99", "greatest",
              "controller MiB"},
             rows);
}

}  // namespace weir::bench
