// TrafficSplits as Argo Rollouts and Flagger write them, on a real API server, with clients that never stop
// to dial: no connection fails, and at every rest the split is exact.
#include "tests/kubernetes/driven/driven_fixture.h"

namespace weir::kubernetes_test {
namespace {

class SmiTest : public DrivenTest {
 protected:
  void SetUp() override {
    DrivenTest::SetUp();
    if (!IsSkipped() && !HasFatalFailure()) InstallSmi();
  }

  static Resource Splits(const std::string& version) {
    return {"split.smi-spec.io", version, "trafficsplits"};
  }

  void CreateSplit(const std::string& version, const std::string& service, json::array backends,
                   const std::string& name = "checkout") {
    admin_->Must(
        kubernetes::CreateRequest(Splits(version), ns(),
                                  {{"apiVersion", "split.smi-spec.io/" + version},
                                   {"kind", "TrafficSplit"},
                                   {"metadata", {{"name", name}}},
                                   {"spec", {{"service", service}, {"backends", std::move(backends)}}}}));
  }

  void Deploy(const std::string& name, int replicas, const std::string& image) {
    plane().Apply(fmt::format(R"(
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {1}, namespace: {0}}}
spec:
  replicas: {2}
  selector: {{matchLabels: {{app: {1}}}}}
  strategy: {{rollingUpdate: {{maxUnavailable: 0}}}}
  template:
    metadata: {{labels: {{app: {1}}}}}
    spec: {{containers: [{{name: web, image: "{3}", ports: [{{containerPort: 8080}}]}}]}}
)",
                              ns(), name, replicas, image));
  }
  void Serve(const std::string& service, const std::string& app) {
    plane().Apply(fmt::format(R"(
apiVersion: v1
kind: Service
metadata: {{name: {1}, namespace: {0}}}
spec: {{selector: {{app: {2}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
)",
                              ns(), service, app));
  }
  /// Of the ReplicaSet with that image, once so many pods of it are ready.
  std::string HashOf(const std::string& app, const std::string& image, int ready) {
    std::string hash;
    EXPECT_TRUE(Eventually(
        [&] {
          const std::string text = plane().MustKubectl(
              {"get", "replicasets", "-n", ns(), "-l", "app=" + app, "-o",
               R"(jsonpath={range .items[*]}{.spec.template.spec.containers[0].image} {.status.readyReplicas} {.metadata.labels.pod-template-hash}{"\n"}{end})"});
          const std::string wanted = fmt::format("{} {} ", image, ready);
          const size_t at = text.find(wanted);
          if (at == std::string::npos) return false;
          hash = text.substr(at + wanted.size(), text.find('\n', at) - at - wanted.size());
          return true;
        },
        [&] { return app + " " + image; }));
    return hash;
  }
};

class ArgoTest : public SmiTest {
 protected:
  /// As Argo Rollouts writes v1alpha1: quantities, which are strings in JSON.
  static json::array Backends(int canary) {
    return {json::object{{"service", "checkout-canary"}, {"weight", std::to_string(canary)}},
            json::object{{"service", "checkout"}, {"weight", std::to_string(100 - canary)}}};
  }
  void SetWeight(int canary) {
    admin_->Must(kubernetes::MergePatchRequest(Splits("v1alpha1"), {ns(), "checkout"},
                                               {{"spec", {{"backends", Backends(canary)}}}}));
  }

  /// From one version to the next, selectors and weights in that order, and the other way round.
  void RollOut(const std::string& from, const std::string& to, bool selector_first) {
    const auto change = [&](const std::string& service, int weight) {
      if (selector_first) Select(service, to);
      SetWeight(weight);
      if (!selector_first) Select(service, to);
    };
    kubelet_->HoldReadiness(true);
    RunVersion(to, 1);
    change("checkout-canary", 20);
    ASSERT_TRUE(WaitForPods(to, 1));
    ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{from, 100}})) << "no weight is spent on what is not ready";
    kubelet_->HoldReadiness(false);
    ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{from, 80}, {to, 20}}));
    Scale(to, 3);
    SetWeight(50);
    ASSERT_TRUE(WaitForPods(to, 3));
    ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{from, 50}, {to, 50}}));
    SetWeight(100);
    ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{to, 100}}));
    change("checkout", 0);  // the end: the Service that is divided changes its own endpoints
    ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{to, 100}}));
    Scale(from, 0);  // scaleDownDelaySeconds later
    ASSERT_TRUE(WaitForPods(from, 0));
    ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{to, 100}}));
  }

  SocketAddress vip_;
};

