#include "controller/app/acks.h"

#include <gtest/gtest.h>

namespace weir::app {
namespace {

using std::chrono::seconds;
using Names = std::vector<std::string>;

class AcksTest : public testing::Test {
 protected:
  dispatch::Node& Connected(const std::string& name, uint64_t acked) {
    dispatch::Node& node = nodes[name];
    node.name = name;
    node.connected = true;
    node.generation_acked = acked;
    return node;
  }
  dispatch::Node& Away(const std::string& name, uint64_t acked, std::chrono::seconds since) {
    dispatch::Node& node = Connected(name, acked);
    node.connected = false;
    node.away_since = clock.Now() - since;
    return node;
  }
  AckView View() const { return {nodes, seconds(10), clock.Now()}; }

  FakeClock clock;
  std::map<std::string, dispatch::Node> nodes;
};

TEST_F(AcksTest, CountsWhoHoldsAGenerationOrALaterOne) {
  Connected("a", 5);
  Connected("b", 7);
  Connected("c", 9);
  const AckView view = View();
  const std::pair<uint64_t, uint32_t> rows[] = {{1, 3}, {5, 3}, {6, 2}, {7, 2}, {8, 1}, {9, 1}, {10, 0}};
  for (const auto& [generation, acked] : rows) {
    EXPECT_EQ(view.For(generation), (engine::Acks{.generation = generation, .desired = 3, .acked = acked}));
  }
  EXPECT_FALSE(view.next_expiry());
}

TEST_F(AcksTest, NoNodesIsComplete) {
  EXPECT_TRUE(View().For(3).complete());
  EXPECT_EQ(View().For(3).desired, 0u);
}

TEST_F(AcksTest, ANodeThatIsAwayCountsForTheTimeoutAndIsBehindThen) {
  Connected("a", 7);
  Away("b", 5, seconds(4));
  Away("c", 5, seconds(9));
  Away("d", 5, seconds(10));
  Away("e", 7, seconds(60));
  const AckView view = View();
  EXPECT_EQ(view.For(7), (engine::Acks{.generation = 7, .desired = 3, .acked = 1, .behind = {"d", "e"}}));
  EXPECT_EQ(view.next_expiry(), clock.Now() + seconds(1)) << "c is the next to stop to count";
}

TEST_F(AcksTest, ARefusalCountsForTheGenerationsItCovers) {
  auto& node = Connected("a", 5);
  node.generation_nacked = 8;
  node.nack_reason = "map full";
  Connected("b", 9);
  const AckView view = View();
  EXPECT_EQ(view.For(5).refusing, Names()) << "it holds that one";
  EXPECT_EQ(view.For(6).refusing, Names{"a: map full"});
  EXPECT_EQ(view.For(8).refusing, Names{"a: map full"});
  EXPECT_EQ(view.For(9).refusing, Names()) << "of that one it has not said anything";
  EXPECT_EQ(view.Refusing(5), Names{"a: map full"}) << "it holds that one, and takes nothing new";
  EXPECT_EQ(view.Refusing(8), Names{"a: map full"});
  EXPECT_EQ(view.Refusing(9), Names());
  EXPECT_FALSE(view.For(8).complete());
}

TEST_F(AcksTest, ARefusalOfANodeThatHasGoneDoesNotHold) {
  auto& node = Away("a", 5, seconds(1));
  node.generation_nacked = 8;
  node.nack_reason = "map full";
  EXPECT_EQ(View().For(8).refusing, Names());
  EXPECT_EQ(View().For(8).desired, 1u);
}

class NoObserver final : public dispatch::Observer {
  Result<std::map<std::string, uint32_t>> NumberNodes(const std::vector<std::string>&) override {
    return std::map<std::string, uint32_t>();
  }
  void OnNodesChanged() override {}
  void OnTelemetry(const dispatch::Node&, const v1::Telemetry&) override {}
  void OnAgentAhead(uint64_t) override {}
};

TEST_F(AcksTest, ViewsAreBuiltAnewWhenANodeStopsToCount) {
  NoObserver observer;
  dispatch::Dispatcher dispatcher({}, clock, observer);
  AckViews views(dispatcher, clock);
  EXPECT_EQ(views.For(seconds(10)).For(1).desired, 0u);
  dispatcher.RestoreNodes({{"a", 0}, {"b", 1}});
  EXPECT_EQ(views.For(seconds(10)).For(1).desired, 0u) << "kept until somebody says that nodes changed";
  views.Invalidate();
  EXPECT_EQ(views.For(seconds(10)).For(1).desired, 2u);
  clock.Advance(seconds(5));
  EXPECT_EQ(views.For(seconds(10)).For(1).desired, 2u);
  EXPECT_EQ(views.For(seconds(5)).For(1).behind, (Names{"a", "b"})) << "each timeout has a view of its own";
  clock.Advance(seconds(5));
  EXPECT_EQ(views.For(seconds(10)).For(1).behind, (Names{"a", "b"}));
}

}  // namespace
}  // namespace weir::app
