// kill -9 of the controller at 100 moments of rollouts, half of them while it carries out an Apply: each
// rollout ends as it would have, no agent is ever told a weight that the steps do not allow at that time, and
// an Apply is in force whole or not at all, and stays once it was answered.
#include <algorithm>
#include <atomic>
#include <future>
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

// Two objects that belong together: the service's port, and its endpoints', is 1000 + `number`.
std::vector<std::string> CartYaml(int number) {
  const std::string port = std::to_string(1000 + number);
  return {
      "apiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shop}\n"
      "spec: {clusterIP: 127.96.0.2, ports: [{name: http, port: " +
          port + "}]}\n",
      "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
      "metadata: {name: cart, namespace: shop, labels: {kubernetes.io/service-name: cart}}\n"
      "addressType: IPv4\nports: [{name: http, port: " +
          port + "}]\nendpoints: [{addresses: [127.0.2.1], conditions: {ready: true}}]\n"};
}

/// The number of the cart an agent holds, 0: none; -1: half of one and half of another.
int CartOf(const SimAgent::View& view) {
  int number = 0;
  for (const auto& [id, frontend] : view.frontends) {
    if (frontend.service() != "cart") continue;
    if (number != 0) return -1;  // the old one and the new one
    number = static_cast<int>(frontend.key().port()) - 1000;
    for (const auto& variant : frontend.variants()) {
      for (const auto& endpoint : variant.endpoints()) {
        if (endpoint.port() != frontend.key().port()) return -1;
      }
    }
  }
  return number;
}

Weights CheckoutOf(SimAgent::View view) {
  std::erase_if(view.frontends, [](const auto& entry) { return entry.second.service() != "checkout"; });
  return SimAgent::WeightsOf(view);
}

TEST_F(ControllerTest, SurvivesKillsAtRandomMoments) {
  constexpr int kKills = 100;
  constexpr int kKillsEach = 10,
                kMostRollouts = 40;  // on a slow machine a rollout may end before its tenth kill
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
    options.on_weights = [&, i](uint64_t, const std::string& frontend, const Weights& weights) {
      if (frontend != "127.96.0.1:80") return;
      std::lock_guard lock(seen_mutex);
      seen[i]->See(weights);
    };
    agents.push_back(std::make_unique<SimAgent>(options));
    agents.back()->Start();
  }
  std::vector<std::string> files = {ServiceYaml()};
  for (int r = 0; r <= kMostRollouts; ++r) {
    files.push_back(SliceYaml("v" + std::to_string(r), "127.0.1." + std::to_string(r + 1)));
  }
  files.push_back(RolloutYaml("v0", kSteps));
  auto applied = client.Apply(files);
  ASSERT_TRUE(applied.ok()) << applied.error_message();
  for (auto& agent : agents)
    ASSERT_TRUE(agent->WaitFor([](const auto& v) { return v.frontends.size() == 1; }));

  int kills = 0, cart = 0, cart_answered = 0;
  int kills_in_apply = 0;  // that left the Apply without an answer
  for (int r = 1; kills < kKills && r <= kMostRollouts; ++r) {
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
      if (killed < kKillsEach && kills < kKills) {
        // A moment that differs with the work in progress, seeded.
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 40'000));
        if (!given) given = client.Apply({RolloutYaml(canary, kSteps)}).ok();
        std::future<bool> applying;
        if (random() % 2 == 0) {
          applying = std::async(std::launch::async,
                                [&client, number = ++cart] { return client.Apply(CartYaml(number)).ok(); });
          std::this_thread::sleep_for(std::chrono::microseconds(random() % 8'000));
        }
        ASSERT_EQ(controller->End(SIGKILL), -SIGKILL);
        controller = std::make_unique<Controller>(base_ / "state", port);
        ASSERT_TRUE(controller->listening()) << "after kill " << kills;
        if (applying.valid()) {
          if (applying.get()) {
            cart_answered = cart;
          } else {
            ++kills_in_apply;
          }
        }
        for (auto& agent : agents) {
          EXPECT_NE(CartOf(agent->view()), -1) << "half an Apply after kill " << kills;
          ASSERT_TRUE(agent->WaitFor([&](const auto& view) { return CartOf(view) >= cart_answered; }))
              << "an Apply that was answered is gone after kill " << kills;
        }
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
    for (auto& agent : agents)
      ASSERT_TRUE(agent->WaitFor([&](const auto& view) {
        return CheckoutOf(view) == Weights{{canary, 100}};
      }));
    for (auto& allowed : seen) EXPECT_EQ(allowed->text(), "") << canary;
  }
  for (auto& agent : agents) agent->Stop();
  EXPECT_EQ(kills, kKills);
  EXPECT_GT(cart_answered, 0);
  EXPECT_GT(kills_in_apply, 0) << "no kill met an Apply: they come too early or too late";
  RecordProperty("kills_in_apply", kills_in_apply);
  EXPECT_EQ(controller->End(SIGTERM), 0);
}

}  // namespace
}  // namespace weir::testing
