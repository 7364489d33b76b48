// Nobody is left exposed: controller and agents are stopped, killed and cut off from each other in the middle
// of a rollout's steps. Nodes that hear no controller go back to stable by themselves and stay there; the
// rollout waits and says why, and goes on when it is told to. With the programs themselves.
#include "tests/kernel/harness/pair.h"
#include "tests/kernel/harness/programs_fixture.h"
#include "tests/kernel/harness/relay.h"

namespace weir::kernel_test {
namespace {

enum class Who { kController, kAgent };
enum class How { kStop, kKill, kPartition };

std::string ExposedYaml(const std::string& revision, const std::string& more = "") {
  return fmt::format(R"(---
apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {{name: checkout, namespace: shop}}
spec: {{service: checkout, revision: {}, failSafeAfter: 1s, ackTimeout: 2s, {}
  strategy: {{canary: {{steps: [{{setWeight: 20}}, {{pause: {{}}}}, {{setWeight: 50}}, {{pause: {{}}}}]}}}}}}
)",
                     revision, more);
}

/// Dials from a node without a pause until it is stopped.
class Dialling {
 public:
  Dialling(TestNode& node, const SocketAddress& vip)
      : client_(node.cgroup(), [this, vip]() -> Result<std::string> {
          std::string ids;
          do {  // once at least, however late the processor comes here
            ASSIGN_OR_RETURN(const uint8_t id, Fetch(vip));
            ids.push_back(static_cast<char>(id));
          } while (!*stop_.get());
          return ids;
        }) {}
  /// The ids of the servers, in order.
  Result<std::string> Stop() {
    *stop_.get() = true;
    return client_.Wait();
  }

 private:
  Shared<std::atomic<bool>> stop_;
  ClientProcess client_;
};

class AloneTest : public ProgramsTest {
 protected:
  void Start(const std::string& more = "") {
    StartController({"--heartbeat-ms", "100"});
    for (int node = 0; node < 2; ++node) {
      relays_[node] = std::make_unique<Relay>(address_);
      agents_[node] = StartAgent(node, {}, relays_[node]->address());
    }
    Apply(kServiceYaml + SliceYaml("v1", {Endpoint(0)}) + SliceYaml("v2", {Endpoint(1)}) +
          ExposedYaml("v1", more));
    ASSERT_TRUE(WaitForRollout({"\"phase\":\"Healthy\"", "\"nodesAcked\":2,"}));
    Apply(ExposedYaml("v2", more));
    ASSERT_TRUE(WaitAcked(20, 2));
  }
  void RestartController() {
    const std::string before = address_;
    StartController({"--heartbeat-ms", "100"});
    ASSERT_EQ(address_, before) << controller_->seen;
  }

  void Break(Who who, How how) {
    if (how == How::kPartition) {
      relays_[0]->Cut();
      if (who == Who::kController) relays_[1]->Cut();
      return;
    }
    Process& victim = who == Who::kController ? *controller_ : *agents_[0];
    victim.Signal(how == How::kStop ? SIGSTOP : SIGKILL);
    if (how == How::kKill) victim.Wait();
  }
  void Mend(Who who, How how) {
    if (how == How::kPartition) {
      for (auto& relay : relays_) relay->Heal();
    } else if (how == How::kStop) {
      (who == Who::kController ? *controller_ : *agents_[0]).Signal(SIGCONT);
    } else if (who == Who::kController) {
      RestartController();
    } else {
      agents_[0] = StartAgent(0, {}, relays_[0]->address());
    }
  }

  Result<std::string> Ids(int node, int times) {
    return nodes_[node]->Run([&] { return FetchMany(vip_, times); });
  }
  /// Waits until none of the node's connections goes to the canary.
  testing::AssertionResult Unexposed(int node) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < deadline) {
      const auto ids = Ids(node, 20);
      if (!ids.ok()) return testing::AssertionFailure() << Message(ids.status());
      if (*ids == std::string(20, 0)) return testing::AssertionSuccess();
    }
    return testing::AssertionFailure() << "node " << node << " is still exposed";
  }
  testing::AssertionResult Divides(int node, uint32_t canary) {
    const auto ids = Ids(node, 100);
    if (!ids.ok()) return testing::AssertionFailure() << Message(ids.status());
    return IsExact({static_cast<uint64_t>(std::count(ids->begin(), ids->end(), 0)),
                    static_cast<uint64_t>(std::count(ids->begin(), ids->end(), 1))},
                   {100 - canary, canary});
  }

  /// In the middle of the step that gives the canary `weight`.
  void BreakAndMend(Who who, How how, int weight) {
    Break(who, how);
    const int last = who == Who::kController ? 1 : 0;  // nodes that are alone: 0 to last
    for (int node = 0; node <= last; ++node) ASSERT_TRUE(Unexposed(node));
    if (who == Who::kAgent) {
      EXPECT_TRUE(Divides(1, static_cast<uint32_t>(weight))) << "the others go on";
    }

    Dialling dialling(*nodes_[0], vip_);
    Mend(who, how);
    for (int node = 0; node <= last; ++node) {
      ASSERT_TRUE(WaitForRollout(
          {"\"phase\":\"Paused\"", "taken out by ", fmt::format("node-{} (no controller was heard)", node)}));
    }
    ASSERT_TRUE(WaitAcked(weight, 2));
    const auto meanwhile = dialling.Stop();
    ASSERT_OK(meanwhile);
    EXPECT_EQ(std::count(meanwhile->begin(), meanwhile->end(), 1), 0) << "not one before somebody said so";

    Must({"resume", "-n", "shop", "checkout"});
    ASSERT_TRUE(WaitForRollout({"promote to go on", "\"nodesTakenOut\":[]", "\"nodesAcked\":2,"}));
    for (int node = 0; node < 2; ++node) EXPECT_TRUE(Divides(node, static_cast<uint32_t>(weight)));
  }

  std::array<std::unique_ptr<Relay>, 2> relays_;
};

