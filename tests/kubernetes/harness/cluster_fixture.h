// A cluster in the small: a real control plane, pods that are real servers, Weir's controller as its service
// account may run it, agents on two nodes whose clients dial the Service's clusterIP. Header only: the paths
// of the programs are the including test's.
#pragma once

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/kernel/harness/fixture.h"
#include "tests/kubernetes/harness/fixture.h"
#include "tests/kubernetes/harness/played_kubelet.h"

namespace weir::kubernetes_test {

using kernel_test::Address;
using kernel_test::FetchMany;

using kernel_test::TestNode;

class ClusterTest : public KubernetesTest {
 protected:
  static constexpr uint16_t kPodPort = 8080;

  static void SetUpTestSuite() {
    ControlPlaneOptions options;
    options.controller_manager = true;
    options.controllers =
        "deployment-controller,replicaset-controller,endpointslice-controller,garbage-collector-controller,"
        "serviceaccount-controller,serviceaccount-token-controller,namespace-controller";
    StartWith(options);
  }

  void SetUp() override {
    if (!kernel_test::TheSandbox().skip_reason.empty()) GTEST_SKIP() << kernel_test::TheSandbox().skip_reason;
    KubernetesTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    plane().MustKubectl({"apply", "-k", WEIR_DEPLOY "/crds"});
    plane().AwaitCrds({"rollouts.weir.dev", "webhooks.weir.dev", "analysistemplates.weir.dev"});
    // The shipped roles, and nothing else of the installation.
    const auto rendered = plane().MustKubectl({"kustomize", WEIR_DEPLOY "/base"});
    plane().MustKubectl({"apply", "-f", WEIR_DEPLOY "/base/namespace.yaml"});
    plane().MustKubectl({"apply", "-n", "weir-system", "-f", WEIR_DEPLOY "/base/controller-account.yaml"});
    kubelet_ = std::make_unique<PlayedKubelet>(plane(), servers_, ns(), kPodPort);
    for (auto& node : nodes_) node = std::make_unique<TestNode>();
  }
  void TearDown() override {
    for (auto& agent : agents_) agent.reset();
    controllers_ = {};
    if (HasFailure()) ShowLogs();
    if (!IsSkipped()) {
      plane().Kubectl({"delete", "rollouts.weir.dev", "--all", "-n", ns(), "--wait=false"});
      plane().Kubectl({"patch", "rollouts.weir.dev", "checkout", "-n", ns(), "--type=merge", "-p",
                       R"({"metadata":{"finalizers":null}})"});
      plane().Kubectl({"delete", "namespace", ns(), "--wait=false"});
      plane().Kubectl({"delete", "-n", "weir-system", "configmaps,leases", "--all"});
    }
  }

  // ---- programs

  void StartController(size_t replica = 0, std::vector<std::string> more = {}) {
    if (kubeconfig_.empty()) {
      const auto kubeconfig = plane().KubeconfigOf("weir-system", "weir-controller");
      ASSERT_TRUE(kubeconfig.ok()) << kubeconfig.status();
      kubeconfig_ = *kubeconfig;
    }
    std::vector<std::string> command = {WEIR_CONTROLLER, "--kubernetes", "--kubeconfig",
                                        kubeconfig_,     "--listen",     ListenAddress(replica),
                                        "--http",        "127.0.0.1:0",  "--pod-namespace",
                                        "weir-system",   "--log-level",  "info"};
    command.insert(command.end(), more.begin(), more.end());
    if (std::ranges::find(more, "--heartbeat-ms") == more.end())
      command.insert(command.end(), {"--heartbeat-ms", "500"});
    controllers_[replica] = Launch(command, fmt::format("controller-{}.log", replica));
  }
  static std::string ListenAddress(size_t replica) { return fmt::format("127.0.9.{}:7400", replica + 1); }

  /// Its standard error in a file: nobody reads the pipe.
  std::unique_ptr<Process> Launch(const std::vector<std::string>& command, const std::string& log) {
    logs_.push_back(fmt::format("{}/{}-{}", plane().folder(), ns(), log));
    std::vector<std::string> wrapped = {"sh", "-c", "exec \"$@\" 2>>" + logs_.back(), "sh"};
    wrapped.insert(wrapped.end(), command.begin(), command.end());
    return std::make_unique<Process>(wrapped);
  }
  void ShowLogs() {
    for (const std::string& log : logs_) {
      Process tail({"tail", "-n", "40", log});
      tail.Wait();
      std::fprintf(stderr, "--- %s\n%s", log.c_str(), tail.seen.c_str());
    }
  }

