// Consumer routes (Gateway API, GEP-1294): a route of another namespace than its Service's divides it for
// clients of its own namespace alone. Client pods have a network namespace and a cgroup as a kubelet makes
// them, named by the UID that the API server gave the pod.
#include <sched.h>

#include <array>
#include <filesystem>
#include <set>
#include <sstream>

#include "tests/kernel/harness/sandbox.h"
#include "tests/kubernetes/driven/routes_fixture.h"

namespace weir::kubernetes_test {
namespace {

const Resource kPods{"", "v1", "pods"};

/// As the node has it. The servers of the cluster's pods are reachable from its network namespace.
class ClientPod {
 public:
  ClientPod(const TestNode& node, std::string uid)
      : kubepods_(EnsureCgroup(node.cgroup(), "kubepods.slice")),
        burstable_(EnsureCgroup(kubepods_, "kubepods-burstable.slice")),
        pod_(burstable_, NameOf(std::move(uid))),
        container_(pod_.path(), "cri-containerd-1.scope") {
    kernel_test::RunInNamespace(netns_.fd(), [] {
      Process({"ip", "address", "replace", "10.244.0.1/16", "dev", "lo"}).Wait();
    });
  }
  int netns() const { return netns_.fd(); }

  Counts Dial(const SocketAddress& vip, int times) const {
    const auto ids = kernel_test::RunIn(container_.path(), [&]() -> Result<std::string> {
      if (setns(netns_.fd(), CLONE_NEWNET) != 0) return ErrnoStatus(errno, "setns");
      std::string seen;
      for (int i = 0; i < times; ++i) seen += static_cast<char>(kernel_test::Fetch(vip).value_or(255));
      return seen;
    });
    EXPECT_TRUE(ids.ok()) << ids.status();
    Counts counts;
    for (const char id : ids.value_or("")) ++counts[static_cast<uint8_t>(id)];
    return counts;
  }
  /// A connection that stays open until told: what the server sends on it then, or the error.
  std::unique_ptr<kernel_test::ClientProcess> Hold(const SocketAddress& vip, std::atomic<int>& state) const {
    return std::make_unique<kernel_test::ClientProcess>(
        container_.path(), [this, vip, &state]() -> Result<std::string> {
          if (setns(netns_.fd(), CLONE_NEWNET) != 0) return ErrnoStatus(errno, "setns");
          kernel_test::Socket socket = kernel_test::Socket::Open(AF_INET, SOCK_STREAM);
          if (const int error = socket.Connect(vip); error != 0) return ErrnoStatus(error, "connect");
          state = 1;
          while (state != 2)
            std::this_thread::sleep_for(std::chrono::milliseconds(5));  // another process says so
          int error = 0;
          socklen_t length = sizeof error;
          getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &length);
          return std::string(error == 0 ? "open" : std::strerror(error));
        });
  }

 private:
  static std::string EnsureCgroup(const std::string& parent, const std::string& name) {
    std::filesystem::create_directory(parent + "/" + name);
    return parent + "/" + name;
  }
  static std::string NameOf(std::string uid) {
    std::ranges::replace(uid, '-', '_');
    return "kubepods-burstable-pod" + uid + ".slice";
  }

  const std::string kubepods_, burstable_;
  kernel_test::Cgroup pod_, container_;
  kernel_test::NetNamespace netns_;
};

class ConsumerTest : public RouteTest {
 protected:
  void SetUp() override {
    RouteTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    lab_ = ns().substr(0, 50) + "-lab";
    plane().MustKubectl({"create", "namespace", lab_});
  }
  void TearDown() override {
    pods_.clear();
    if (!IsSkipped()) plane().Kubectl({"delete", "namespace", lab_, "--wait=false"});
    RouteTest::TearDown();
  }

  /// What the API server has of a pod on that node, which does not run yet: its UID.
  std::string Schedule(const std::string& in, const std::string& name, size_t node) {
    const json::value pod = admin_->Must(kubernetes::CreateRequest(
        kPods, in,
        {{"metadata", {{"name", name}}},
         {"spec",
          {{"nodeName", fmt::format("node-{}", node)},
           {"automountServiceAccountToken", false},
           {"containers", json::array{json::object{{"name", "client"}, {"image", "client:1"}}}}}}}));
    return std::string(kubernetes::Text(pod, {"metadata", "uid"}));
  }
  /// The kubelet has made it; it reaches the pods of these versions.
  ClientPod& Run(size_t node, const std::string& uid,
                 const std::vector<std::string>& versions = {"aaaa1", "bbbb2"},
                 const std::string& label = "rollouts-pod-template-hash") {
    auto& pod = *pods_.emplace_back(std::make_unique<ClientPod>(*nodes_[node], uid));
    for (const std::string& version : versions) {
      const std::string addresses =
          plane().MustKubectl({"get", "pods", "-n", ns(), "-l", fmt::format("{}={}", label, version), "-o",
                               "jsonpath={.items[*].status.podIP}"});
      std::istringstream each(addresses);
      for (std::string address; each >> address;)
        servers_.AddTcp(Address(address, kPodPort), kubelet_->IdOf(version), pod.netns());
    }
    return pod;
  }
  ClientPod& RunPod(const std::string& in, const std::string& name, size_t node) {
    return Run(node, Schedule(in, name, node));
  }

