// kill -9 of the controller at 100 moments of a rollout: it ends as it would have, and no agent is ever told
// a weight that the steps do not allow at that time.
#include <atomic>
#include <mutex>
#include <random>

#include "tests/integration/controller/controller_fixture.h"

namespace weir::testing {
namespace {

// The weights the canary may have, in this order; a restart may repeat one, never skip ahead or go back.
class AllowedWeights {
 public:
  AllowedWeights(std::string stable, std::string canary)
      : stable_(std::move(stable)), canary_(std::move(canary)) {}

  void See(const Weights& weights) {
    std::lock_guard lock(mutex_);
    uint32_t canary = weights.contains(canary_) ? weights.at(canary_) : 0;
    uint32_t sum = 0;
    for (const auto& [revision, weight] : weights) sum += weight;
    if (sum == 0) return;  // nothing published yet
    uint32_t share = canary * 100 / sum;
    if (share == 0 && place_ == 0) return;
    static const std::vector<uint32_t> kSteps = {0, 20, 50, 100};
    if (share == kSteps[place_]) return;
    if (place_ + 1 < kSteps.size() && share == kSteps[place_ + 1] && share <= allowed_) {
      ++place_;
      return;
    }
    ++breaches_;
    text_ += "share " + std::to_string(share) + " after " + std::to_string(kSteps[place_]) + ", allowed " +
             std::to_string(allowed_) + "; ";
  }
  void Allow(uint32_t weight) {
    std::lock_guard lock(mutex_);
    allowed_ = weight;
  }
  std::string text() const { return text_; }

 private:
  std::mutex mutex_;
  const std::string stable_, canary_;
  size_t place_ = 0;
  uint32_t allowed_ = 20;
  int breaches_ = 0;
  std::string text_;
};

TEST_F(ControllerTest, SurvivesKillsAtRandomMoments) {
  constexpr int kKills = 100;
  constexpr int kRollouts = 10;
  constexpr char kSteps[] = "[{setWeight: 20}, {pause: {}}, {setWeight: 50}, {pause: {duration: 1s}}]";
  std::mt19937 random(100);
  auto controller = std::make_unique<Controller>(base_ / "state");
  ASSERT_TRUE(controller->listening());
  int port = controller->port();
  Client client(Dial(port));

  std::mutex seen_mutex;
  std::vector<std::unique_ptr<AllowedWeights>> seen;  // of each agent, for the rollout in progress
  std::vector<std::unique_ptr<SimAgent>> agents;
  for (int i = 0; i < 2; ++i) {
    seen.push_back(std::make_unique<AllowedWeights>("", "v0"));
    SimAgent::Options options;
    options.node_name = "node" + std::to_string(i);
    options.channel = Dial(port);
    options.reconnect = true;
    options.on_weights = [&, i](uint64_t, const std::string&, const Weights& weights) {
      std::lock_guard lock(seen_mutex);
      seen[i]->See(weights);
    };
    agents.push_back(std::make_unique<SimAgent>(options));
    agents.back()->Start();
  }
  std::vector<std::string> files = {ServiceYaml()};
  for (int r = 0; r <= kRollouts; ++r) {
    files.push_back(SliceYaml("v" + std::to_string(r), "127.0.1." + std::to_string(r + 1)));
  }
  files.push_back(RolloutYaml("v0", kSteps));
  auto applied = client.Apply(files);
  ASSERT_TRUE(applied.ok()) << applied.error_message();
  for (auto& agent : agents)
    ASSERT_TRUE(agent->WaitFor([](const auto& v) { return v.frontends.size() == 1; }));

  int kills = 0;
  for (int r = 1; r <= kRollouts; ++r) {
    std::string stable = "v" + std::to_string(r - 1), canary = "v" + std::to_string(r);
    {
      std::lock_guard lock(seen_mutex);
      for (auto& allowed : seen) allowed = std::make_unique<AllowedWeights>(stable, canary);
    }
    bool given = false, promoted = false;
    int killed = 0;
    auto give_up = std::chrono::steady_clock::now() + 30s;
    // Drives the rollout forward; between any two calls the controller may die, on both sides of its writes.
    while (std::chrono::steady_clock::now() < give_up) {
      if (killed < kKills / kRollouts) {
        // A moment that differs with the work in progress, seeded.
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 40'000));
        if (!given) given = client.Apply({RolloutYaml(canary, kSteps)}).ok();
        if (random() % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 8'000));
        ASSERT_EQ(controller->End(SIGKILL), -SIGKILL);
        controller = std::make_unique<Controller>(base_ / "state", port);
        ASSERT_TRUE(controller->listening()) << "after kill " << kills;
        ++killed;
        ++kills;
      }
      if (!given) given = client.Apply({RolloutYaml(canary, kSteps)}).ok();
      v1::Rollout rollout = client.Get();
      if (!promoted && rollout.current_step_index() == 1 && rollout.phase() == "Paused") {
        std::lock_guard lock(seen_mutex);
        EXPECT_EQ(rollout.canary_weight(), 20u);
        for (auto& allowed : seen) allowed->Allow(100);
      }
      if (!promoted && rollout.current_step_index() == 1 && rollout.phase() == "Paused") {
        promoted = client.Promote().ok();
      }
      if (rollout.phase() == "Healthy" && rollout.stable_revision() == canary) break;
    }
    v1::Rollout end = client.Get();
    ASSERT_EQ(end.phase(), "Healthy") << end.DebugString();
    ASSERT_EQ(end.stable_revision(), canary);
    for (auto& agent : agents) ASSERT_TRUE(agent->WaitFor(Holds({{canary, 100}})));
    for (auto& allowed : seen) EXPECT_EQ(allowed->text(), "") << canary;
  }
  for (auto& agent : agents) agent->Stop();
  EXPECT_EQ(kills, kKills);
  EXPECT_EQ(controller->End(SIGTERM), 0);
}

}  // namespace
}  // namespace weir::testing
