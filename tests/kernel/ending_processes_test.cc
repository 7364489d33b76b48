// Ending connections with the programs themselves: weir-controller, weir-agents for two nodes, weirctl;
// onAbort and onComplete with connections open; kills between the order and its answer.
#include <poll.h>

#include "tests/integration/agent/http_get.h"
#include "tests/kernel/harness/pair.h"
#include "tests/kernel/harness/programs_fixture.h"

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

class EndingProcessesTest : public ProgramsTest {
 protected:
  void Prepare() override {
    ProgramsTest::Prepare();
    address_ = "unix:" + files_.path() + "/weir.sock";
    ASSERT_NO_FATAL_FAILURE(StartController());
    for (size_t node = 0; node < agents_.size(); ++node) agents_[node] = StartAgent(static_cast<int>(node));
  }

  void Apply(const std::string& revision, const std::string& fields) {
    ProgramsTest::Apply(kServiceYaml + SliceYaml("v1", {Endpoint(0)}) + SliceYaml("v2", {Endpoint(1)}) +
                        fmt::format(R"(---
apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {{name: checkout, namespace: shop}}
spec:
  service: checkout
  revision: {}
  {}
  strategy: {{canary: {{steps: [{{setWeight: 50}}, {{pause: {{}}}}]}}}}
)",
                                    revision, fields));
  }
  /// v1 is stable, v2 has half of the connections.
  void Begin(const std::string& fields) {
    Apply("v1", fields);
    AwaitAcked(0);
    Apply("v2", fields);
    AwaitAcked(50);
  }
  /// Waits until the rollout is as the predicate wants it; the last one seen.
  json::object Await(const std::function<bool(const json::object&)>& predicate) {
    json::value rollout;
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < give_up) {
      rollout = Rollout();
      if (!rollout.is_object()) return {};  // the failure is told
      if (predicate(rollout.as_object())) return rollout.as_object();
    }
    ADD_FAILURE() << "waited in vain; last: " << json::serialize(rollout);
    return rollout.as_object();
  }
  json::object AwaitAcked(int weight) {
    return Await([this, weight](const json::object& rollout) {
      return rollout.at("canaryWeight") == weight && rollout.at("nodesDesired") == nodes_.size() &&
             rollout.at("nodesAcked") == nodes_.size();
    });
  }
  json::object AwaitEnded() {
    return Await([this](const json::object& rollout) {
      const auto* ended = rollout.at("ended").if_object();
      return ended != nullptr && ended->at("nodesAnswered") == nodes_.size();
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
  static double Metric(Process& program, const std::string& name) {
    const std::string text = HttpGet(HttpPort(program), "/metrics");
    double sum = 0;
    for (size_t at = 0; (at = text.find('\n' + name + '{', at)) != std::string::npos; ++at)
      sum += std::stod(text.substr(text.find("} ", at) + 2));
    return sum;
  }
};

TEST_F(EndingProcessesTest, AbortWithResetEndsTheCanarysConnectionsAndTellsHowMany) {
  Begin("onAbort: reset");
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
  const Outcome status = Weirctl({"status", "checkout"});
  EXPECT_NE(status.output.find("Ended:      " + text), std::string::npos);
  EXPECT_EQ(status.code, 2) << "Degraded";
  EXPECT_NE(Weirctl({"get", "rollouts", "-o", "wide"}).output.find(text), std::string::npos);
  for (const auto& agent : agents_) EXPECT_EQ(Metric(*agent, "weir_connections_reset_total"), 10);
  EXPECT_EQ(Metric(*controller_, "weir_rollout_connections_reset_total"), 20);
  // Tried again, its connections are its own.
  Must({"retry", "checkout"});
  AwaitAcked(50);
  Connections again = Open(2);
  ExpectAlive(again.canary);
}

TEST_F(EndingProcessesTest, DrainEndsThemAtItsDeadlineAndRetryBeforeThatCancels) {
  Begin("onAbort: {drain: {deadline: 1h}}");
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
  Begin("onComplete: reset");
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
  Begin("paused: false");
  Connections open = Open(4);
  ProgramsTest::Apply(
      SliceYaml("v2", {Endpoint(1)}, ", conditions: {ready: false, serving: true, terminating: true}"));
  ExpectAlive(open.canary);
  ProgramsTest::Apply(SliceYaml("v2", {}));
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
      agents_[0] = StartAgent(0);
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