  /// Of namespace lab, to the Service of this test's own.
  void CreateConsumerRoute(int canary) {
    json::object parent = ToService("checkout");
    parent["namespace"] = ns();
    CreateRoute("HTTPRoute", "own", {parent}, RuleTo(Lead(canary)), "v1", lab_);
  }
  json::array Lead(int canary) const {
    json::array backends = Backends(canary);
    for (json::value& backend : backends) backend.get_object()["namespace"] = ns();
    return backends;
  }
  void SetOwnWeight(int canary) {
    json::value route = admin_->Find(Routes("httproutes"), {lab_, "own"});
    route.at("spec").as_object()["rules"] = RuleTo(Lead(canary));
    admin_->Must(kubernetes::UpdateRequest(Routes("httproutes"), {lab_, "own"}, route.as_object()));
  }
  ::testing::AssertionResult WaitForOwn(const std::string& verdict) {
    json::value route;
    return Eventually(
        [&] {
          route = admin_->Find(Routes("httproutes"), {lab_, "own"});
          return Verdict(route) == verdict;
        },
        [&] { return json::serialize(route); });
  }
  void Grant() {
    plane().Apply(fmt::format(R"(
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {{name: lab, namespace: {0}}}
spec:
  from: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: {1}}}]
  to: [{{group: "", kind: Service}}]
)",
                              ns(), lab_));
  }
  std::string AgentMetric(size_t node, const std::string& name) {
    Process curl({"curl", "-sS", "http://" + agents_[node]->WordAfter("http=") + "/metrics"});
    curl.Wait();
    const size_t at = curl.seen.find("\n" + name + " ");
    if (at == std::string::npos) return "";
    const size_t from = at + name.size() + 2;
    return curl.seen.substr(from, curl.seen.find('\n', from) - from);
  }
  Counts Split(int canary, int of = 100) const {
    Counts counts;
    if (canary > 0) counts[kubelet_->IdOf("bbbb2")] = canary * of / 100;
    if (canary < 100) counts[kubelet_->IdOf("aaaa1")] = of - canary * of / 100;
    return counts;
  }

  std::string lab_;
  std::vector<std::unique_ptr<ClientPod>> pods_;
};

TEST_F(ConsumerTest, ClientsOfTheRoutesNamespaceHaveASplitOfTheirOwn) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  Grant();
  ClientPod& client = RunPod(lab_, "client", 0);
  ClientPod& other = RunPod(ns(), "other", 0);
  CreateRoute("HTTPRoute", "checkout", {ToService("checkout")}, RuleTo(Backends(10)));
  ASSERT_TRUE(WaitForVerdict("httproutes", "checkout", Accepted(1)));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"aaaa1", 90}, {"bbbb2", 10}}));
  EXPECT_EQ(client.Dial(vip_, 100), Split(10));

  // Once it is Accepted it is in effect for every pod that runs.
  CreateConsumerRoute(70);
  ASSERT_TRUE(WaitForOwn(Accepted(1)));
  EXPECT_EQ(client.Dial(vip_, 100), Split(70));
  EXPECT_EQ(other.Dial(vip_, 100), Split(10));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"aaaa1", 90}, {"bbbb2", 10}}));

  // One's change is not the other's.
  StartDialling(vip_);
  SetOwnWeight(100);
  ASSERT_TRUE(WaitForOwn(Accepted(2)));
  EXPECT_EQ(client.Dial(vip_, 50), Split(100, 50));
  SetWeight("httproutes", "checkout", 30);
  ASSERT_TRUE(WaitForVerdict("httproutes", "checkout", Accepted(2)));
  EXPECT_EQ(client.Dial(vip_, 50), Split(100, 50));
  for (auto& dialer : dialers_) dialer->Pause();  // they share the other's count
  EXPECT_EQ(other.Dial(vip_, 100), Split(30));
  for (auto& dialer : dialers_) dialer->Resume();
  EXPECT_NE(Weirctl({"get", "splits"}).find(fmt::format("from {}", lab_)), std::string::npos);

  // A pod that comes later has it with its first connection: its cgroup is there before its containers.
  const std::string uid = Schedule(lab_, "later", 1);
  ASSERT_TRUE(Eventually([&] { return AgentMetric(1, "weir_agent_consumer_pods_awaited") == "1"; },
                         [&] { return AgentMetric(1, "weir_agent_consumer_pods_awaited"); }));
  ClientPod& later = Run(1, uid);
  ASSERT_TRUE(Eventually([&] { return AgentMetric(1, "weir_agent_consumer_pods") == "1"; },
                         [&] { return AgentMetric(1, "weir_agent_consumer_pods"); }));
  EXPECT_EQ(later.Dial(vip_, 20), Split(100, 20));

  // A pod that is gone leaves nothing behind.
  plane().MustKubectl({"delete", "pod", "later", "-n", lab_, "--grace-period=0", "--force"});
  ASSERT_TRUE(Eventually([&] { return AgentMetric(1, "weir_agent_consumer_pods") == "0"; },
                         [&] { return AgentMetric(1, "weir_agent_consumer_pods"); }));
  StopDialling();

  // Without the route its clients are as all others.
  admin_->Must(kubernetes::DeleteRequest(Routes("httproutes"), {lab_, "own"}));
  ASSERT_TRUE(
      Eventually([&] { return client.Dial(vip_, 100) == Split(30); }, [] { return "still its own"; }));
  admin_->Must(kubernetes::DeleteRequest(Routes("httproutes"), {ns(), "checkout"}));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"proxy", 100}}));
}