  void StartAgents(const std::string& controller = ListenAddress(0)) {
    for (size_t node = 0; node < nodes_.size(); ++node) {
      agents_[node] =
          Launch({WEIR_AGENT, "--node-name", fmt::format("node-{}", node), "--cgroup", nodes_[node]->cgroup(),
                  "--bpffs", nodes_[node]->bpffs(), "--controller", controller, "--http", "127.0.0.1:0"},
                 fmt::format("agent-{}.log", node));
      ASSERT_FALSE(agents_[node]->WordAfter("http=").empty()) << agents_[node]->seen;
    }
  }

  std::string Weirctl(std::vector<std::string> arguments, size_t replica = 0) {
    arguments.insert(arguments.begin(), {WEIRCTL, "--server", ListenAddress(replica), "-n", ns()});
    Process process(arguments);
    const int code = process.Wait();
    EXPECT_EQ(code, 0) << fmt::format("{}", fmt::join(arguments, " ")) << ": " << process.seen;
    return process.seen;
  }

  // ---- what there is in the cluster

  void ApplyCheckout(int replicas, const std::string& steps, const std::string& more = "") {
    plane().Apply(fmt::format(R"(
apiVersion: apps/v1
kind: Deployment
metadata: {{name: checkout, namespace: {0}}}
spec:
  replicas: {1}
  selector: {{matchLabels: {{app: checkout}}}}
  template:
    metadata: {{labels: {{app: checkout}}}}
    spec: {{containers: [{{name: web, image: "checkout:1", ports: [{{containerPort: 8080}}]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: checkout, namespace: {0}}}
spec: {{selector: {{app: checkout}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {{name: checkout, namespace: {0}}}
spec:
  service: checkout
  workloadRef: {{apiVersion: apps/v1, kind: Deployment, name: checkout}}{3}
  strategy: {{{2}}}
)",
                              ns(), replicas,
                              strategy_.empty()
                                  ? fmt::format("canary: {{scaleDownDelaySeconds: 30, steps: {}}}", steps)
                                  : strategy_,
                              more));
  }
  void SetImage(const std::string& image) {
    plane().MustKubectl({"set", "image", "-n", ns(), "deployment/checkout", "web=" + image});
  }
  /// A field of an object, by JSONPath.
  std::string Get(const std::string& object, const std::string& path) {
    auto output = plane().Kubectl({"get", "-n", ns(), object, "-o", "jsonpath={" + path + "}"});
    return output.code == 0 ? output.text : "";
  }
  std::string RolloutField(const std::string& path) { return Get("rollouts.weir.dev/checkout", path); }

  /// Asks again until it holds, for a minute.
  ::testing::AssertionResult Eventually(const std::function<bool()>& holds,
                                        const std::function<std::string()>& found) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < deadline) {
      if (holds()) return ::testing::AssertionSuccess();
      std::this_thread::sleep_for(
          std::chrono::milliseconds(100));  // between two questions to another process
    }
    return ::testing::AssertionFailure() << "found: " << found();
  }
  ::testing::AssertionResult WaitForRollout(const std::string& path, const std::string& value) {
    return Eventually([&] { return RolloutField(path) == value; },
                      [&] {
                        return RolloutField(".status.phase") + " " + RolloutField(path) + "; " +
                               RolloutField(".status.message");
                      });
  }
  ::testing::AssertionResult WaitForMessage(const std::string& part) {
    return Eventually([&] { return RolloutField(".status.message").find(part) != std::string::npos; },
                      [&] { return RolloutField(".status.message"); });
  }

  // ---- what clients see

  SocketAddress Vip(const std::string& service = "checkout") {
    return Address(Get("service/" + service, ".spec.clusterIP"), 80);
  }
  /// Connections of one node's clients, by the id of the revision that answered.
  std::map<uint8_t, int> Divide(size_t node, const SocketAddress& vip, int connections) {
    const auto ids = nodes_[node]->Run([&] { return FetchMany(vip, connections); });
    EXPECT_TRUE(ids.ok()) << ids.status();
    std::map<uint8_t, int> counts;
    for (const char id : ids.value_or("")) ++counts[static_cast<uint8_t>(id)];
    return counts;
  }

  kernel_test::Servers servers_;
  std::unique_ptr<PlayedKubelet> kubelet_;
  std::array<std::unique_ptr<TestNode>, 2> nodes_;
  std::array<std::unique_ptr<Process>, 2> controllers_, agents_;
  std::string strategy_;  // of the Rollout; empty: canary
  std::string kubeconfig_;
  std::vector<std::string> logs_;
};

}  // namespace weir::kubernetes_test
