// Two replicas of the controller behind a Service that is played, agents that dial it, and a canary that is
// held at a weight while something fails. Header only, as the one it is built upon.
#pragma once

#include <fstream>

#include "tests/kernel/harness/relay.h"
#include "tests/kubernetes/harness/cluster_fixture.h"
#include "tests/kubernetes/harness/steady_dials.h"

namespace weir::kubernetes_test {

using Counts = std::map<uint8_t, int>;

class FailureTest : public ClusterTest {
 protected:
  using Clock = std::chrono::steady_clock;

  void TearDown() override {
    dials_.reset();
    following_ = false;
    if (follower_.joinable()) follower_.join();
    ClusterTest::TearDown();
    if (!IsSkipped()) plane().Kubectl({"delete", "pods", "-n", "weir-system", "--all", "--wait=false"});
  }

  // ---- programs

  static std::string PodName(size_t replica) { return fmt::format("weir-controller-{}", replica); }
  /// Its pod, if it is not there, and its process.
  void StartReplica(size_t replica, std::vector<std::string> more = {}) {
    plane().Apply(fmt::format(R"(
apiVersion: v1
kind: Pod
metadata: {{name: {}, namespace: weir-system, labels: {{app.kubernetes.io/component: controller}}}}
spec: {{serviceAccountName: weir-controller, containers: [{{name: controller, image: weir}}]}}
)",
                              PodName(replica)));
    more.insert(more.end(), {"--pod-name", PodName(replica)});
    StartController(replica, more);
    ASSERT_FALSE(controllers_[replica]->WordAfter("candidate http=").empty()) << controllers_[replica]->seen;
  }
  /// The Service of the leader: new connections go to the pod that has its label, or nowhere.
  void PlayService() {
    service_ = std::make_unique<kernel_test::Relay>(ListenAddress(0));
    service_->Direct("");
    following_ = true;
    follower_ = std::thread([this] {
      std::set<std::string> before;
      while (following_) {
        const std::set<std::string> leaders = kubelet_->Leaders();
        if (leaders != before) {
          const bool first = leaders.contains(PodName(0));
          service_->Direct(leaders.empty() ? "" : ListenAddress(first ? 0 : 1));
          before = leaders;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the pace of kube-proxy
      }
    });
  }
  std::string LeaseHolder() {
    return plane()
        .Kubectl(
            {"get", "-n", "weir-system", "lease/weir-controller", "-o", "jsonpath={.spec.holderIdentity}"})
        .text;
  }
  /// The replica says for the `times`-th time that it leads. Seconds since `since`.
  double LeadsAfter(size_t replica, Clock::time_point since, size_t times = 1) {
    EXPECT_TRUE(WaitForOutput(*controllers_[replica], "listening grpc=", times))
        << controllers_[replica]->seen;
    return std::chrono::duration<double>(Clock::now() - since).count();
  }
  static bool WaitForOutput(Process& process, const std::string& text, size_t times) {
    while (Times(process.seen, text) < times) {
      if (!process.ReadMore()) return false;
    }
    return true;
  }
  static size_t Times(const std::string& text, const std::string& part) {
    size_t times = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++times;
    return times;
  }
  /// Of the logs whose name holds `part`.
  std::string Log(const std::string& part) {
    std::string text;
    for (const std::string& log : std::set<std::string>(logs_.begin(), logs_.end())) {
      if (log.find(part) != std::string::npos) text += kernel_test::ReadFile(log);
    }
    return text;
  }

  // ---- a canary

  /// One controller that leads, agents, and all traffic at what is there.
  void Begin(int replicas, const std::string& steps, const std::vector<std::string>& more = {}) {
    ApplyCheckout(replicas, steps);
    PlayService();
    StartReplica(0, more);
    ASSERT_FALSE(controllers_[0]->WordAfter("grpc=").empty()) << controllers_[0]->seen;
    StartAgents(service_->address());
    ASSERT_TRUE(WaitForRollout(".status.phase", "Healthy"));
    ASSERT_TRUE(WaitForRollout(".status.nodes.acked", "2"));
    ASSERT_TRUE(Eventually([&] { return Get("deployment/checkout", ".spec.paused") == "true"; },
                           [&] { return Get("deployment/checkout", ".metadata.annotations"); }));
    stable_ = RolloutField(".status.stableRevision");
    vip_ = Vip();
  }
  /// The same, and a new template whose canary waits in its first pause.
  void BeginPausedAt(int weight, int replicas, const std::string& steps,
                     const std::vector<std::string>& more = {}) {
    ASSERT_NO_FATAL_FAILURE(Begin(replicas, steps, more));
    SetImage("checkout:2");
    ASSERT_NO_FATAL_FAILURE(WaitPausedAt(weight));
    canary_ = RolloutField(".status.canaryRevision");
    ExpectSplit(weight);
  }
  void WaitPausedAt(int weight) {
    ASSERT_TRUE(WaitForRollout(".status.canaryWeight", std::to_string(weight)));
    ASSERT_TRUE(WaitForRollout(".status.phase", "Paused"));
    ASSERT_TRUE(WaitForRollout(".status.nodes.acked", "2"));
  }
  Counts Hundred(int weight) {
    Counts counts{{kubelet_->IdOf(stable_), 100 - weight}, {kubelet_->IdOf(canary_), weight}};
    std::erase_if(counts, [](const auto& count) { return count.second == 0; });
    return counts;
  }
  void ExpectSplit(int weight) {
    for (size_t node : {0U, 1U}) EXPECT_EQ(Divide(node, vip_, 100), Hundred(weight)) << "node " << node;
  }
  void Dial() {
    dials_ = std::make_unique<SteadyDials>(std::vector<std::string>{nodes_[0]->cgroup(), nodes_[1]->cgroup()},
                                           vip_);
  }
  void ExpectDialed(int weight) {
    EXPECT_TRUE(dials_->Stop(Hundred(weight)));
    fmt::print("[ measured ] {} connections at {}%\n", dials_->connections(), weight);
    dials_.reset();
  }
  /// What the replica itself says of the agents on its streams.
  ::testing::AssertionResult WaitForAgents(size_t replica) {
    std::string last;
    return Eventually(
        [&] {
          Process process({WEIRCTL, "--server", ListenAddress(replica), "-n", ns(), "get", "rollouts",
                           "checkout", "-o", "json"});
          process.Wait();
          last = process.seen;
          return last.find("\"nodesAcked\": 2") != std::string::npos ||
                 last.find("\"nodesAcked\":2") != std::string::npos;
        },
        [&] { return last; });
  }
  /// From the pause at the last step to the end.
  void ExpectPromotes(size_t replica) {
    Weirctl({"promote", "checkout"}, replica);
    ASSERT_TRUE(WaitForRollout(".status.stableRevision", canary_));
    ASSERT_TRUE(WaitForRollout(".status.phase", "Healthy"));
    for (size_t node : {0U, 1U})
      EXPECT_EQ(Divide(node, vip_, 20), (Counts{{kubelet_->IdOf(canary_), 20}})) << "node " << node;
  }
  /// The shipped roles were enough.
  void ExpectNothingForbidden() {
    const std::string log = Log("controller");
    EXPECT_FALSE(log.empty());
    for (const char* const sign : {"403 Forbidden", "PERMISSION_DENIED"}) {
      const size_t at = log.find(sign);
      EXPECT_EQ(at, std::string::npos) << log.substr(at < 300 ? 0 : at - 300, 600);
    }
  }

  std::unique_ptr<kernel_test::Relay> service_;
  std::atomic<bool> following_{false};
  std::thread follower_;
  std::unique_ptr<SteadyDials> dials_;
  std::string stable_, canary_;
  SocketAddress vip_;
};

}  // namespace weir::kubernetes_test