TEST_F(ConsumerTest, ItStandsThroughRestartsOfEverything) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  Grant();
  ClientPod& client = RunPod(lab_, "client", 0);
  CreateConsumerRoute(25);
  ASSERT_TRUE(WaitForOwn(Accepted(1)));
  const auto steady = [&](std::string_view after) {
    EXPECT_EQ(client.Dial(vip_, 100), Split(25)) << after;
    EXPECT_EQ(Try(0, vip_), Split(0)) << after << ": nobody divides it for all others";
  };
  steady("at first");
  agents_[0]->Signal(SIGKILL);
  agents_[0]->Wait();
  steady("without an agent");
  agents_ = {};
  ASSERT_NO_FATAL_FAILURE(StartAgents());
  steady("with another agent");
  ASSERT_TRUE(Eventually([&] { return AgentMetric(0, "weir_agent_consumer_pods") == "1"; },
                         [&] { return AgentMetric(0, "weir_agent_consumer_pods"); }));
  steady("that has heard of its pods");

  // The next leader knows the pods before it tells anything.
  std::atomic<bool> stop{false};
  Counts seen;
  std::thread dialler([&] {
    while (!stop) {
      for (const auto& [id, count] : client.Dial(vip_, 20)) seen[id] += count;
    }
  });
  controllers_[0]->Signal(SIGKILL);
  controllers_[0]->Wait();
  StartController(0, {"--look-for-kinds-ms", "1000"});
  EXPECT_FALSE(controllers_[0]->WordAfter("grpc=").empty()) << controllers_[0]->seen;
  SetOwnWeight(50);
  EXPECT_TRUE(WaitForOwn(Accepted(2)));
  stop = true;
  dialler.join();
  EXPECT_FALSE(seen.contains(255)) << seen[255] << " connections failed";
  EXPECT_EQ(client.Dial(vip_, 100), Split(50));
  // Every twenty were 5 of 15 or, later, 10 of 10: together between the two.
  const double share = static_cast<double>(seen[kubelet_->IdOf("bbbb2")]) /
                       static_cast<double>(seen[kubelet_->IdOf("bbbb2")] + seen[kubelet_->IdOf("aaaa1")]);
  EXPECT_GE(share, 0.24);
  EXPECT_LE(share, 0.51);
}

TEST_F(ConsumerTest, OpenConnectionsOfItsOwnSplitAreNotTakenForLed) {
  // For all others the Service is undivided, so the node knows all its endpoints: the canary is none of them.
  ASSERT_NO_FATAL_FAILURE(Begin());
  Grant();
  ClientPod& client = RunPod(lab_, "client", 0);
  CreateConsumerRoute(100);
  ASSERT_TRUE(WaitForOwn(Accepted(1)));
  kernel_test::Shared<std::atomic<int>> state;
  const auto held = client.Hold(vip_, *state.get());
  ASSERT_TRUE(Eventually([&] { return *state.get() == 1; }, [] { return "no connection"; }));
  agents_ = {};
  ASSERT_NO_FATAL_FAILURE(StartAgents());  // one that has just come looks which endpoints are gone
  std::this_thread::sleep_for(std::chrono::seconds(8));  // as it does 5 s after its first full update
  *state.get() = 2;
  EXPECT_EQ(held->Wait().value_or("?"), "open");
}

