// Nodes tell that they took the canary out: the rollout pauses with the reason, over a restart too, and what
// lets them go on is a new round.
#include <csignal>
#include <utility>

#include "tests/integration/controller/controller_fixture.h"

namespace weir::testing {
namespace {

constexpr char kSteps[] = "[{setWeight: 20}, {pause: {duration: 1s}}, {setWeight: 50}, {pause: {}}]";

v1::Safety TakenOut(uint32_t round) {
  v1::Safety safety;
  v1::TakenOut& taken = *safety.add_taken_out();
  taken.set_namespace_("shop");
  taken.set_service("checkout");
  taken.set_revision("v2");
  taken.set_reason(v1::TakenOut::REASON_CUT_OFF);
  taken.set_round(round);
  return safety;
}

/// What the only frontend says of the fail safe.
v1::FailSafe FailSafeOf(const SimAgent::View& view) {
  return view.frontends.empty() ? v1::FailSafe() : view.frontends.begin()->second.fail_safe();
}

bool IsTakenOut(const v1::Rollout& rollout) {
  return rollout.phase() == "Paused" && rollout.nodes_taken_out_size() == 1 &&
         rollout.message().find("a (no controller was heard)") != std::string::npos;
}

class FailSafeTest : public ControllerTest {
 protected:
  SimAgent::Options Node(int port) {
    SimAgent::Options options;
    options.node_name = "a";
    options.channel = Dial(port);
    return options;
  }
};

TEST_F(FailSafeTest, TheRolloutWaitsOverARestartAndGoesOnWithANewRound) {
  auto controller = std::make_unique<Controller>(base_ / "state");
  ASSERT_TRUE(controller->listening());
  auto client = std::make_unique<Client>(Dial(controller->port()));
  ASSERT_TRUE(client
                  ->Apply({ServiceYaml(), SliceYaml("v1", "127.0.1.1"), SliceYaml("v2", "127.0.1.2"),
                           RolloutYaml("v1", kSteps)})
                  .ok());
  auto agent = std::make_unique<SimAgent>(Node(controller->port()));
  agent->Start();
  ASSERT_TRUE(agent->WaitFor(Holds({{"v1", 100}})));
  ASSERT_TRUE(client->Apply({RolloutYaml("v2", kSteps)}).ok());
  ASSERT_TRUE(agent->WaitFor(Holds({{"v1", 80}, {"v2", 20}})));
  EXPECT_EQ(FailSafeOf(agent->view()).stable_revision(), "v1");
  EXPECT_EQ(FailSafeOf(agent->view()).round(), 0U);

  agent->Send(TakenOut(0));
  ASSERT_TRUE(client->Watch(IsTakenOut)) << client->Get().DebugString();
  v1::ListNodesResponse nodes;
  ASSERT_TRUE(client->Call(&v1::WeirService::Stub::ListNodes, v1::ListNodesRequest(), &nodes).ok());
  ASSERT_EQ(nodes.nodes(0).taken_out_size(), 1);
  EXPECT_EQ(nodes.nodes(0).taken_out(0), "shop/checkout v2: no controller was heard");

  agent.reset();
  client.reset();
  EXPECT_EQ(controller->End(SIGKILL), -SIGKILL);
  controller = std::make_unique<Controller>(base_ / "state");
  ASSERT_TRUE(controller->listening());
  client = std::make_unique<Client>(Dial(controller->port()));
  EXPECT_EQ(client->Get().phase(), "Paused") << "it is not forgotten";
  agent = std::make_unique<SimAgent>(Node(controller->port()));
  agent->Start();
  ASSERT_TRUE(agent->WaitFor(Holds({{"v1", 80}, {"v2", 20}})));
  // The watch is there before: it hears of what is no news to the rollout, too.
  ASSERT_TRUE(client->Watch([&, told = false](const v1::Rollout& rollout) mutable {
    if (!std::exchange(told, true)) agent->Send(TakenOut(0));
    return IsTakenOut(rollout);
  }));

  v1::Rollout rollout;
  ASSERT_TRUE(client->Call(&v1::WeirService::Stub::Resume, Client::Checkout(), &rollout).ok());
  ASSERT_TRUE(agent->WaitFor([](const auto& view) { return FailSafeOf(view).round() == 1; }));
  agent->Send(TakenOut(0));  // it was on its way
  ASSERT_TRUE(agent->WaitFor(Holds({{"v1", 50}, {"v2", 50}}))) << "the step's pause was over long ago";
  EXPECT_TRUE(client->Watch(
      [](const v1::Rollout& r) { return r.phase() == "Paused" && r.nodes_taken_out_size() == 0; }));
}

}  // namespace
}  // namespace weir::testing