class NobodyIsLeftExposed : public AloneTest, public testing::WithParamInterface<std::tuple<Who, How>> {};

TEST_P(NobodyIsLeftExposed, InTheMiddleOfEachStep) {
  const auto [who, how] = GetParam();
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(BreakAndMend(who, how, 20));
  Must({"promote", "-n", "shop", "checkout"});  // the raise to 50 is on its way
  ASSERT_NO_FATAL_FAILURE(BreakAndMend(who, how, 50));
  Must({"abort", "-n", "shop", "checkout"});
  ASSERT_TRUE(WaitAcked(0, 2));
  for (int node = 0; node < 2; ++node) EXPECT_TRUE(Divides(node, 0));
}

std::string NameOf(const testing::TestParamInfo<std::tuple<Who, How>>& test) {
  const auto [who, how] = test.param;
  return std::string(who == Who::kController ? "Controller" : "Agent") + (how == How::kStop   ? "Stopped"
                                                                          : how == How::kKill ? "Killed"
                                                                                              : "CutOff");
}

INSTANTIATE_TEST_SUITE_P(AloneTest, NobodyIsLeftExposed,
                         testing::Combine(testing::Values(Who::kController, Who::kAgent),
                                          testing::Values(How::kStop, How::kKill, How::kPartition)),
                         NameOf);

TEST_F(AloneTest, ACanaryThatRefusesIsTakenOutOnTheNodesThatSeeIt) {
  ASSERT_NO_FATAL_FAILURE(Start("localTrip: {consecutiveFailures: 3},"));
  servers_.Remove(Endpoint(1));
  const auto failed = nodes_[0]->Run([&]() -> Result<std::string> {
    int count = 0;
    for (int i = 0; i < 100; ++i) count += Fetch(vip_).ok() ? 0 : 1;
    return std::to_string(count);
  });
  ASSERT_OK(failed);
  EXPECT_EQ(*failed, "3") << "the third is the last";
  ASSERT_TRUE(WaitForRollout({"\"phase\":\"Paused\"", "node-0 (its connects failed)"}));
  servers_.AddTcp(Endpoint(1), 1);
  EXPECT_TRUE(Divides(0, 0));
  EXPECT_TRUE(Divides(1, 20)) << "here nobody has seen anything";
  const Outcome nodes = Weirctl({"get", "nodes", "-o", "wide"});
  EXPECT_NE(nodes.output.find("shop/checkout v2: its connects failed"), std::string::npos) << nodes.output;
  agents_[0]->Signal(SIGKILL);
  agents_[0]->Wait();
  agents_[0] = StartAgent(0, {}, relays_[0]->address());
  ASSERT_TRUE(agents_[0]->WaitFor("the canary has no traffic on this node any more"))
      << "it has the snapshot";
  EXPECT_TRUE(Divides(0, 0)) << "the next agent is no reason to begin again";
  Must({"resume", "-n", "shop", "checkout"});
  ASSERT_TRUE(WaitForRollout({"promote to go on", "\"nodesTakenOut\":[]", "\"nodesAcked\":2,"}));
  EXPECT_TRUE(Divides(0, 20));
}

TEST_F(AloneTest, AnEndpointThatRefusesIsLeftOutAndShown) {
  servers_.AddTcp(Endpoint(0, 1), 2);
  ASSERT_NO_FATAL_FAILURE(Start("passiveHealth: {baseTime: 1h, maxTime: 1h},"));
  Apply(SliceYaml("v1", {Endpoint(0), Endpoint(0, 1)}));
  // The weights are acknowledged already: the endpoint is there when it answers.
  ASSERT_TRUE(Eventually([&] {
    const auto ids = Ids(0, 20);
    return ids.ok() && ids->find('\2') != std::string::npos;
  }));
  servers_.Remove(Endpoint(0, 1));
  // One after the other until the agent has seen three of them.
  ASSERT_TRUE(Eventually([&] {
    const auto ids = Ids(0, 20);
    return ids.ok() && ids->size() == 20;
  }));
  EXPECT_TRUE(Divides(0, 20)) << "what is left has the whole share of stable";
  ASSERT_TRUE(Eventually([&] {
    return Weirctl({"get", "nodes", "-o", "wide"}).output.find("shop/checkout v1 127.1.0.2:8080") !=
           std::string::npos;
  })) << Weirctl({"get", "nodes", "-o", "wide"}).output;
}

}  // namespace
}  // namespace weir::kernel_test
