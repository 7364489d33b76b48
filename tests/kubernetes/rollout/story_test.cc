// The main story on a real API server and controller-manager: a plain Deployment gets a canary. What is
// divided is counted at the servers, by real connections from two nodes.
#include "tests/integration/metrics_list.h"
#include "tests/kubernetes/harness/cluster_fixture.h"

namespace weir::kubernetes_test {
namespace {

using Counts = std::map<uint8_t, int>;

class StoryTest : public ClusterTest {
 protected:
  /// Everything runs, and all traffic goes to what is there.
  void Begin(int replicas, const std::string& steps, const std::vector<std::string>& flags = {}) {
    ApplyCheckout(replicas, steps);
    ASSERT_TRUE(Eventually(
        [&] { return Get("deployment/checkout", ".status.availableReplicas") == std::to_string(replicas); },
        [&] { return Get("deployment/checkout", ".status"); }));
    StartController(0, flags);
    ASSERT_FALSE(controllers_[0]->WordAfter("grpc=").empty()) << controllers_[0]->seen;
    StartAgents();
    ASSERT_TRUE(WaitForRollout(".status.phase", "Healthy"));
    ASSERT_TRUE(WaitForRollout(".status.nodes.acked", "2"));
    ASSERT_TRUE(WaitForHold());
    stable_ = RolloutField(".status.stableRevision");
    vip_ = Vip();
    for (size_t node : {0U, 1U}) EXPECT_EQ(Divide(node, vip_, 20), (Counts{{kubelet_->IdOf(stable_), 20}}));
  }
  /// Waits for a pause, where so much of 100 goes to the canary.
  void ExpectPausedAt(int weight) {
    ASSERT_TRUE(WaitForRollout(".status.canaryWeight", std::to_string(weight)));
    ASSERT_TRUE(WaitForRollout(".status.phase", "Paused"));
    canary_ = RolloutField(".status.canaryRevision");
    for (size_t node : {0U, 1U}) {
      EXPECT_EQ(Divide(node, vip_, 100),
                (Counts{{kubelet_->IdOf(stable_), 100 - weight}, {kubelet_->IdOf(canary_), weight}}));
    }
  }
  ::testing::AssertionResult WaitForPods(const std::string& revision, size_t pods) {
    return Eventually([&] { return kubelet_->Pods(revision) == pods; },
                      [&] { return fmt::format("{} pods of {}", kubelet_->Pods(revision), revision); });
  }

  ::testing::AssertionResult WaitForHold() {
    return Eventually([&] { return Get("deployment/checkout", ".spec.paused") == "true"; },
                      [&] { return Get("deployment/checkout", ".spec"); });
  }