TEST_F(ArgoTest, SelectorsAndWeightsInEitherOrder) {
  RunVersion("aaaa1", 3);
  ServiceOf("checkout", "aaaa1");
  ServiceOf("checkout-canary", "aaaa1");
  vip_ = VipOf("checkout");
  PlayKubeProxy(vip_);
  ASSERT_NO_FATAL_FAILURE(StartAll());
  ASSERT_TRUE(WaitForPods("aaaa1", 3));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"proxy", 100}})) << "what nobody divides is kube-proxy's";
  // The rootService is the stable Service, unless somebody says otherwise.
  CreateSplit("v1alpha1", "checkout", Backends(0));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"aaaa1", 100}}));
  StartDialling(vip_);
  ASSERT_NO_FATAL_FAILURE(RollOut("aaaa1", "bbbb2", /*selector_first=*/true));
  ASSERT_NO_FATAL_FAILURE(RollOut("bbbb2", "cccc3", /*selector_first=*/false));
  // Abort: the weight goes, the canary's pods a while later.
  RunVersion("dddd4", 1);
  Select("checkout-canary", "dddd4");
  SetWeight(34);
  ASSERT_TRUE(WaitForPods("dddd4", 1));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"cccc3", 66}, {"dddd4", 34}}));
  SetWeight(0);
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"cccc3", 100}}));
  Scale("dddd4", 0);
  ASSERT_TRUE(WaitForPods("dddd4", 0));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"cccc3", 100}}));
  StopDialling();
}

class FlaggerTest : public SmiTest {
 protected:
  void SetWeight(int canary) {
    admin_->Must(kubernetes::MergePatchRequest(Splits("v1alpha2"), {ns(), "checkout"},
                                               {{"spec", {{"backends", Backends(canary)}}}}));
  }
  static json::array Backends(int canary) {
    return {json::object{{"service", "checkout-canary"}, {"weight", canary}},
            json::object{{"service", "checkout-primary"}, {"weight", 100 - canary}}};
  }
};

TEST_F(FlaggerTest, APromotionIsARollingUpdateOfThePrimary) {
  kubelet_->SetGrace(std::chrono::seconds(2));  // as applications end: they go on while nodes hear of it
  Deploy("checkout-primary", 3, "checkout:1");
  Deploy("checkout", 0, "checkout:1");
  Serve("checkout", "checkout-primary");
  Serve("checkout-primary", "checkout-primary");
  Serve("checkout-canary", "checkout");
  CreateSplit("v1alpha2", "checkout", Backends(0));
  const SocketAddress vip = VipOf("checkout");
  ASSERT_NO_FATAL_FAILURE(StartAll());
  const std::string old = HashOf("checkout-primary", "checkout:1", 3);
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip, {{old, 100}}));
  StartDialling(vip);

  Deploy("checkout", 1, "checkout:2");
  const std::string canary = HashOf("checkout", "checkout:2", 1);
  for (const int weight : {10, 50}) {
    SetWeight(weight);
    ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip, {{old, 100 - weight}, {canary, weight}}));
  }
  // Promotion: the primary gets the canary's template while half of the traffic goes there.
  Deploy("checkout-primary", 3, "checkout:2");
  const std::string promoted = HashOf("checkout-primary", "checkout:2", 3);
  ASSERT_TRUE(WaitForPods(old, 0));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip, {{promoted, 50}, {canary, 50}}));
  SetWeight(0);
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip, {{promoted, 100}}));
  Deploy("checkout", 0, "checkout:2");
  ASSERT_TRUE(WaitForPods(canary, 0));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip, {{promoted, 100}}));
  StopDialling();
}

