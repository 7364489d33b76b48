// Services that others divide, in the cluster of harness/cluster_fixture.h: versions are ReplicaSets as Argo
// Rollouts makes them, clients dial without a pause, and kube-proxy is played, so that it shows who serves a
// clusterIP. Header only.
#pragma once

#include <boost/json.hpp>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "controller/kubernetes/client/client.h"
#include "tests/kernel/harness/client.h"
#include "tests/kubernetes/harness/admin.h"
#include "tests/kubernetes/harness/cluster_fixture.h"

namespace weir::kubernetes_test {

namespace json = boost::json;
using kubernetes::Resource;
using Counts = std::map<uint8_t, int>;

inline const Resource kServices{"", "v1", "services"};
inline const Resource kReplicaSets{"apps", "v1", "replicasets"};

/// A client of one node that dials again and again, each time a new connection.
class Dialer {
 public:
  Dialer(TestNode& node, const SocketAddress& to)
      : process_(node.cgroup(), [state = state_.get(), to] { return Run(*state, to); }) {}
  ~Dialer() { state_->wish = kStop; }

  /// Between two connections; returns when it is there.
  void Pause() {
    state_->wish = kPause;
    while (!state_->parked) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  void Resume() {
    state_->parked = false;
    state_->wish = kDial;
  }
  uint64_t dialled() const { return state_->dialled; }
  /// Ends it. What went wrong first, and how often something did; empty: nothing.
  std::string Stop() {
    state_->wish = kStop;
    auto outcome = process_.Wait();
    return outcome.ok() ? *outcome : Message(outcome.status());
  }

 private:
  enum Wish : int { kDial, kPause, kStop };
  struct State {
    std::atomic<int> wish{kDial};
    std::atomic<bool> parked{false};
    std::atomic<uint64_t> dialled{0}, failed{0};
  };

  static Result<std::string> Run(State& state, const SocketAddress& to) {
    std::string first;
    while (state.wish != kStop) {
      if (state.wish == kPause) {
        state.parked = true;
      } else {
        const auto id = kernel_test::Fetch(to);
        ++state.dialled;
        if (!id.ok() && state.failed++ == 0)
          first = fmt::format("connection {}: {}", state.dialled.load(), Message(id.status()));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));  // the pace of a client
    }
    state.parked = true;
    return first.empty()
               ? first
               : fmt::format("{} of {} failed; {}", state.failed.load(), state.dialled.load(), first);
  }

  kernel_test::Shared<State> state_;
  kernel_test::ClientProcess process_;
};

class DrivenTest : public ClusterTest {
 protected:
  /// What answers where nobody rewrites a clusterIP.
  static constexpr uint8_t kProxy = 250;

  void SetUp() override {
    ClusterTest::SetUp();
    if (!IsSkipped() && !HasFatalFailure()) admin_ = std::make_unique<Admin>(plane());
  }
  void TearDown() override {
    dialers_.clear();
    admin_.reset();
    ClusterTest::TearDown();
  }

  void InstallSmi() {
    plane().MustKubectl({"apply", "-f", WEIR_DRIVEN "/trafficsplit_crd.yaml"});
    plane().AwaitCrds({"trafficsplits.split.smi-spec.io"});
  }
  /// The real CRDs of Gateway API's routes; false: they are not there, and the test is skipped.
  bool InstallGatewayApi(const std::vector<std::string>& kinds = {"httproutes", "grpcroutes", "tcproutes",
                                                                  "referencegrants"}) {
    Process where({WEIR_TOOLS_BUILD, "--where"});
    if (where.Wait() != 0) {
      const bool required = std::getenv("WEIR_REQUIRE_KUBERNETES") != nullptr;
      EXPECT_FALSE(required) << "found no CRDs of Gateway API; run " WEIR_TOOLS_BUILD;
      return false;
    }
    const std::string folder = where.seen.substr(0, where.seen.find('\n')) + "/crds/gateway-api/";
    for (const std::string& kind : kinds) {
      plane().MustKubectl(
          {"apply", "--server-side", "-f", folder + "gateway.networking.k8s.io_" + kind + ".yaml"});
    }
    std::vector<std::string> names = kinds;
    for (std::string& name : names) name += ".gateway.networking.k8s.io";
    plane().AwaitCrds(names);
    return true;
  }

  void StartAll() {
    StartController(0, {"--look-for-kinds-ms", "1000"});
    ASSERT_FALSE(controllers_[0]->WordAfter("grpc=").empty()) << controllers_[0]->seen;
    StartAgents();
  }

  // ---- what there is