TEST_F(ConsumerTest, AnAbortResetsTheCanarysConnectionsInPodsAndNoneOfTheirOwn) {
  ApplyCheckout(2, "[{setWeight: 50}, {pause: {}}]", "\n  onAbort: reset");
  vip_ = VipOf("checkout");
  StartAll();
  ASSERT_TRUE(WaitForRollout(".status.phase", "Healthy"));
  SetImage("checkout:2");
  ASSERT_TRUE(WaitForRollout(".status.phase", "Paused"));
  const std::string stable = RolloutField(".status.stableRevision"),
                    canary = RolloutField(".status.canaryRevision");
  // Namespace lab goes to the canary's pods by a Service of its own choice.
  plane().Apply(fmt::format(R"(
apiVersion: v1
kind: Service
metadata: {{name: next, namespace: {0}}}
spec: {{selector: {{app: checkout, pod-template-hash: {1}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
)",
                            ns(), canary));
  Grant();
  json::object parent = ToService("checkout");
  parent["namespace"] = ns();
  CreateRoute("HTTPRoute", "own", {parent},
              RuleTo({json::object{{"name", "next"}, {"namespace", ns()}, {"port", 80}}}), "v1", lab_);
  ASSERT_TRUE(WaitForOwn(Accepted(1)));
  const auto run = [&](const std::string& in, const std::string& name) -> ClientPod& {
    return Run(0, Schedule(in, name, 0), {stable, canary}, "pod-template-hash");
  };
  ClientPod& own = run(lab_, "client");
  ClientPod& other = run(ns(), "other");
  ASSERT_TRUE(Eventually([&] { return AgentMetric(0, "weir_agent_consumer_pods") == "1"; },
                         [&] { return AgentMetric(0, "weir_agent_consumer_pods"); }));

  // Of two connections in a row one is the canary's; of namespace lab's both.
  struct Held {
    kernel_test::Shared<std::atomic<int>> state;
    std::unique_ptr<kernel_test::ClientProcess> process;
  };
  std::array<Held, 4> held;
  for (size_t i = 0; i < held.size(); ++i) {
    held[i].process = (i < 2 ? other : own).Hold(vip_, *held[i].state.get());
    ASSERT_TRUE(Eventually([&] { return *held[i].state.get() == 1; }, [] { return "no connection"; }));
  }
  Weirctl({"abort", "checkout"});
  ASSERT_TRUE(WaitForMessage("ended 1 connection of revision " + canary));
  std::multiset<std::string> others, owns;
  for (size_t i = 0; i < held.size(); ++i) {
    *held[i].state.get() = 2;
    (i < 2 ? others : owns).insert(held[i].process->Wait().value_or("?"));
  }
  EXPECT_EQ(others, (std::multiset<std::string>{"Software caused connection abort", "open"}));
  EXPECT_EQ(owns, (std::multiset<std::string>{"open", "open"}));
}

TEST_F(ConsumerTest, ClientsWithAffinityKeepToTheirOwnSplit) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  Grant();
  admin_->Must(kubernetes::MergePatchRequest(kServices, {ns(), "checkout"},
                                             {{"spec", {{"sessionAffinity", "ClientIP"}}}}));
  CreateRoute("HTTPRoute", "checkout", {ToService("checkout")}, RuleTo(Backends(0)));
  CreateConsumerRoute(100);
  ASSERT_TRUE(WaitForVerdict("httproutes", "checkout", Accepted(1)));
  ASSERT_TRUE(WaitForOwn(Accepted(1)));
  ClientPod& client = RunPod(lab_, "client", 0);
  ClientPod& other = RunPod(ns(), "other", 0);
  ASSERT_TRUE(Eventually([&] { return AgentMetric(0, "weir_agent_consumer_pods") == "1"; },
                         [&] { return AgentMetric(0, "weir_agent_consumer_pods"); }));
  EXPECT_EQ(client.Dial(vip_, 10), Split(100, 10));
  EXPECT_EQ(other.Dial(vip_, 10), Split(0, 10));
  SetOwnWeight(0);
  ASSERT_TRUE(WaitForOwn(Accepted(2)));
  EXPECT_EQ(client.Dial(vip_, 10), Split(0, 10)) << "a weight of 0 moves clients";
  SetOwnWeight(50);
  ASSERT_TRUE(WaitForOwn(Accepted(3)));
  EXPECT_EQ(client.Dial(vip_, 10), Split(0, 10)) << "one that has an endpoint keeps it";
}

}  // namespace
}  // namespace weir::kubernetes_test