class RefusalTest : public SmiTest {
 protected:
  static json::array One(const std::string& service) {
    return {json::object{{"service", service}, {"weight", 1}}};
  }
};

TEST_F(RefusalTest, ARolloutComesBeforeATrafficSplit) {
  ApplyCheckout(1, "[{setWeight: 50}, {pause: {}}]");
  Deploy("elsewhere", 1, "other:1");
  Serve("elsewhere", "elsewhere");
  CreateSplit("v1alpha4", "checkout", One("elsewhere"));
  ASSERT_NO_FATAL_FAILURE(StartAll());
  ASSERT_TRUE(WaitForRollout(".status.phase", "Healthy"));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(Vip(), {{RolloutField(".status.stableRevision"), 100}}));
  ASSERT_TRUE(WaitForEvent("TrafficSplit", "checkout", "Warning Refused: spec.service: found Service"));
  EXPECT_NE(Events("TrafficSplit", "checkout").find("which Rollout " + ns() + "/checkout divides already"),
            std::string::npos)
      << Events("TrafficSplit", "checkout");

  // When the Rollout goes it is the TrafficSplit's turn, without a gap.
  const std::string other = HashOf("elsewhere", "other:1", 1);
  StartDialling(Vip());
  plane().MustKubectl({"delete", "-n", ns(), "rollouts.weir.dev/checkout", "--timeout=60s"});
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(Vip(), {{other, 100}}));
  StopDialling();
}

TEST_F(RefusalTest, EveryRefusalIsAnEventOncePerReason) {
  CreateSplit("v1alpha4", "nowhere", One("nobody"), "unknown");
  plane().Apply(fmt::format(R"(
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {{name: matches, namespace: {0}}}
spec: {{service: a, matches: [{{kind: HTTPRouteGroup, name: g}}], backends: [{{service: b, weight: 1}}]}}
---
apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {{name: lost, namespace: {0}}}
spec: {{service: nowhere, revision: v1, strategy: {{canary: {{steps: [{{setWeight: 50}}]}}}}}}
---
apiVersion: weir.dev/v1alpha1
kind: AnalysisTemplate
metadata: {{name: broken, namespace: {0}}}
spec: {{metrics: [{{name: m, successCondition: "result[", provider: {{prometheus: {{address: "http://p:9090", query: up}}}}}}]}}
)",
                            ns()));
  ASSERT_NO_FATAL_FAILURE(StartAll());
  ASSERT_TRUE(
      WaitForEvent("TrafficSplit", "unknown", "Warning Refused: spec.service: found the unknown Service"));
  ASSERT_TRUE(WaitForEvent("TrafficSplit", "matches", "Warning Refused: "));
  EXPECT_NE(Events("TrafficSplit", "matches").find("spec.matches"), std::string::npos);
  ASSERT_TRUE(WaitForEvent("Rollout", "lost", "Warning Refused: spec.service: found the unknown Service"));

  ASSERT_TRUE(WaitForEvent("AnalysisTemplate", "broken", "spec.metrics[0].successCondition"));

  // Another reason is told as well; what happens elsewhere is no reason to tell the same again.
  plane().MustKubectl({"create", "service", "clusterip", "nowhere", "-n", ns(), "--clusterip=None"});
  ASSERT_TRUE(WaitForEvent("TrafficSplit", "unknown", "headless"));
  const std::string all = Events("TrafficSplit", "unknown");
  EXPECT_EQ(std::ranges::count(all, '\n'), 2) << all;
  EXPECT_EQ(
      plane().MustKubectl({"get", "events", "-n", ns(), "--field-selector",
                           "involvedObject.kind=TrafficSplit", "-o", "jsonpath={.items[*].series.count}"}),
      "")
      << "no event is repeated";
}

}  // namespace
}  // namespace weir::kubernetes_test
