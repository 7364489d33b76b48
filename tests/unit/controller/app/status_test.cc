// What the API shows, from the same core that does the work.
#include "controller/app/status.h"

#include "tests/unit/controller/app/core_fixture.h"

namespace weir::app {
namespace {

class StatusTest : public CoreTest {
 protected:
  void SetUp() override {
    CoreTest::SetUp();
    PutCheckout();
    ASSERT_TRUE(AckAll().ok());
  }
  void Begin() {
    ASSERT_TRUE(Put({RolloutYaml("v2")}).ok());
    ASSERT_TRUE(AckAll().ok());
  }
  v1::Rollout Rollout(const engine::Acks& acks = {}) {
    return RolloutStatus({*core, observed}, kCheckout, acks);
  }
  void Count(const std::string& node, uint64_t stable, uint64_t canary) {
    v1::Telemetry telemetry;
    telemetry.set_epoch("one");
    for (const auto& [service, frontends] : core->frontends()) {
      for (const auto& [id, frontend] : frontends) {
        v1::SplitCount& split = *telemetry.add_splits();
        *split.mutable_key() = frontend.key();
        for (const auto& variant : frontend.variants()) {
          v1::VariantCount& count = *split.add_variants();
          count.set_revision(variant.revision());
          count.set_weight(variant.weight());
          count.set_connections(variant.role() == v1::ROLE_CANARY ? canary : stable);
        }
      }
    }
    observed.Report(node, telemetry);
  }

  Observed observed;
};

TEST_F(StatusTest, AHealthyRolloutHasOneVariant) {
  const v1::Rollout status = Rollout({.generation = 2, .desired = 3, .acked = 3});
  EXPECT_EQ(status.namespace_(), "shop");
  EXPECT_EQ(status.name(), "checkout");
  EXPECT_EQ(status.service(), "checkout");
  EXPECT_EQ(status.phase(), "Healthy");
  EXPECT_EQ(status.stable_revision(), "v1");
  EXPECT_EQ(status.canary_revision(), "");
  EXPECT_EQ(status.generation(), 2u);
  EXPECT_EQ(status.nodes_desired(), 3u);
  EXPECT_EQ(status.nodes_acked(), 3u);
  EXPECT_EQ(status.pause_remaining_ms(), -1);
  ASSERT_EQ(status.variants_size(), 1);
  EXPECT_EQ(status.variants(0).role(), v1::ROLE_STABLE);
  EXPECT_EQ(status.variants(0).endpoints_ready(), 1u);
}

TEST_F(StatusTest, APauseCountsDown) {
  Begin();
  clock.Advance(std::chrono::seconds(4));
  const v1::Rollout status = Rollout();
  EXPECT_EQ(status.phase(), "Paused");
  EXPECT_EQ(status.pause_remaining_ms(), 6000);
  EXPECT_EQ(status.current_step_index(), 1u);
  ASSERT_EQ(status.steps_size(), 2);
  EXPECT_EQ(status.steps(0).text(), "setWeight: 20");
  EXPECT_EQ(status.canary_weight(), 20u);
  EXPECT_EQ(status.max_weight(), 100u);
  EXPECT_EQ(status.started_unix_ms(), 1'700'000'000'000);
}

TEST_F(StatusTest, WhoIsBehindAndWhoRefusesIsShownWithTheReason) {
  Begin();
  const v1::Rollout status = Rollout({.generation = 3,
                                      .desired = 2,
                                      .acked = 1,
                                      .behind = {"c"},
                                      .refusing = {"b: weir_endpoints is full"}});
  EXPECT_EQ(status.nodes_desired(), 2u);
  EXPECT_EQ(status.nodes_acked(), 1u);
  ASSERT_EQ(status.nodes_behind_size(), 1);
  EXPECT_EQ(status.nodes_behind(0), "c");
  ASSERT_EQ(status.nodes_refusing_size(), 1);
  EXPECT_EQ(status.nodes_refusing(0), "b: weir_endpoints is full");
}

TEST_F(StatusTest, TheSplitAsObservedIsTheSumOverNodes) {
  Begin();
  Count("a", 8, 2);
  Count("b", 4, 1);
  const v1::Rollout status = Rollout();
  ASSERT_EQ(status.variants_size(), 2);
  EXPECT_EQ(status.variants(0).connections_observed(), 12u);
  EXPECT_EQ(status.variants(1).connections_observed(), 3u);
  EXPECT_EQ(status.variants(1).weight(), 20u);

  v1::ListSplitsResponse splits;
  AddSplits({*core, observed}, kCheckout, splits);
  ASSERT_EQ(splits.splits_size(), 1);
  const v1::Split& split = splits.splits(0);
  EXPECT_EQ(split.source(), "Rollout/checkout");
  EXPECT_EQ(split.port_name(), "http");
  EXPECT_EQ(split.variants(1).connections_observed(), 3u);
  ASSERT_EQ(split.nodes_size(), 2);
  EXPECT_EQ(split.nodes(1).node(), "b");
  EXPECT_EQ(split.nodes(1).variants(0).connections_observed(), 4u);
}

TEST_F(StatusTest, AbortedIsDegradedAndSaysSo) {
  Begin();
  ASSERT_TRUE(core->Feed(kCheckout, engine::Abort{}).ok());
  const v1::Rollout status = Rollout();
  EXPECT_TRUE(status.aborted());
  EXPECT_EQ(status.phase(), "Degraded");
  EXPECT_EQ(status.canary_weight(), 0u);
  EXPECT_FALSE(status.message().empty());
}

TEST_F(StatusTest, ServicesAreListedByNamespaceAndName) {
  const Facts facts{*core, observed};
  const auto all = ServiceList(facts, "", "");
  ASSERT_EQ(all.services_size(), 1);
  EXPECT_EQ(all.services(0).split(), "Rollout/checkout");
  EXPECT_EQ(all.services(0).endpoints_ready(), 2u);
  EXPECT_EQ(all.services(0).frontends_size(), 1);
  EXPECT_EQ(ServiceList(facts, "shop", "checkout").services_size(), 1);
  EXPECT_EQ(ServiceList(facts, "other", "").services_size(), 0);
  EXPECT_EQ(ServiceList(facts, "shop", "cart").services_size(), 0);
  v1::ListSplitsResponse none;
  AddSplits(facts, {"shop", "cart"}, none);
  EXPECT_EQ(none.splits_size(), 0);
}

TEST_F(StatusTest, ANodeIsShownAsItIs) {
  dispatch::Node node;
  node.name = "a";
  node.number = 7;
  node.connected = true;
  node.generation_sent = 4;
  node.generation_acked = 3;
  node.nack_reason = "map full";
  node.abilities = {"connect4", "connect6"};
  v1::Node status = NodeStatus(node);
  EXPECT_EQ(status.number(), 7u);
  EXPECT_EQ(status.generation_acked(), 3u);
  EXPECT_EQ(status.nack_reason(), "map full");
  EXPECT_EQ(status.abilities_size(), 2);
  EXPECT_EQ(status.last_seen_unix_ms(), 0) << "never";
  node.last_seen = clock.WallNow();
  EXPECT_EQ(NodeStatus(node).last_seen_unix_ms(), 1'700'000'000'000);
}

}  // namespace
}  // namespace weir::app
