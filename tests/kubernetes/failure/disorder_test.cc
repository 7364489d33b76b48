// A cluster in which things do not come in order: watches that expired, others who write the same objects,
// Rollouts that cannot be, CRDs that come last.
#include "tests/kubernetes/failure/failure_fixture.h"
#include "tests/kubernetes/harness/admin.h"

namespace weir::kubernetes_test {
namespace {

namespace json = boost::json;
constexpr char kSteps[] = "[{setWeight: 20}, {pause: {}}, {setWeight: 50}, {pause: {}}]";

class DisorderTest : public FailureTest {
 protected:
  static std::string Condition(const std::string& field) {
    return ".status.conditions[?(@.type==\"Accepted\")]." + field;
  }
  ::testing::AssertionResult WaitForField(const std::string& object, const std::string& path,
                                          const std::string& part) {
    return Eventually([&] { return Get(object, path).find(part) != std::string::npos; },
                      [&] { return Get(object, ".status"); });
  }
  void ApplyRollout(const std::string& name, const std::string& service, const std::string& deployment) {
    plane().Apply(fmt::format(R"(
apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {{name: {}, namespace: {}}}
spec:
  service: {}
  workloadRef: {{apiVersion: apps/v1, kind: Deployment, name: {}}}
  strategy: {{canary: {{steps: [{{setWeight: 20}}, {{pause: {{}}}}]}}}}
)",
                              name, ns(), service, deployment));
  }
};

TEST_F(DisorderTest, WatchesThatExpired) {
  ASSERT_NO_FATAL_FAILURE(BeginPausedAt(20, 4, kSteps));
  const std::string generation = RolloutField(".status.generation");
  Dial();
  // What watches would go on from is gone: a newer version, a compaction, an API server that remembers
  // nothing.
  plane().MustKubectl({"annotate", "-n", ns(), "service/checkout", "touched=once"});
  ASSERT_TRUE(plane().CompactEtcd().ok());
  plane().KillApiServer();
  ASSERT_TRUE(plane().StartApiServer().ok());
  plane().KillControllerManager();
  ASSERT_TRUE(plane().StartControllerManager().ok());
  ASSERT_TRUE(WaitForAgents(0));
  ExpectDialed(20);
  EXPECT_EQ(RolloutField(".status.generation"), generation) << "nothing was there to be changed";
  fmt::print("[ measured ] lists anew because of 410: {}\n", Times(Log("controller"), "410"));

  // Changes of every followed kind still arrive: replicas, pods, slices, the Rollout itself.
  plane().MustKubectl({"scale", "-n", ns(), "deployment/checkout", "--replicas=5"});
  ASSERT_TRUE(WaitForRollout(".status.workload.replicas", "5"));
  Weirctl({"promote", "checkout"});
  ASSERT_NO_FATAL_FAILURE(WaitPausedAt(50));
  ExpectSplit(50);
  ASSERT_NO_FATAL_FAILURE(ExpectPromotes(0));
}

TEST_F(DisorderTest, SomebodyElseWritesAllTheTime) {
  ASSERT_NO_FATAL_FAILURE(Begin(4, kSteps));
  std::atomic<bool> stop{false};
  std::atomic<int> written{0};
  std::thread other([&] {
    Admin admin(plane());
    for (int i = 0; !stop; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));  // else the Deployment controller starves
      for (const auto& resource : {kubernetes::Resource{"apps", "v1", "deployments"},
                                   kubernetes::Resource{"weir.dev", "v1alpha1", "rollouts"}}) {
        const json::object patch{{"metadata", {{"annotations", {{"example.com/tick", std::to_string(i)}}}}}};
        kubernetes::WriteOptions options;
        options.field_manager = "somebody-else";
        if (admin.Call(kubernetes::MergePatchRequest(resource, {ns(), "checkout"}, patch, options)).ok())
          ++written;
      }
    }
  });
  const auto begun = Clock::now();
  const auto roll_out = [&] {
    SetImage("checkout:2");
    ASSERT_NO_FATAL_FAILURE(WaitPausedAt(20));
    canary_ = RolloutField(".status.canaryRevision");
    ExpectSplit(20);
    Weirctl({"promote", "checkout"});
    ASSERT_NO_FATAL_FAILURE(WaitPausedAt(50));
    ExpectSplit(50);
    ASSERT_NO_FATAL_FAILURE(ExpectPromotes(0));
  };
  roll_out();
  const double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  stop = true;
  other.join();
  fmt::print("[ measured ] {} writes of somebody else in {:.1f} s\n", written.load(), seconds);
  EXPECT_GT(written, 0);
  ExpectNothingForbidden();
}

