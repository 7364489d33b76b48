#include <grpcpp/generic/generic_stub.h>

#include <atomic>

#include "tests/integration/controller/controller_fixture.h"

namespace weir::testing {
namespace {

constexpr char kSteps[] = "[{setWeight: 20}, {pause: {}}, {setWeight: 50}, {pause: {duration: 1s}}]";

class RolloutTest : public ControllerTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(controller_.listening());
    auto status = client_.Apply({ServiceYaml(), SliceYaml("v1", "127.0.1.1"), SliceYaml("v2", "127.0.1.2"),
                                 RolloutYaml("v1", kSteps)});
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  SimAgent::Options Node(const std::string& name) {
    SimAgent::Options options;
    options.node_name = name;
    options.channel = Dial(controller_.port());
    return options;
  }
  bool Begin() { return client_.Apply({RolloutYaml("v2", kSteps)}).ok(); }

  Controller controller_{base_ / "state"};
  Client client_{Dial(controller_.port())};
};

bool PausedAtStep1(const v1::Rollout& rollout) {
  return rollout.phase() == "Paused" && rollout.current_step_index() == 1;
}

TEST_F(RolloutTest, GoesThroughAllSteps) {
  SimAgent a(Node("a")), b(Node("b"));
  a.Start();
  b.Start();
  ASSERT_TRUE(a.WaitFor(Holds({{"v1", 100}})));
  ASSERT_TRUE(b.WaitFor(Holds({{"v1", 100}})));
  EXPECT_NE(a.view().node_number, b.view().node_number);
  ASSERT_TRUE(Begin());
  ASSERT_TRUE(client_.Watch(PausedAtStep1));
  v1::Rollout rollout = client_.Get();
  EXPECT_EQ(rollout.nodes_desired(), 2u);
  EXPECT_EQ(rollout.nodes_acked(), 2u);
  EXPECT_EQ(rollout.canary_weight(), 20u);
  EXPECT_TRUE(a.WaitFor(Holds({{"v1", 80}, {"v2", 20}})));
  a.SendTelemetry(5);
  EXPECT_TRUE(client_.Watch([](const v1::Rollout& r) {
    return r.variants_size() == 2 && r.variants(0).connections_observed() == 5;
  }));
  ASSERT_TRUE(client_.Promote().ok());
  EXPECT_TRUE(a.WaitFor(Holds({{"v1", 50}, {"v2", 50}})));
  ASSERT_TRUE(client_.Watch([](const v1::Rollout& r) { return r.phase() == "Healthy"; }));
  EXPECT_TRUE(a.WaitFor(Holds({{"v2", 100}})));
  EXPECT_TRUE(b.WaitFor(Holds({{"v2", 100}})));
  EXPECT_EQ(client_.Get().stable_revision(), "v2");
  EXPECT_EQ(a.view().fulls, 1u) << "all else were deltas";
}

TEST_F(RolloutTest, ARefusalHoldsTheRolloutAndAbortWaitsForNobody) {
  auto options = Node("a");
  std::atomic<bool> refuse = false;
  options.answer = [&](uint64_t) { return refuse ? SimAgent::Answer::kNack : SimAgent::Answer::kAck; };
  SimAgent a(options);
  a.Start();
  ASSERT_TRUE(a.WaitFor(Holds({{"v1", 100}})));
  refuse = true;
  ASSERT_TRUE(Begin());
  ASSERT_TRUE(client_.Watch([](const v1::Rollout& r) { return r.nodes_refusing_size() == 1; }));
  v1::Rollout rollout = client_.Get();
  EXPECT_EQ(rollout.nodes_refusing(0), "a: map full");
  EXPECT_EQ(rollout.current_step_index(), 0u) << "a raise that is not in force everywhere is not done";
  refuse = false;
  ASSERT_TRUE(client_.Abort().ok());
  // What was refused had weight 0 already, so the abort publishes nothing new: the node takes it when it is
  // sent again.
  ASSERT_TRUE(client_.Watch(
      [](const v1::Rollout& r) { return r.phase() == "Degraded" && r.nodes_acked() == 1; }, 30s))
      << client_.Get().DebugString();
  auto weights = SimAgent::WeightsOf(a.view());
  EXPECT_EQ(weights["v2"], 0u);
}

TEST_F(RolloutTest, ARefusalOfEndpointsAloneIsShownAndHoldsNothing) {
  auto options = Node("a");
  std::atomic<bool> refuse = false;
  options.answer = [&](uint64_t) { return refuse ? SimAgent::Answer::kNack : SimAgent::Answer::kAck; };
  SimAgent a(options);
  a.Start();
  ASSERT_TRUE(a.WaitFor(Holds({{"v1", 100}})));
  ASSERT_TRUE(Begin());
  ASSERT_TRUE(client_.Watch(PausedAtStep1));
  refuse = true;
  const uint64_t generation = client_.Get().generation();
  ASSERT_TRUE(client_.Apply({SliceYaml("v2", "127.0.1.3")}).ok());
  ASSERT_TRUE(client_.Watch([](const v1::Rollout& r) { return r.nodes_refusing_size() == 1; }));
  const v1::Rollout rollout = client_.Get();
  EXPECT_EQ(rollout.nodes_refusing(0), "a: map full");
  EXPECT_EQ(rollout.generation(), generation) << "the weights are those it holds";
  EXPECT_EQ(rollout.nodes_acked(), 1u);
  EXPECT_EQ(rollout.phase(), "Paused") << "nothing of the rollout waits for it";
  refuse = false;
  ASSERT_TRUE(client_.Apply({SliceYaml("v2", "127.0.1.2")}).ok());
  EXPECT_TRUE(client_.Watch([](const v1::Rollout& r) { return r.nodes_refusing_size() == 0; }));
}

TEST_F(RolloutTest, ANodeThatIsAwayHoldsUntilItCountsAsBehind) {
  SimAgent a(Node("a")), b(Node("b"));
  a.Start();
  b.Start();
  ASSERT_TRUE(a.WaitFor(Holds({{"v1", 100}})));
  ASSERT_TRUE(b.WaitFor(Holds({{"v1", 100}})));
  b.Stop();
  ASSERT_TRUE(Begin());
  ASSERT_TRUE(
      client_.Watch([](const v1::Rollout& r) { return r.nodes_desired() == 2 && r.nodes_acked() == 1; }));
  EXPECT_EQ(client_.Get().current_step_index(), 0u);
  ASSERT_TRUE(client_.Watch(PausedAtStep1, 15s));
  EXPECT_EQ(client_.Get().nodes_behind(0), "b");
  b.Start();
  EXPECT_TRUE(b.WaitFor(Holds({{"v1", 80}, {"v2", 20}})));
  EXPECT_EQ(b.view().deltas, 1u) << "it held what it could build upon";
  b.Stop();
  b.Reboot();
  b.Start();
  EXPECT_TRUE(b.WaitFor([](const auto& v) { return v.fulls == 2; }));
}

TEST_F(RolloutTest, TheNewerOfTwoAgentsWithOneNameWins) {
  SimAgent older(Node("a")), newer(Node("a"));
  older.Start();
  ASSERT_TRUE(older.WaitFor(Holds({{"v1", 100}})));
  newer.Start();
  ASSERT_TRUE(newer.WaitFor(Holds({{"v1", 100}})));
  ASSERT_TRUE(older.WaitFor([](const auto& v) { return v.ended.has_value(); }));
  EXPECT_EQ(older.view().ended->error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_NE(older.view().ended->error_message().find("--node-name"), std::string::npos);
}

TEST_F(RolloutTest, BadInputChangesNothingAndSaysWhere) {
  uint64_t generation = client_.Get().generation();
  auto malformed = client_.Apply({SliceYaml("v3", "127.0.1.3"), "kind: [\n"});
  EXPECT_EQ(malformed.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(malformed.error_message().find("file1.yaml"), std::string::npos) << malformed.error_message();
  auto unknown = client_.Apply({RolloutYaml("v2", "[{setWeight: 20, speed: 3}]")});
  EXPECT_EQ(unknown.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(unknown.error_message().find("speed"), std::string::npos) << unknown.error_message();
  auto workload =
      client_.Apply({"apiVersion: weir.dev/v1alpha1\nkind: Rollout\nmetadata: {name: checkout, namespace: "
                     "shop}\nspec:\n  service: "
                     "checkout\n  workloadRef: {apiVersion: apps/v1, kind: Deployment, name: checkout}\n  "
                     "strategy: {canary: {}}\n"});
  EXPECT_EQ(workload.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(workload.error_message().find(
                "file0.yaml:1: Rollout shop/checkout: spec.workloadRef: found a Deployment, expected "
                "a controller that runs with --kubernetes"),
            std::string::npos)
      << workload.error_message();
  auto twice = client_.Apply({ServiceYaml(), ServiceYaml()});
  EXPECT_NE(twice.error_message().find("second time"), std::string::npos) << twice.error_message();
  EXPECT_EQ(client_.Get().generation(), generation);

  v1::ApplyResponse response;
  ASSERT_TRUE(client_.Apply({ServiceYaml(), SliceYaml("v3", "127.0.1.3")}, &response, /*dry_run=*/true).ok());
  ASSERT_TRUE(client_.Apply({ServiceYaml(), SliceYaml("v3", "127.0.1.3")}, &response).ok());
  EXPECT_EQ(response.changes(0).result(), v1::ObjectChange::RESULT_UNCHANGED);
  EXPECT_EQ(response.changes(1).result(), v1::ObjectChange::RESULT_CREATED);

  v1::Rollout rollout;
  v1::ObjectName missing = Client::Checkout();
  missing.set_name("cart");
  auto status = client_.Call(&v1::WeirService::Stub::GetRollout, missing, &rollout);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "no rollout shop/cart");
  EXPECT_EQ(client_.Promote().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(RolloutTest, AThousandErrorsStillFitIntoAnAnswer) {
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "---\nkind: Nothing" + std::to_string(i) + "\n";
  auto status = client_.Apply({many});
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  EXPECT_NE(status.error_message().find("more lines"), std::string::npos) << status.error_message();
}

// Unary calls by their name alone, as a client without our stubs would make them.
grpc::Status RawCall(int port, const std::string& method, grpc::ByteBuffer* response) {
  grpc::GenericStub stub(Dial(port));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + 5s);
  grpc::CompletionQueue queue;
  grpc::Slice nothing;
  grpc::ByteBuffer request(&nothing, 1);
  auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
  call->StartCall();
  grpc::Status status;
  call->Finish(response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  return status;
}

TEST_F(RolloutTest, HealthIsServed) {
  grpc::ByteBuffer response;
  auto status = RawCall(controller_.port(), "/grpc.health.v1.Health/Check", &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.Length(), 2u) << "status: SERVING";
}

TEST_F(RolloutTest, ASecondControllerIsRefusedAndSigtermEndsCleanly) {
  EXPECT_FALSE(Controller(base_ / "state").listening());
  SimAgent a(Node("a"));
  a.Start();
  ASSERT_TRUE(a.WaitFor(Holds({{"v1", 100}})));
  EXPECT_EQ(controller_.End(SIGTERM), 0);
  ASSERT_TRUE(a.WaitFor([](const auto& v) { return v.ended.has_value(); }));
  EXPECT_EQ(a.view().ended->error_code(), grpc::StatusCode::UNAVAILABLE);
  Controller again(base_ / "state");
  Client client(Dial(again.port()));
  EXPECT_EQ(client.Get().stable_revision(), "v1");
}

}  // namespace
}  // namespace weir::testing
