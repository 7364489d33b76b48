// The harness itself, with a controller manager: what tests of Deployments build upon.
#include <chrono>
#include <thread>

#include "tests/kubernetes/harness/fixture.h"

namespace weir::kubernetes_test {
namespace {

class HarnessTest : public KubernetesTest {
 protected:
  static void SetUpTestSuite() {
    ControlPlaneOptions options;
    options.controller_manager = true;
    StartWith(options);
  }
  /// kubectl's output until it is that; the last one after half a minute.
  std::string WaitFor(const std::vector<std::string>& arguments, const std::string& expected) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    std::string last;
    while (std::chrono::steady_clock::now() < deadline && last != expected) {
      last = plane().Kubectl(arguments).text;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return last;
  }
};

TEST_F(HarnessTest, ADeploymentMakesPodsThatRunNowhere) {
  plane().Apply(fmt::format(R"(
apiVersion: apps/v1
kind: Deployment
metadata: {{name: checkout, namespace: {}}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: checkout}}}}
  template: {{metadata: {{labels: {{app: checkout}}}}, spec: {{containers: [{{name: a, image: a}}]}}}}
)",
                            ns()));
  const std::vector<std::string> phases = {"get", "pods", "-n",
                                           ns(),  "-o",   "jsonpath={.items[*].status.phase}"};
  EXPECT_EQ(WaitFor(phases, "Pending Pending Pending"), "Pending Pending Pending");
  plane().KillControllerManager();
  plane().MustKubectl({"scale", "deployment", "checkout", "-n", ns(), "--replicas=1"});
  const Status started = plane().StartControllerManager();
  ASSERT_TRUE(started.ok()) << started;
  EXPECT_EQ(WaitFor(phases, "Pending"), "Pending");
}

TEST_F(HarnessTest, TheDataOutlivesEveryProcess) {
  plane().MustKubectl({"create", "configmap", "a", "-n", ns()});
  plane().KillApiServer();
  plane().KillEtcd();
  const Status etcd = plane().StartEtcd();
  ASSERT_TRUE(etcd.ok()) << etcd;
  const Status api_server = plane().StartApiServer();
  ASSERT_TRUE(api_server.ok()) << api_server;
  EXPECT_EQ(plane().MustKubectl({"get", "configmap", "a", "-n", ns(), "-o", "name"}), "configmap/a\n");
}

}  // namespace
}  // namespace weir::kubernetes_test
