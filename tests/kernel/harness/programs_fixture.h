// The programs as people run them: one weir-controller, weir-agents for two nodes, weirctl, and a Service
// "checkout" of two revisions. The agents run outside of the nodes whose clients they steer. Header only: the
// paths of the programs are the including test's.
#pragma once

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <memory>
#include <string>
#include <vector>

#include "tests/integration/process.h"
#include "tests/kernel/harness/fixture.h"
#include "tests/unit/common/test_certs.h"

namespace weir::kernel_test {

/// `fields`: further ones of each endpoint, each behind a comma.
inline std::string SliceYaml(const std::string& revision, const std::vector<SocketAddress>& endpoints,
                             const std::string& fields = "") {
  std::string list;
  for (const auto& endpoint : endpoints)
    list +=
        fmt::format("{}{{addresses: [{}]{}}}", list.empty() ? "" : ", ", endpoint.address.ToString(), fields);
  return fmt::format(R"(---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: checkout-{0}, namespace: shop, labels: {{kubernetes.io/service-name: checkout, weir.dev/revision: {0}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints: [{1}]
)",
                     revision, list);
}

inline std::string RolloutYaml(const std::string& revision) {
  return fmt::format(R"(---
apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {{name: checkout, namespace: shop}}
spec: {{service: checkout, revision: {}, strategy: {{canary: {{steps: [{{setWeight: 20}}, {{pause: {{}}}}]}}}}}}
)",
                     revision);
}

inline const char* const kServiceYaml = R"(---
apiVersion: v1
kind: Service
metadata: {name: checkout, namespace: shop}
spec: {clusterIP: 127.96.0.1, ports: [{name: http, port: 80}]}
)";
/// The same, with HTTP recognised.
inline const char* const kHttpServiceYaml = R"(---
apiVersion: v1
kind: Service
metadata: {name: checkout, namespace: shop}
spec: {clusterIP: 127.96.0.1, ports: [{name: http, port: 80, appProtocol: http}]}
)";

class ProgramsTest : public KernelTest {
 protected:
  void Prepare() override {
    for (auto& node : nodes_) node = std::make_unique<TestNode>();
    for (int v = 0; v < 2; ++v) servers_.AddTcp(Endpoint(v), v);
  }

  /// On the same state each time, and, from the second time on, on the same address.
  void StartController(std::vector<std::string> more = {}) {
    std::vector<std::string> command = {
        WEIR_CONTROLLER, "--state", files_.path() + "/state", "--listen", address_, "--http", "127.0.0.1:0"};
    command.insert(command.end(), more.begin(), more.end());
    controller_ = std::make_unique<Process>(command);
    address_ = controller_->WordAfter("grpc=");
    ASSERT_FALSE(address_.empty()) << controller_->seen;
  }
  /// `controller` empty: straight to the controller.
  std::unique_ptr<Process> StartAgent(int node, std::vector<std::string> more = {},
                                      const std::string& controller = "",
                                      const std::string& http = "127.0.0.1:0") {
    std::vector<std::string> command = {WEIR_AGENT,
                                        "--node-name",
                                        fmt::format("node-{}", node),
                                        "--cgroup",
                                        nodes_[node]->cgroup(),
                                        "--bpffs",
                                        nodes_[node]->bpffs(),
                                        "--controller",
                                        controller.empty() ? address_ : controller,
                                        "--http",
                                        http};
    command.insert(command.end(), more.begin(), more.end());
    auto agent = std::make_unique<Process>(command);
    EXPECT_FALSE(agent->WordAfter("http=").empty()) << agent->seen;
    return agent;
  }
  /// Where a controller or agent listens for HTTP.
  static uint16_t HttpPort(Process& program) {
    const std::string address = program.WordAfter("http=");
    return static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  }
  struct Outcome {
    int code;
    std::string output;
  };
  /// In the namespace shop.
  Outcome Weirctl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"env", "WEIR_NAMESPACE=shop", WEIRCTL, "--server", address_});
    arguments.insert(arguments.end(), weirctl_flags_.begin(), weirctl_flags_.end());
    Process process(arguments);
    const int code = process.Wait();
    return {code, process.seen};
  }
  void Must(const std::vector<std::string>& arguments) {
    const Outcome outcome = Weirctl(arguments);
    ASSERT_EQ(outcome.code, 0) << fmt::format("{}", fmt::join(arguments, " ")) << ": " << outcome.output;
  }
  /// What it prints with -o json; null, and a failure, where that is not JSON.
  boost::json::value Json(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"-o", "json"});
    const Outcome outcome = Weirctl(arguments);
    boost::json::error_code error;
    boost::json::value value = boost::json::parse(outcome.output, error);
    EXPECT_TRUE(outcome.code == 0 && !error)
        << fmt::format("{}", fmt::join(arguments, " ")) << ": " << outcome.output;
    return value;
  }
  boost::json::value Rollout() { return Json({"get", "rollouts", "checkout"}); }
  void Apply(const std::string& yaml) { Must({"apply", "-f", files_.Write("apply.yaml", yaml)}); }
  void ApplyCheckout() {
    Apply(kServiceYaml + SliceYaml("v1", {Endpoint(0)}) + SliceYaml("v2", {Endpoint(1)}) + RolloutYaml("v1"));
  }
  void SetWeight(int weight) { Must({"set-weight", "-n", "shop", "checkout", std::to_string(weight)}); }

  /// Follows `weirctl get rollouts -w -o json` until a line holds all of these texts.
  ::testing::AssertionResult WaitForRollout(const std::vector<std::string>& texts) {
    if (watch_ == nullptr) {
      std::vector<std::string> command = {WEIRCTL, "--server", address_, "get", "rollouts", "-n",
                                          "shop",  "checkout", "-w",     "-o",  "json"};
      command.insert(command.end(), weirctl_flags_.begin(), weirctl_flags_.end());
      watch_ = std::make_unique<Process>(command);
    }
    const auto holds = [](const std::string& line) {
      return [&line](const std::string& text) { return line.find(text) != std::string::npos; };
    };
    while (!std::all_of(texts.begin(), texts.end(), holds(line_))) {
      size_t end = 0;
      while ((end = watch_->seen.find('\n')) == std::string::npos) {
        if (!watch_->ReadMore())
          return ::testing::AssertionFailure() << "the watch ended; last line: " << line_;
      }
      line_ = watch_->seen.substr(0, end);
      watch_->seen.erase(0, end + 1);
    }
    return ::testing::AssertionSuccess();
  }
  /// All agents that count hold the canary's weight.
  ::testing::AssertionResult WaitAcked(int weight, int nodes) {
    return WaitForRollout({fmt::format("\"canaryWeight\":{},", weight),
                           fmt::format("\"nodesDesired\":{},", nodes),
                           fmt::format("\"nodesAcked\":{},", nodes)});
  }

  const SocketAddress vip_ = Address("127.96.0.1", 80);
  const TempDir files_;
  Servers servers_;
  std::array<std::unique_ptr<TestNode>, 2> nodes_;
  std::vector<std::string> weirctl_flags_;
  std::string address_ = "127.0.0.1:0";  // any port, until the controller has one
  std::unique_ptr<Process> controller_, watch_;
  std::array<std::unique_ptr<Process>, 2> agents_;
  std::string line_;  // the newest one of the watch
};

}  // namespace weir::kernel_test
