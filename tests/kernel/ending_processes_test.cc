// Ending connections with the programs themselves: weir-controller, weir-agents for two nodes, weirctl;
// onAbort and onComplete with connections open; kills between the order and its answer.
#include <poll.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>

#include "tests/integration/agent/http_get.h"
#include "tests/integration/process.h"
#include "tests/kernel/harness/fixture.h"
#include "tests/kernel/harness/pair.h"
#include "tests/unit/common/test_certs.h"

namespace weir::kernel_test {
namespace {

namespace json = boost::json;

/// The error that waits on the socket; 0: none.
int ErrorOf(const Socket& socket) {
  int error = 0;
  socklen_t length = sizeof error;
  EXPECT_EQ(getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &length), 0);
  return error;
}

/// The same, once there is one.
int AwaitError(const Socket& socket) {
  pollfd entry{.fd = socket.fd(), .events = 0, .revents = 0};  // POLLERR and POLLHUP come unasked
  return poll(&entry, 1, 60'000) == 1 ? ErrorOf(socket) : 0;
}

class EndingProcessesTest : public KernelTest {
 protected:
  static constexpr int kNodes = 2;

  void Prepare() override {
    for (auto& node : nodes_) node = std::make_unique<TestNode>();
    for (int v = 0; v < 2; ++v) servers_.AddTcp(Endpoint(v), static_cast<uint8_t>(v));
    ASSERT_NO_FATAL_FAILURE(StartController());
    for (int node = 0; node < kNodes; ++node) ASSERT_NO_FATAL_FAILURE(StartAgent(node));
  }

  /// On the same state and address each time.
  void StartController() {
    controller_ = std::make_unique<Process>(std::vector<std::string>{
        WEIR_CONTROLLER, "--state", files_.path() + "/state", "--listen", address_, "--http", "127.0.0.1:0"});
    controller_http_ = controller_->WordAfter("http=");
    ASSERT_FALSE(controller_http_.empty()) << controller_->seen;
  }
  void StartAgent(int node) {
    agents_[node] = std::make_unique<Process>(std::vector<std::string>{
        WEIR_AGENT, "--node-name", fmt::format("node-{}", node), "--cgroup", nodes_[node]->cgroup(),
        "--bpffs", nodes_[node]->bpffs(), "--controller", address_, "--http", "127.0.0.1:0"});
    agent_http_[node] = agents_[node]->WordAfter("http=");
    ASSERT_FALSE(agent_http_[node].empty()) << agents_[node]->seen;
  }

  std::string Weirctl(std::vector<std::string> arguments, int* code = nullptr) {
    arguments.insert(arguments.begin(), {WEIRCTL, "--server", address_, "-n", "shop"});
    Process process(arguments);
    const int ended = process.Wait();
    if (code != nullptr) *code = ended;
    return process.seen;
  }
  void Must(const std::vector<std::string>& arguments) {
    int code = 0;
    const std::string output = Weirctl(arguments, &code);
    ASSERT_EQ(code, 0) << fmt::format("{}", fmt::join(arguments, " ")) << ": " << output;
  }
  void Apply(const std::string& revision, const std::string& fields) {
    Must({"apply", "-f",
          files_.Write("apply.yaml", fmt::format(R"(apiVersion: v1
kind: Service
metadata: {{name: checkout, namespace: shop}}
spec: {{clusterIP: 127.96.0.1, ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: checkout-v1, namespace: shop, labels: {{kubernetes.io/service-name: checkout, weir.dev/revision: v1}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints: [{{addresses: [{}]}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: checkout-v2, namespace: shop, labels: {{kubernetes.io/service-name: checkout, weir.dev/revision: v2}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints: [{{addresses: [{}]}}]
---
apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {{name: checkout, namespace: shop}}
spec:
  service: checkout
  revision: {}
  {}
  strategy: {{canary: {{steps: [{{setWeight: 50}}, {{pause: {{}}}}]}}}}
)",
                                                 Endpoint(0).address.ToString(),
                                                 Endpoint(1).address.ToString(), revision, fields))});
  }
  json::object Rollout() {
    int code = 0;
    const std::string text = Weirctl({"get", "rollouts", "checkout", "-o", "json"}, &code);
    json::error_code error;
    json::value value = json::parse(text, error);
    if (code != 0 || error) return {};
    if (const auto* items = value.as_object().if_contains("items"))
      value = json::value(items->as_array().at(0));
    return value.as_object();
  }
  /// Waits until the rollout is as the predicate wants it; the last one seen.
  json::object Await(const std::function<bool(const json::object&)>& predicate) {
    json::object rollout;
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < give_up) {
      rollout = Rollout();
      if (!rollout.empty() && predicate(rollout)) return rollout;
    }
    ADD_FAILURE() << "waited in vain; last: " << json::serialize(rollout);
    return rollout;
  }
  json::object AwaitAcked(int weight) {
    return Await([weight](const json::object& rollout) {
      return rollout.at("canaryWeight") == weight && rollout.at("nodesDesired") == kNodes &&
             rollout.at("nodesAcked") == kNodes;
    });
  }
  json::object AwaitEnded() {
    return Await([](const json::object& rollout) {
      const auto* ended = rollout.at("ended").if_object();
      return ended != nullptr && ended->at("nodesAnswered") == kNodes;
    });
  }

  /// Opens connections on every node; those of the canary and those of stable.
  struct Connections {
    std::vector<Socket> stable, canary;
  };
  Connections Open(int on_each) {
    Connections open;
    for (const auto& node : nodes_) {
      for (int i = 0; i < on_each; ++i) {
        Socket socket = node->OpenSocket(AF_INET, SOCK_STREAM);
        EXPECT_EQ(socket.Connect(vip_), 0);
        const auto id = socket.Receive();
        EXPECT_TRUE(id.ok() && id->size() == 1);
        (id.ok() && (*id)[0] == 1 ? open.canary : open.stable).push_back(std::move(socket));
      }
    }
    return open;
  }
  static void ExpectEnded(const std::vector<Socket>& sockets) {
    for (const Socket& socket : sockets) EXPECT_EQ(AwaitError(socket), ECONNABORTED);
  }
  static void ExpectAlive(std::vector<Socket>& sockets) {
    for (Socket& socket : sockets) {
      ASSERT_OK(socket.Send("x"));
      const auto echo = socket.Receive();
      ASSERT_OK(echo);
      EXPECT_EQ(*echo, "x");
    }
  }
  static uint64_t EndedBy(const json::object& rollout) {
    return json::value_to<uint64_t>(rollout.at("ended").at("connections"));
  }
  /// The sum of a metric's samples.
  static double Metric(const std::string& http, const std::string& name) {
    const std::string text =
        HttpGet(static_cast<uint16_t>(std::stoi(http.substr(http.rfind(':') + 1))), "/metrics");
    double sum = 0;
    for (size_t at = 0; (at = text.find('\n' + name + '{', at)) != std::string::npos; ++at)
      sum += std::stod(text.substr(text.find("} ", at) + 2));
    return sum;
  }

  const SocketAddress vip_ = Address("127.96.0.1", 80);
  const TempDir files_;
  const std::string address_ = "unix:" + files_.path() + "/weir.sock";
  Servers servers_;
  std::array<std::unique_ptr<TestNode>, kNodes> nodes_;
  std::unique_ptr<Process> controller_;
  std::array<std::unique_ptr<Process>, kNodes> agents_;
  std::string controller_http_;
  std::array<std::string, kNodes> agent_http_;
};

TEST_F(EndingProcessesTest, AbortWithResetEndsTheCanarysConnectionsAndTellsHowMany) {
  Apply("v1", "onAbort: reset");
  AwaitAcked(0);
  Apply("v2", "onAbort: reset");
  AwaitAcked(50);
  Connections open = Open(20);
  EXPECT_EQ(open.canary.size(), 20U);
  Must({"abort", "checkout"});
  ExpectEnded(open.canary);
  ExpectAlive(open.stable);

  const json::object rollout = AwaitEnded();
  EXPECT_EQ(EndedBy(rollout), 20U);
  EXPECT_EQ(rollout.at("ended").at("left"), 0);
  EXPECT_EQ(rollout.at("ended").at("cause"), "abort");
  const std::string text = "ended 20 connections of revision v2 on 2 nodes";
  EXPECT_EQ(json::value_to<std::string>(rollout.at("ended").at("text")), text);
  int code = 0;
  EXPECT_NE(Weirctl({"status", "checkout"}, &code).find("Ended:      " + text), std::string::npos);
  EXPECT_EQ(code, 2) << "Degraded";
  EXPECT_NE(Weirctl({"get", "rollouts", "-o", "wide"}).find(text), std::string::npos);
  for (const std::string& http : agent_http_) EXPECT_EQ(Metric(http, "weir_connections_reset_total"), 10);
  EXPECT_EQ(Metric(controller_http_, "weir_rollout_connections_reset_total"), 20);
  // Tried again, its connections are its own.
  Must({"retry", "checkout"});
  AwaitAcked(50);
  Connections again = Open(2);
  ExpectAlive(again.canary);
}

TEST_F(EndingProcessesTest, DrainEndsThemAtItsDeadlineAndRetryBeforeThatCancels) {
  Apply("v1", "onAbort: {drain: {deadline: 1h}}");
  AwaitAcked(0);
  Apply("v2", "onAbort: {drain: {deadline: 1h}}");
  AwaitAcked(50);
  Connections open = Open(4);
  ASSERT_EQ(open.canary.size(), 4U);
  Must({"abort", "checkout"});
  Await([](const json::object& rollout) {
    return rollout.at("ended").is_object() &&
           json::value_to<int64_t>(rollout.at("ended").at("remainingMs")) > 0;
  });
  ExpectAlive(open.canary);
  Must({"retry", "checkout"});
  EXPECT_TRUE(AwaitAcked(50).at("ended").is_null());
  // A deadline that comes.
  Apply("v2", "onAbort: {drain: {deadline: 300ms}}");
  Must({"abort", "checkout"});
  ExpectEnded(open.canary);
  EXPECT_EQ(EndedBy(AwaitEnded()), 4U);
  ExpectAlive(open.stable);
}

TEST_F(EndingProcessesTest, TheStableRevisionBeforeIsEndedOnCompletion) {
  Apply("v1", "onComplete: reset");
  AwaitAcked(0);
  Apply("v2", "onComplete: reset");
  AwaitAcked(50);
  Connections open = Open(4);
  ASSERT_EQ(open.stable.size(), 4U);
  Must({"promote", "checkout"});
  ExpectEnded(open.stable);
  ExpectAlive(open.canary);
  const json::object rollout = AwaitEnded();
  EXPECT_EQ(EndedBy(rollout), 4U);
  EXPECT_EQ(rollout.at("ended").at("cause"), "complete");
  EXPECT_EQ(rollout.at("phase"), "Healthy");
}

// An endpoint that is in no EndpointSlice any more: nobody will answer. One that terminates is left to end.
TEST_F(EndingProcessesTest, AnEndpointThatIsGoneAndOneThatTerminates) {
  Apply("v1", "paused: false");
  AwaitAcked(0);
  Apply("v2", "paused: false");
  AwaitAcked(50);
  Connections open = Open(4);
  const auto slice = [](const std::string& endpoints) {
    return fmt::format(R"(apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: checkout-v2, namespace: shop, labels: {{kubernetes.io/service-name: checkout, weir.dev/revision: v2}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints: {}
)",
                       endpoints);
  };
  Must({"apply", "-f",
        files_.Write("slice.yaml",
                     slice(fmt::format("[{{addresses: [{}], conditions: {{ready: false, serving: true, "
                                       "terminating: true}}}}]",
                                       Endpoint(1).address.ToString())))});
  ExpectAlive(open.canary);
  Must({"apply", "-f", files_.Write("slice.yaml", slice("[]"))});
  ExpectEnded(open.canary);
  ExpectAlive(open.stable);
}

// Whoever is killed at whatever moment between the abort and the answer: carried out once, and told right.
TEST_F(EndingProcessesTest, KilledBetweenOrderAndAnswer) {
  constexpr int kRounds = 6;
  Apply("v1", "onAbort: reset");
  AwaitAcked(0);
  Apply("v2", "onAbort: reset");
  uint64_t sum = 0;
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE(round);
    if (round > 0) Must({"retry", "checkout"});
    AwaitAcked(50);
    Connections open = Open(10);
    Must({"abort", "checkout"});
    if (round % 2 == 0) {
      agents_[0]->Signal(SIGKILL);
      agents_[0]->Wait();
      ASSERT_NO_FATAL_FAILURE(StartAgent(0));
    } else {
      controller_->Signal(SIGKILL);
      controller_->Wait();
      ASSERT_NO_FATAL_FAILURE(StartController());
    }
    ExpectEnded(open.canary);
    ExpectAlive(open.stable);
    EXPECT_EQ(EndedBy(AwaitEnded()), open.canary.size());
    sum += open.canary.size();
  }
  EXPECT_GE(sum, 9U * kRounds);
}

}  // namespace
}  // namespace weir::kernel_test