  std::string stable_, canary_;
  SocketAddress vip_;
};

TEST_F(StoryTest, ADeploymentGetsACanary) {
  ASSERT_NO_FATAL_FAILURE(Begin(4, "[{setWeight: 20}, {pause: {}}, {setWeight: 50}, {pause: {}}]"));
  SetImage("checkout:2");
  ASSERT_NO_FATAL_FAILURE(ExpectPausedAt(20));
  EXPECT_NE(canary_, stable_);
  EXPECT_EQ(kubelet_->Pods(stable_), 4U) << "stable stays whole";
  EXPECT_EQ(kubelet_->Pods(canary_), 1U) << "a fifth of four, and a part of a pod is a pod";
  const std::string table = plane().MustKubectl({"get", "rollouts.weir.dev", "-n", ns()});
  EXPECT_NE(table.find("Paused"), std::string::npos) << table;

  Weirctl({"promote", "checkout"});
  ASSERT_NO_FATAL_FAILURE(ExpectPausedAt(50));
  EXPECT_EQ(kubelet_->Pods(canary_), 2U);
  Weirctl({"promote", "checkout"});
  ASSERT_TRUE(WaitForRollout(".status.phase", "Healthy"));
  ASSERT_TRUE(WaitForRollout(".status.stableRevision", canary_));
  EXPECT_EQ(kubelet_->Pods(canary_), 4U) << "all of it before it takes over";
  for (size_t node : {0U, 1U}) EXPECT_EQ(Divide(node, vip_, 20), (Counts{{kubelet_->IdOf(canary_), 20}}));
  ASSERT_TRUE(WaitForPods(stable_, 0));
  ASSERT_TRUE(WaitForHold());
  EXPECT_EQ(Get("deployment/checkout", ".spec.minReadySeconds"), "") << "as the user has it";
}

// Old pods are kept until connections to them have ended. What comes meanwhile must not cost the new stable
// its pods, which the Deployment controller does not take for Available yet.
TEST_F(StoryTest, ATemplateRightAfterThePromotionWaitsForOldPodsToGo) {
  ASSERT_NO_FATAL_FAILURE(Begin(4, "[{setWeight: 20}, {pause: {}}]"));
  const std::string first = stable_;
  SetImage("checkout:2");
  ASSERT_NO_FATAL_FAILURE(ExpectPausedAt(20));
  Weirctl({"promote", "checkout"});
  ASSERT_TRUE(WaitForRollout(".status.stableRevision", canary_));
  stable_ = canary_;
  ASSERT_TRUE(WaitForHold());
  ASSERT_EQ(kubelet_->Pods(first), 4U) << "they wait for connections to end";
  SetImage("checkout:3");
  ASSERT_TRUE(WaitForMessage("waiting for connections to revision " + first + " to end"));
  EXPECT_EQ(kubelet_->Pods(stable_), 4U);
  ASSERT_TRUE(WaitForPods(first, 0));
  EXPECT_EQ(kubelet_->Pods(stable_), 4U);
  ASSERT_NO_FATAL_FAILURE(ExpectPausedAt(20));
  EXPECT_NE(canary_, stable_);
  EXPECT_EQ(kubelet_->Pods(stable_), 4U);
  EXPECT_EQ(Get("deployment/checkout", ".spec.template.spec.containers[0].image"), "checkout:3");
}

TEST_F(StoryTest, AnAbortIsRememberedUntilSomebodyRetries) {
  ASSERT_NO_FATAL_FAILURE(Begin(4, "[{setWeight: 50}, {pause: {}}]"));
  SetImage("checkout:2");
  ASSERT_NO_FATAL_FAILURE(ExpectPausedAt(50));
  const std::string aborted = canary_;
  Weirctl({"abort", "checkout"});
  ASSERT_TRUE(WaitForRollout(".status.phase", "Degraded"));
  ASSERT_TRUE(WaitForRollout(".status.canaryWeight", "0"));
  for (size_t node : {0U, 1U}) EXPECT_EQ(Divide(node, vip_, 40), (Counts{{kubelet_->IdOf(stable_), 40}}));
  ASSERT_TRUE(WaitForPods(aborted, 0)) << "the template is stable's again, and the canary's pods go";
  EXPECT_EQ(Get("deployment/checkout", ".spec.template.spec.containers[0].image"), "checkout:1");
  ASSERT_TRUE(WaitForHold());
  EXPECT_EQ(kubelet_->Pods(stable_), 4U);

  // As a GitOps controller would.
  SetImage("checkout:2");
  ASSERT_TRUE(WaitForMessage("retry: revision " + aborted + " was aborted"));
  EXPECT_EQ(kubelet_->Pods(aborted), 0U);
  Weirctl({"retry", "checkout"});
  ASSERT_NO_FATAL_FAILURE(ExpectPausedAt(50));
  EXPECT_EQ(canary_, aborted);
  Weirctl({"promote", "checkout"});
  ASSERT_TRUE(WaitForRollout(".status.stableRevision", aborted));
  ASSERT_TRUE(WaitForPods(stable_, 0));
  ASSERT_TRUE(WaitForHold());

  // And back to what was before: its template is found in its ReplicaSet.
  Weirctl({"undo", "checkout"});
  ASSERT_TRUE(WaitForRollout(".status.canaryRevision", stable_));
  std::swap(stable_, canary_);
  ASSERT_NO_FATAL_FAILURE(ExpectPausedAt(50));
  EXPECT_EQ(Get("deployment/checkout", ".spec.template.spec.containers[0].image"), "checkout:1");
}

TEST_F(StoryTest, WhatHappensInMidRollout) {
  ASSERT_NO_FATAL_FAILURE(
      Begin(4,
            "[{setCanaryScale: {replicas: 1}}, {setWeight: 10}, {pause: {}}, {setCanaryScale: "
            "{matchTrafficWeight: true}}, {setWeight: 50}, {pause: {}}]"));
  SetImage("checkout:2");
  ASSERT_NO_FATAL_FAILURE(ExpectPausedAt(10));
  EXPECT_EQ(kubelet_->Pods(canary_), 1U);

  // Another template: the canary's pods are replaced, stable is left alone, and it starts over.
  const std::string second = canary_;
  SetImage("checkout:3");
  ASSERT_TRUE(Eventually(
      [&] {
        return !RolloutField(".status.canaryRevision").empty() &&
               RolloutField(".status.canaryRevision") != second;
      },
      [&] { return RolloutField(".status.canaryRevision"); }));
  ASSERT_NO_FATAL_FAILURE(ExpectPausedAt(10));
  EXPECT_NE(canary_, second);
  ASSERT_TRUE(WaitForPods(second, 0));
  EXPECT_EQ(kubelet_->Pods(stable_), 4U);

  // A pod of stable dies: it is replaced.
  const std::string pods =
      Get("pods", ".items[?(@.metadata.labels.pod-template-hash==\"" + stable_ + "\")].metadata.name");
  const uint32_t started = kubelet_->Started();
  plane().MustKubectl({"delete", "-n", ns(), "--wait=false", "pod", pods.substr(0, pods.find(' '))});
  ASSERT_TRUE(Eventually([&] { return kubelet_->Started() > started && kubelet_->Pods(stable_) == 4; },
                         [&] { return fmt::format("{} pods", kubelet_->Pods(stable_)); }));

  // Somebody, or an HPA, scales it: shares stay.
  plane().MustKubectl({"scale", "-n", ns(), "deployment/checkout", "--replicas=8"});
  ASSERT_TRUE(Eventually(
      [&] { return kubelet_->Pods(stable_) + kubelet_->Pods(canary_) >= 9; },
      [&] { return fmt::format("{} and {} pods", kubelet_->Pods(stable_), kubelet_->Pods(canary_)); }));
  ASSERT_NO_FATAL_FAILURE(ExpectPausedAt(10));
  Weirctl({"promote", "checkout"});
  ASSERT_NO_FATAL_FAILURE(ExpectPausedAt(50));
  EXPECT_GE(kubelet_->Pods(canary_), 4U) << "half of eight";
  Weirctl({"promote", "checkout", "--full"});
  ASSERT_TRUE(WaitForRollout(".status.stableRevision", canary_));
  ASSERT_TRUE(WaitForPods(stable_, 0));
  EXPECT_EQ(kubelet_->Pods(canary_), 8U);
}

TEST_F(StoryTest, EverythingIsGivenBackWithTheRollout) {
  ASSERT_NO_FATAL_FAILURE(Begin(3, "[{setWeight: 34}, {pause: {}}]"));
  const auto knobs = [&] {
    return Get("deployment/checkout", ".spec.paused") + " " +
           Get("deployment/checkout", ".spec.strategy.rollingUpdate") + " " +
           Get("deployment/checkout", ".spec.minReadySeconds") + " " +
           Get("deployment/checkout", ".spec.progressDeadlineSeconds");
  };
  SetImage("checkout:2");
  ASSERT_TRUE(WaitForRollout(".status.phase", "Paused"));
  const std::string canary = RolloutField(".status.canaryRevision");
  plane().MustKubectl({"delete", "-n", ns(), "rollouts.weir.dev/checkout", "--timeout=60s"});
  EXPECT_EQ(knobs(), R"( {"maxSurge":"25%","maxUnavailable":"25%"}  600)");
  EXPECT_EQ(Get("deployment/checkout", ".metadata.annotations.weir\\.dev/rollout"), "");
  ASSERT_TRUE(WaitForPods(canary, 0)) << "nobody has judged it";
  EXPECT_EQ(kubelet_->Pods(stable_), 3U);
}

// Everything but the Deployment is deleted at once: the Rollout is refused by then, and its Deployment given
// back all the same.
TEST_F(StoryTest, ItIsGivenBackWhenTheServiceWentFirst) {
  ASSERT_NO_FATAL_FAILURE(Begin(3, "[{setWeight: 34}, {pause: {}}]"));
  SetImage("checkout:2");
  ASSERT_TRUE(WaitForRollout(".status.phase", "Paused"));
  const std::string canary = RolloutField(".status.canaryRevision");
  plane().MustKubectl({"delete", "-n", ns(), "service/checkout"});
  ASSERT_TRUE(WaitForMessage("unknown Service"));
  plane().MustKubectl({"delete", "-n", ns(), "rollouts.weir.dev/checkout", "--timeout=60s"});
  EXPECT_EQ(Get("deployment/checkout", ".spec.paused"), "");
  EXPECT_EQ(Get("deployment/checkout", ".spec.minReadySeconds"), "");
  EXPECT_EQ(Get("deployment/checkout", ".spec.template.spec.containers[0].image"), "checkout:1");
  ASSERT_TRUE(WaitForPods(canary, 0));
}

TEST_F(StoryTest, ADeploymentThatCannotBeLedIsRefusedWithTheReason) {
  ApplyCheckout(1, "[{setWeight: 50}]");
  plane().MustKubectl({"patch", "-n", ns(), "deployment/checkout", "--type=json", "-p",
                       R"([{"op": "replace", "path": "/spec/strategy", "value": {"type": "Recreate"}}])"});
  StartController();
  ASSERT_FALSE(controllers_[0]->WordAfter("grpc=").empty()) << controllers_[0]->seen;
  ASSERT_TRUE(WaitForMessage("strategy Recreate"));
  EXPECT_EQ(Get("deployment/checkout", ".spec.paused"), "") << "it is left alone";
  plane().MustKubectl(
      {"patch", "-n", ns(), "deployment/checkout", "--type=json", "-p",
       R"([{"op": "replace", "path": "/spec/strategy", "value": {"type": "RollingUpdate"}}])"});
  ASSERT_TRUE(WaitForRollout(".status.phase", "Healthy"));
  ASSERT_TRUE(WaitForHold());
}

// An old pod stays as long as somebody talks to it, and not longer than it may.
TEST_F(StoryTest, OldPodsWaitForTheirConnections) {
  strategy_ = "canary: {scaleDownDelaySeconds: 3600, steps: []}";
  ASSERT_NO_FATAL_FAILURE(Begin(2, ""));
  kernel_test::Shared<std::atomic<bool>> hang_up, connected;
  kernel_test::ClientProcess talker(nodes_[0]->cgroup(), [&]() -> Result<std::string> {
    kernel_test::Socket socket = kernel_test::Socket::Open(AF_INET, SOCK_STREAM);
    CLIENT_CHECK(socket.Connect(vip_) == 0);
    ASSIGN_OR_RETURN(const std::string id, socket.Receive());
    *connected.get() = true;
    while (!*hang_up.get()) usleep(10'000);
    return id;
  });
  ASSERT_TRUE(Eventually([&] { return connected.get()->load(); }, [] { return "no connection"; }));
  SetImage("checkout:2");
  ASSERT_TRUE(WaitForMessage("waiting for connections to revision " + stable_ + " to end"));
  EXPECT_EQ(RolloutField(".status.phase"), "Healthy") << "all traffic is the new one's";
  EXPECT_EQ(kubelet_->Pods(stable_), 2U);
  *hang_up.get() = true;
  const auto id = talker.Wait();
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_EQ(static_cast<uint8_t>((*id)[0]), kubelet_->IdOf(stable_));
  ASSERT_TRUE(WaitForPods(stable_, 0));
  ASSERT_TRUE(WaitForHold());
}

// The preview Service leads to the new pods before anybody else does; the flip is whole, and old pods go
// after their time.
TEST_F(StoryTest, BlueGreen) {
  plane().Apply(fmt::format(R"(
apiVersion: v1
kind: Service
metadata: {{name: checkout-preview, namespace: {}}}
spec: {{selector: {{app: checkout}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
)",
                            ns()));
  strategy_ =
      "blueGreen: {previewService: checkout-preview, autoPromotionEnabled: false, scaleDownDelaySeconds: 3}";
  ASSERT_NO_FATAL_FAILURE(Begin(3, ""));
  const SocketAddress preview = Vip("checkout-preview");
  SetImage("checkout:2");
  ASSERT_TRUE(WaitForRollout(".status.phase", "Paused"));
  canary_ = RolloutField(".status.canaryRevision");
  EXPECT_EQ(kubelet_->Pods(canary_), 3U) << "all of them before it is shown";
  for (size_t node : {0U, 1U}) {
    EXPECT_EQ(Divide(node, vip_, 20), (Counts{{kubelet_->IdOf(stable_), 20}}));
    EXPECT_EQ(Divide(node, preview, 20), (Counts{{kubelet_->IdOf(canary_), 20}}));
  }
  Weirctl({"promote", "checkout"});
  ASSERT_TRUE(WaitForRollout(".status.stableRevision", canary_));
  for (size_t node : {0U, 1U}) EXPECT_EQ(Divide(node, vip_, 20), (Counts{{kubelet_->IdOf(canary_), 20}}));
  ASSERT_TRUE(WaitForPods(stable_, 0));
  ASSERT_TRUE(WaitForHold());
}

/// A template of one metric, named so, that fails.
std::string Template(const std::string& group, const std::string& ns, const std::string& name,
                     const std::string& metric) {
  return fmt::format(R"(
apiVersion: {}/v1alpha1
kind: AnalysisTemplate
metadata: {{name: {}, namespace: {}}}
spec:
  args: [{{name: port, value: "1"}}]
  metrics:
  - name: {}
    interval: 1s
    count: 1
    consecutiveErrorLimit: 0
    successCondition: result == 1
    provider: {{web: {{url: "http://127.0.0.1:{{{{args.port}}}}/", timeoutSeconds: 1}}}}
)",
                     group, name, ns, metric);
}

// Argo's CRD is installed, and goes, while a controller leads.
TEST_F(StoryTest, ArgosTemplatesComeAndGo) {
  Process where({WEIR_TOOLS_BUILD, "--where"});
  if (where.Wait() != 0) {
    if (std::getenv("WEIR_REQUIRE_KUBERNETES") == nullptr)
      GTEST_SKIP() << "found no CRDs of Argo Rollouts; run " WEIR_TOOLS_BUILD;
    FAIL() << "found no CRDs of Argo Rollouts; run " WEIR_TOOLS_BUILD;
  }
  const std::string crd =
      where.seen.substr(0, where.seen.find('\n')) + "/crds/argo-rollouts/analysis-template-crd.yaml";
  ASSERT_NO_FATAL_FAILURE(Begin(2, "[{setWeight: 50}, {analysis: {templates: [{templateName: never}]}}]",
                                {"--look-for-kinds-ms", "500"}));
  SetImage("checkout:2");
  ASSERT_TRUE(WaitForMessage("expected an AnalysisTemplate that exists"));
  const auto served = [&](bool is) {
    return Eventually(
        [&] {
          const std::string path = "/apis/argoproj.io/v1alpha1/namespaces/" + ns() + "/analysistemplates";
          return (plane().Kubectl({"get", "--raw", path}).code == 0) == is;
        },
        [] { return "Argo's AnalysisTemplates"; });
  };
  const auto judged_by = [&](const std::string& metric) {
    return Eventually(
        [&] {
          if (RolloutField(".status.message").find(metric) != std::string::npos) return true;
          if (RolloutField(".status.phase") == "Degraded") Weirctl({"retry", "checkout"});
          return false;
        },
        [&] { return RolloutField(".status.message"); });
  };

  plane().MustKubectl({"apply", "--server-side", "-f", crd});
  ASSERT_TRUE(served(true));
  plane().Apply(Template("argoproj.io", ns(), "never", "argos-metric"));
  plane().Apply(Template("weir.dev", ns(), "never", "own-metric"));
  ASSERT_TRUE(judged_by("argos-metric"));

  // Others of this program have Weir's own, and so has this Rollout from now on.
  plane().MustKubectl({"delete", "-f", crd, "--timeout=60s"});
  ASSERT_TRUE(served(false));
  ASSERT_TRUE(judged_by("own-metric"));
}

// A Rollout is judged by a template of Weir's own CRD, as Argo's is not installed; what became of it is told
// by events and metrics.
TEST_F(StoryTest, AnAnalysisAbortsAndEventsSayWhy) {
  plane().Apply(fmt::format(R"(
apiVersion: weir.dev/v1alpha1
kind: AnalysisTemplate
metadata: {{name: never, namespace: {}}}
spec:
  metrics:
  - name: nobody-answers
    interval: 1s
    count: 1
    consecutiveErrorLimit: 0
    successCondition: result == 1
    provider: {{web: {{url: "http://127.0.0.1:1/", timeoutSeconds: 1}}}}
)",
                            ns()));
  ASSERT_NO_FATAL_FAILURE(Begin(2, "[{setWeight: 50}, {analysis: {templates: [{templateName: never}]}}]"));
  SetImage("checkout:2");
  ASSERT_TRUE(WaitForRollout(".status.phase", "Degraded"));
  ASSERT_TRUE(WaitForMessage("nobody-answers"));
  ASSERT_TRUE(WaitForHold());
  EXPECT_NE(Weirctl({"get", "analysis"}).find("nobody-answers"), std::string::npos);
  ASSERT_TRUE(Eventually(
      [&] {
        const std::string events = Get("events.events.k8s.io", ".items[*].note");
        return events.find("begins, stable is " + stable_) != std::string::npos &&
               events.find("aborted (analysis at step 1") != std::string::npos;
      },
      [&] { return Get("events.events.k8s.io", ".items[*].note"); }));

  Process curl(
      {"curl", "-s",
       "http://" + controllers_[0]->WordAfter("listening grpc=" + ListenAddress(0) + " http=") + "/metrics"});
  curl.Wait();
  const auto exposed = ExposedMetrics(curl.seen);
  for (const auto& [name, what] : ListedMetrics(WEIR_METRICS_LIST, "controller-kubernetes")) {
    const auto found = exposed.find(name);
    ASSERT_NE(found, exposed.end()) << name << " in " << curl.seen;
    EXPECT_EQ(found->second, what) << name;
  }
  EXPECT_NE(curl.seen.find("weir_controller_leader 1"), std::string::npos);
}

}  // namespace
}  // namespace weir::kubernetes_test