  /// A version of the application: its pods bear the hash as Argo Rollouts labels them.
  void RunVersion(const std::string& hash, int replicas) {
    plane().Apply(fmt::format(R"(
apiVersion: apps/v1
kind: ReplicaSet
metadata: {{name: checkout-{1}, namespace: {0}, labels: {{app: checkout}}}}
spec:
  replicas: {2}
  selector: {{matchLabels: {{app: checkout, rollouts-pod-template-hash: {1}}}}}
  template:
    metadata: {{labels: {{app: checkout, rollouts-pod-template-hash: {1}}}}}
    spec: {{containers: [{{name: web, image: "checkout:{1}", ports: [{{containerPort: 8080}}]}}]}}
)",
                              ns(), hash, replicas));
  }
  void Scale(const std::string& hash, int replicas) {
    admin_->Must(kubernetes::MergePatchRequest(kReplicaSets, {ns(), "checkout-" + hash},
                                               {{"spec", {{"replicas", replicas}}}}));
  }
  ::testing::AssertionResult WaitForPods(const std::string& hash, size_t pods) {
    return Eventually([&] { return kubelet_->Pods(hash) == pods; },
                      [&] { return fmt::format("{} pods of {}", kubelet_->Pods(hash), hash); });
  }
  /// A Service whose endpoints are the pods of one version.
  void ServiceOf(const std::string& name, const std::string& hash) {
    plane().Apply(fmt::format(R"(
apiVersion: v1
kind: Service
metadata: {{name: {1}, namespace: {0}}}
spec: {{selector: {{app: checkout, rollouts-pod-template-hash: {2}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
)",
                              ns(), name, hash));
  }
  void Select(const std::string& service, const std::string& hash) {
    admin_->Must(kubernetes::MergePatchRequest(
        kServices, {ns(), service}, {{"spec", {{"selector", {{"rollouts-pod-template-hash", hash}}}}}}));
  }
  SocketAddress VipOf(const std::string& service) {
    const json::value object = admin_->Must(kubernetes::GetRequest(kServices, {ns(), service}));
    return Address(std::string(kubernetes::Text(object, {"spec", "clusterIP"})), 80);
  }
  /// Answers at the address as kube-proxy would, whose endpoints do not matter here.
  void PlayKubeProxy(const SocketAddress& vip) {
    Process({"ip", "address", "replace", vip.address.ToString() + "/32", "dev", "lo"}).Wait();
    servers_.AddTcp(vip, kProxy);
  }

  // ---- clients

  void StartDialling(const SocketAddress& to) {
    for (auto& node : nodes_) dialers_.push_back(std::make_unique<Dialer>(*node, to));
  }
  /// None of their connections may have failed.
  void StopDialling() {
    for (auto& dialer : dialers_) {
      EXPECT_EQ(dialer->Stop(), "");
      EXPECT_GT(dialer->dialled(), 20U);
    }
    dialers_.clear();
  }

  /// Clients dial on for a while, through whatever has just been changed.
  void DialOn() {
    for (auto& dialer : dialers_) {
      const uint64_t from = dialer->dialled();
      ASSERT_TRUE(Eventually([&] { return dialer->dialled() >= from + 50; }, [] { return "nobody dials"; }));
    }
  }
  /// Waits until a hundred connections of each node are divided like that, then nothing else may follow.
  void ExpectSplit(const SocketAddress& vip, const std::map<std::string, int>& by_version) {
    Counts wanted;
    for (const auto& [hash, count] : by_version)
      if (count > 0) wanted[hash == "proxy" ? kProxy : kubelet_->IdOf(hash)] = count;
    Counts found;
    for (size_t node : {0U, 1U}) {
      // A client may find nobody while nothing is divided yet: counted as 255.
      const auto divided = [&] {
        DialOn();
        for (auto& dialer : dialers_) dialer->Pause();
        found = Try(node, vip);
        const bool holds = found == wanted && Try(node, vip) == wanted;
        for (auto& dialer : dialers_) dialer->Resume();
        return holds;
      };
      ASSERT_TRUE(Eventually(divided, [&] { return Show(found); })) << "wanted: " << Show(wanted);
    }
    for (auto& dialer : dialers_) dialer->Pause();
    for (size_t node : {0U, 1U}) EXPECT_EQ(Try(node, vip), wanted);
    for (auto& dialer : dialers_) dialer->Resume();
  }
  Counts Try(size_t node, const SocketAddress& vip) {
    const auto ids = nodes_[node]->Run([&]() -> Result<std::string> {
      std::string seen;
      for (int i = 0; i < 100; ++i) seen += static_cast<char>(kernel_test::Fetch(vip).value_or(255));
      return seen;
    });
    EXPECT_TRUE(ids.ok()) << ids.status();
    Counts counts;
    for (const char id : ids.value_or("")) ++counts[static_cast<uint8_t>(id)];
    return counts;
  }
  static std::string Show(const Counts& counts) {
    std::string text;
    for (const auto& [id, count] : counts) text += fmt::format("{}x{} ", count, id);
    return text;
  }

  // ---- what people see

  /// "Warning Refused: ..." of each event about the object, one line each.
  std::string Events(const std::string& kind, const std::string& name) {
    return plane().MustKubectl({"get", "events", "-n", ns(), "--field-selector",
                                "involvedObject.kind=" + kind + ",involvedObject.name=" + name, "-o",
                                R"(jsonpath={range .items[*]}{.type} {.reason}: {.message}{"\n"}{end})"});
  }
  ::testing::AssertionResult WaitForEvent(const std::string& kind, const std::string& name,
                                          const std::string& part) {
    return Eventually([&] { return Events(kind, name).find(part) != std::string::npos; },
                      [&] { return Events(kind, name); });
  }

  std::unique_ptr<Admin> admin_;
  std::vector<std::unique_ptr<Dialer>> dialers_;
};

}  // namespace weir::kubernetes_test