TEST_F(DisorderTest, RolloutsThatCannotBe) {
  ASSERT_NO_FATAL_FAILURE(Begin(2, kSteps));
  ApplyRollout("nowhere", "missing", "missing");
  ApplyRollout("second", "checkout", "checkout");
  ASSERT_TRUE(WaitForField("rollouts.weir.dev/nowhere", Condition("message"), "missing"));
  ASSERT_TRUE(WaitForField("rollouts.weir.dev/second", Condition("status"), "False"));
  ASSERT_TRUE(WaitForField("rollouts.weir.dev/second", Condition("message"), "checkout"));
  fmt::print("[ said ] {}\n[ said ] {}\n", Get("rollouts.weir.dev/nowhere", Condition("message")),
             Get("rollouts.weir.dev/second", Condition("message")));

  // They hold nobody up.
  SetImage("checkout:2");
  ASSERT_NO_FATAL_FAILURE(WaitPausedAt(20));
  canary_ = RolloutField(".status.canaryRevision");
  ExpectSplit(20);
  Weirctl({"promote", "checkout"});
  ASSERT_NO_FATAL_FAILURE(WaitPausedAt(50));
  ASSERT_NO_FATAL_FAILURE(ExpectPromotes(0));

  // The reasons go, and they work.
  plane().MustKubectl({"delete", "-n", ns(), "rollouts.weir.dev/checkout", "--timeout=30s"});
  ASSERT_TRUE(WaitForField("rollouts.weir.dev/second", Condition("status"), "True"));
  ASSERT_TRUE(WaitForField("rollouts.weir.dev/second", ".status.phase", "Healthy"));
  ASSERT_TRUE(WaitForField("deployment/checkout", ".metadata.annotations.weir\\.dev/rollout", "second"));
  plane().Apply(fmt::format(R"(
apiVersion: apps/v1
kind: Deployment
metadata: {{name: missing, namespace: {0}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: missing}}}}
  template:
    metadata: {{labels: {{app: missing}}}}
    spec: {{containers: [{{name: web, image: "missing:1"}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: missing, namespace: {0}}}
spec: {{selector: {{app: missing}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
)",
                            ns()));
  ASSERT_TRUE(WaitForField("rollouts.weir.dev/nowhere", Condition("status"), "True"));
  ASSERT_TRUE(WaitForField("rollouts.weir.dev/nowhere", ".status.phase", "Healthy"));
  plane().MustKubectl({"delete", "-n", ns(), "rollouts.weir.dev", "--all", "--timeout=30s"});
  ExpectNothingForbidden();
}

TEST_F(DisorderTest, ItsOwnCrdsComeLast) {
  plane().MustKubectl({"delete", "-k", WEIR_DEPLOY "/crds", "--timeout=30s"});
  StartReplica(0);
  ASSERT_TRUE(Eventually([&] { return Log("controller").find("install Weir's CRDs") != std::string::npos; },
                         [&] { return Log("controller"); }));
  const auto installed = Clock::now();
  plane().MustKubectl({"apply", "-k", WEIR_DEPLOY "/crds"});
  plane().AwaitCrds({"rollouts.weir.dev"});
  ApplyCheckout(2, kSteps);
  PlayService();
  StartAgents(service_->address());
  ASSERT_TRUE(WaitForRollout(".status.phase", "Healthy"));
  ASSERT_TRUE(WaitForRollout(".status.nodes.acked", "2"));
  fmt::print("[ measured ] CRDs installed to a Rollout at work: {:.1f} s\n",
             std::chrono::duration<double>(Clock::now() - installed).count());
  ExpectNothingForbidden();
}

}  // namespace
}  // namespace weir::kubernetes_test
