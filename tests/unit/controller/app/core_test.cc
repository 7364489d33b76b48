// Every change is one transaction: whole and durable before anybody hears of it, or nothing at all.
#include "controller/app/core.h"

#include "tests/unit/controller/app/core_fixture.h"

namespace weir::app {
namespace {

using std::chrono::seconds;
using Lines = std::vector<std::string>;

/// What a core shows, to compare before and after.
struct Seen {
  explicit Seen(const Core& core)
      : objects(core.objects()), nodes(core.nodes()), generation(core.generation()), wake(core.NextWake()) {
    for (const auto& [key, entry] : core.rollouts()) states[key] = entry.state;
    for (const auto& [service, of] : core.frontends()) {
      std::string text;
      for (const auto& [id, frontend] : of) text += frontend.DebugString();
      frontends[service] = text;
    }
  }
  bool operator==(const Seen&) const = default;

  model::ObjectSet objects;
  std::map<std::string, uint32_t> nodes;
  uint64_t generation;
  std::optional<engine::TimePoint> wake;
  std::map<ObjectKey, engine::State> states;
  std::map<ObjectKey, std::string> frontends;
};

TEST_F(CoreTest, AnEmptyStoreGetsAGenerationAndNothingElse) {
  EXPECT_EQ(core->generation(), 1u);
  EXPECT_EQ(store.contents.generation.number, 1u);
  EXPECT_TRUE(core->frontends().empty());
}

TEST_F(CoreTest, AChangeIsOneCommitThenThePublicationThenTheRollouts) {
  store.commits = 0;
  ASSERT_TRUE(
      Put({kServiceYaml, SliceYaml("v1", "127.0.1.1"), SliceYaml("v2", "127.0.1.2"), RolloutYaml("v1")})
          .ok());
  EXPECT_EQ(store.commits, 1);
  EXPECT_EQ(told.Take(), (Lines{"published 2: 1 upserts, 0 removals", "rollout shop/checkout"}));
  EXPECT_EQ(Weights(), "v1*100");
  EXPECT_EQ(State().stable, "v1");
  EXPECT_EQ(State().generation, 2u) << "the engine was told its number in the same transaction";
  EXPECT_EQ(store.contents.objects.size(), 4u);
  EXPECT_EQ(store.contents.states.size(), 1u);
}

TEST_F(CoreTest, TheSameAgainTakesNoNewGeneration) {
  PutCheckout();
  ASSERT_TRUE(Put({kServiceYaml, RolloutYaml("v1")}).ok());
  EXPECT_EQ(core->generation(), 2u);
  for (const auto& line : told.Take()) EXPECT_EQ(line, "rollout shop/checkout");
}

TEST_F(CoreTest, StepsGoOnWithAcksAndTime) {
  PutCheckout();
  ASSERT_TRUE(AckAll().ok());
  ASSERT_TRUE(Put({RolloutYaml("v2")}).ok());
  EXPECT_EQ(Weights(), "v1*80 v2*20");
  EXPECT_FALSE(core->NextWake()) << "no pause runs before all agents hold the weight";
  ASSERT_TRUE(AckAll().ok());
  ASSERT_TRUE(core->NextWake());
  EXPECT_EQ(*core->NextWake(), core->Now() + seconds(10));
  EXPECT_TRUE(core->Due().empty());
  clock.Advance(seconds(9));
  EXPECT_TRUE(core->Due().empty());
  clock.Advance(seconds(1));
  EXPECT_EQ(core->Due(), std::vector{kCheckout});
  ASSERT_TRUE(core->Feed(kCheckout, engine::Tick{}).ok());
  EXPECT_TRUE(core->Due().empty());
  EXPECT_EQ(Weights(), "v2*100");
  EXPECT_EQ(State().stable, "v1") << "as long as some agent may still divide";
  ASSERT_TRUE(AckAll().ok());
  EXPECT_EQ(State().stable, "v2");
  EXPECT_EQ(Weights(), "v2*100");
}

TEST_F(CoreTest, WhenTheStoreRefusesNothingHasChanged) {
  PutCheckout();
  ASSERT_TRUE(AckAll().ok());
  ASSERT_TRUE(core->NumberNodes({"a"}).ok());
  told.Take();
  const Seen before(*core);
  const store::Contents stored = store.contents;
  store.refusing = true;
  const std::string cart = R"(apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: 127.96.0.9, ports: [{port: 80}]}
)";
  const std::pair<const char*, std::function<Status()>> rows[] = {
      {"a rollout begins", [&] { return Put({RolloutYaml("v2")}); }},
      {"a service is new", [&] { return Put({cart}); }},
      {"endpoints go",
       [&] {
         return core->Change({.puts = {}, .removals = {{"EndpointSlice", {"shop", "checkout-v1"}}}});
       }},
      {"all goes",
       [&] {
         return core->Change({.puts = {}, .removals = {{"Rollout", kCheckout}, {"Service", kCheckout}}});
       }},
      {"nodes come",
       [&] {
         return core->NumberNodes({"b", "c"}).status();
       }},
      {"a node goes", [&] { return core->ForgetNode("a"); }},
      {"an agent is ahead", [&] { return core->SkipBeyond(100); }},
  };
  for (const auto& [name, change] : rows) {
    SCOPED_TRACE(name);
    const Status status = change();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << Message(status);
    EXPECT_NE(Message(status).find("disk full"), std::string::npos) << Message(status);
    EXPECT_EQ(told.Take(), Lines());
    EXPECT_TRUE(Seen(*core) == before);
    EXPECT_EQ(store.contents, stored);
  }
  EXPECT_GE(core->commit_failures(), 4u);
}

// They are observed anew after a restart, so there is nothing to write.
TEST_F(CoreTest, AcknowledgementsDoNotNeedTheStore) {
  PutCheckout();
  ASSERT_TRUE(AckAll().ok());
  store.refusing = true;
  engine::AcksObserved event;
  event.acks = {.generation = core->generation(), .desired = 2, .acked = 2};  // another node came
  EXPECT_TRUE(core->Feed(kCheckout, event).ok());
  EXPECT_EQ(State().acks, event.acks);
}

TEST_F(CoreTest, WhatTheStoreRefusedGoesThroughWhenItIsFedAgain) {
  PutCheckout();
  ASSERT_TRUE(AckAll().ok());
  ASSERT_TRUE(Put({RolloutYaml("v2")}).ok());
  ASSERT_TRUE(AckAll().ok());
  clock.Advance(seconds(10));
  store.refusing = true;
  EXPECT_FALSE(core->Feed(kCheckout, engine::Tick{}).ok());
  EXPECT_EQ(Weights(), "v1*80 v2*20");
  EXPECT_EQ(core->Due(), std::vector{kCheckout}) << "still due";
  store.refusing = false;
  told.Take();
  EXPECT_TRUE(core->Feed(kCheckout, engine::Tick{}).ok());
  EXPECT_EQ(Weights(), "v2*100");
  EXPECT_EQ(told.Take(), (Lines{"published 4: 1 upserts, 0 removals", "rollout shop/checkout"}));
}

TEST_F(CoreTest, ARejectedCommandSaysWhyAndChangesNothing) {
  PutCheckout();
  ASSERT_TRUE(AckAll().ok());
  const Seen before(*core);
  const int commits = store.commits;
  const Status status = core->Feed(kCheckout, engine::Promote{});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(Message(status).find("rollout shop/checkout: "), std::string::npos) << Message(status);
  EXPECT_TRUE(Seen(*core) == before);
  EXPECT_EQ(store.commits, commits);
  EXPECT_EQ(core->Feed({"shop", "cart"}, engine::Promote{}).code(), absl::StatusCode::kNotFound);
}

TEST_F(CoreTest, ObjectsThatDoNotFitTogetherAreRefusedWithEveryBreach) {
  PutCheckout();
  const Seen before(*core);
  const int commits = store.commits;
  std::string second = kServiceYaml, other = RolloutYaml("v2");
  second.replace(second.find("checkout"), 8, "cart");
  other.replace(other.find("name: checkout"), 14, "name: again");
  const Status check = core->Check(Puts({second, other}));
  const Status status = Put({second, other});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Message(check), Message(status)) << "a dry run says the same";
  EXPECT_NE(Message(status).find("127.96.0.1"), std::string::npos) << Message(status);
  EXPECT_NE(Message(status).find("shop/again"), std::string::npos) << Message(status);
  EXPECT_TRUE(Seen(*core) == before);
  EXPECT_EQ(store.commits, commits);
  EXPECT_TRUE(told.Take().empty());
}

// After every commit the controller may die: whoever starts from what is stored must come to the same end,
// and may not call other content by a number that was given.
TEST_F(CoreTest, ARestartAfterAnyCommitGoesOnUnderTheSameNumber) {
  PutCheckout();
  const struct {
    const char* name;
    std::function<Status()> change;
    bool pausing = false;  // a pause with an end is running
  } script[] = {
      {"acked", [&] { return AckAll(); }},
      {"begins", [&] { return Put({RolloutYaml("v2")}); }},
      {"20 acked", [&] { return AckAll(); }, true},
      {"paused by hand", [&] { return core->Feed(kCheckout, engine::UserPause{}); }},
      {"resumed", [&] { return core->Feed(kCheckout, engine::Resume{}); }, true},
      {"pause over",
       [&] {
         clock.Advance(seconds(20));
         return core->Feed(kCheckout, engine::Tick{});
       }},
      {"100 acked", [&] { return AckAll(); }},
      {"acked again", [&] { return AckAll(); }},
      {"undone", [&] { return core->Feed(kCheckout, engine::Undo{}); }},
      {"undo acked", [&] { return AckAll(); }},
      {"aborted", [&] { return core->Feed(kCheckout, engine::Abort{}); }},
  };
  for (const auto& [name, change, pausing] : script) {
    SCOPED_TRACE(name);
    const Status status = change();
    ASSERT_TRUE(status.ok()) << Message(status);
    const std::string weights = Weights();
    const uint64_t generation = core->generation();
    const auto wake = core->NextWake();
    const bool held = State().delivery == engine::Delivery::kAcked;
    Start();
    if (held) {  // the nodes come back, and say so again
      ASSERT_TRUE(AckAll().ok());
    }
    EXPECT_EQ(Weights(), weights);
    EXPECT_EQ(core->generation(), generation);
    if (pausing) {
      ASSERT_TRUE(wake);
      EXPECT_EQ(core->NextWake(), wake) << "a pause goes on through a restart";
    }
  }
  EXPECT_EQ(State().stable, "v2");
  EXPECT_TRUE(State().aborted);
  EXPECT_EQ(core->objects().rollouts.at(kCheckout).spec.revision, "v1") << "abort leaves spec alone";
}

TEST_F(CoreTest, ContentThatIsNotTheStoredDigestsGetsANewNumber) {
  PutCheckout();
  store.contents.generation.digest = "what an older weir-controller compiled";
  Start();
  EXPECT_EQ(core->generation(), 3u);
  EXPECT_EQ(store.contents.generation.number, 3u);
}

TEST_F(CoreTest, AStoredObjectThatIsNotTakenIsNamed) {
  PutCheckout();
  const store::Contents good = store.contents;
  store.contents.objects[{"Service", "shop", "checkout"}] = "kind: Service\n";
  Core bad_object(store, clock, told, compiler::Options{});
  const Status object = bad_object.Load();
  EXPECT_NE(Message(object).find("stored Service shop/checkout"), std::string::npos) << Message(object);
  store.contents = good;
  store.contents.states[{"shop", "checkout"}] = "{";
  Core bad_state(store, clock, told, compiler::Options{});
  const Status state = bad_state.Load();
  EXPECT_NE(Message(state).find("stored state of rollout shop/checkout"), std::string::npos)
      << Message(state);
}

TEST_F(CoreTest, UndoStoresTheRevisionInTheObject) {
  PutCheckout();
  ASSERT_TRUE(AckAll().ok());
  ASSERT_TRUE(Put({RolloutYaml("v2")}).ok());
  ASSERT_TRUE(core->Feed(kCheckout, engine::Undo{}).ok());
  EXPECT_EQ(core->objects().rollouts.at(kCheckout).spec.revision, "v1");
  const std::string& yaml = store.contents.objects.at({"Rollout", "shop", "checkout"});
  EXPECT_NE(yaml.find("v1"), std::string::npos) << yaml;
  EXPECT_EQ(yaml.find("v2"), std::string::npos) << yaml;
}

TEST_F(CoreTest, RemovedObjectsTakeTheirFrontendsAndStatesAlong) {
  PutCheckout();
  ASSERT_TRUE(core->Change({.puts = {}, .removals = {{"Rollout", kCheckout}, {"Service", kCheckout}}}).ok());
  EXPECT_EQ(told.Take(), (Lines{"published 3: 0 upserts, 1 removals", "rollout shop/checkout"}));
  EXPECT_TRUE(core->frontends().empty());
  EXPECT_TRUE(core->rollouts().empty());
  EXPECT_TRUE(store.contents.states.empty());
}

TEST_F(CoreTest, AnAddressThatGoesFromOneServiceToAnotherIsNotRemoved) {
  PutCheckout();
  std::string moved = kServiceYaml;
  moved.replace(moved.find("checkout"), 8, "cart");
  ObjectChanges changes = Puts({moved});
  changes.removals = {{"Rollout", kCheckout}, {"Service", kCheckout}};
  ASSERT_TRUE(core->Change(changes).ok());
  EXPECT_EQ(told.Take(), (Lines{"published 3: 1 upserts, 0 removals", "rollout shop/checkout"}));
}

TEST_F(CoreTest, NodesGetTheSmallestFreeNumbers) {
  EXPECT_EQ(*core->NumberNodes({"a", "b", "c"}),
            (std::map<std::string, uint32_t>{{"a", 0}, {"b", 1}, {"c", 2}}));
  ASSERT_TRUE(core->ForgetNode("b").ok());
  EXPECT_EQ(*core->NumberNodes({"d", "e"}), (std::map<std::string, uint32_t>{{"d", 1}, {"e", 3}}));
  Start();
  EXPECT_EQ(core->nodes(), (std::map<std::string, uint32_t>{{"a", 0}, {"c", 2}, {"d", 1}, {"e", 3}}));
}

TEST_F(CoreTest, SkipBeyondOnlyGoesForwardAndDoesNotBelieveTheAbsurd) {
  ASSERT_TRUE(core->SkipBeyond(41).ok());
  EXPECT_EQ(core->generation(), 42u);
  EXPECT_EQ(store.contents.generation.number, 42u);
  ASSERT_TRUE(core->SkipBeyond(7).ok());
  ASSERT_TRUE(core->SkipBeyond(~uint64_t{0}).ok());
  EXPECT_EQ(core->generation(), 42u);
}

TEST_F(CoreTest, WhatIsObservedAnewIsNotWritten) {
  PutCheckout();
  store.commits = 0;
  const auto states = store.contents.states;
  ASSERT_TRUE(AckAll().ok());
  EXPECT_EQ(State().delivery, engine::Delivery::kAcked);
  ASSERT_TRUE(Put({SliceYaml("v2", "127.0.1.9")}).ok());
  engine::AcksObserved gone;
  gone.acks = {.generation = State().generation, .desired = 2, .acked = 1};
  ASSERT_TRUE(core->Feed(kCheckout, gone).ok());
  EXPECT_EQ(store.contents.states, states);
  // A process that takes it up finds all of it again, and goes on.
  Start();
  engine::AcksObserved all;
  all.acks = {.generation = State().generation, .desired = 1, .acked = 1};
  ASSERT_TRUE(core->Feed(kCheckout, all).ok());
  EXPECT_EQ(State().delivery, engine::Delivery::kAcked);
  EXPECT_EQ(State().ready.at("v2"), 1U);
  ASSERT_TRUE(Put({RolloutYaml("v2")}).ok());
  EXPECT_NE(store.contents.states, states);
}

// Its Service is gone for a while. As a new rollout it would make its canary stable at once.
TEST_F(CoreTest, InAClusterARolloutThatWasRefusedGoesOnWhereItWas) {
  core = std::make_unique<Core>(store, clock, told, compiler::Options{}, model::Origin::kCluster);
  ASSERT_TRUE(core->Load(model::ObjectSet{}).ok());
  PutCheckout();
  ASSERT_TRUE(AckAll().ok());
  ASSERT_TRUE(Put({RolloutYaml("v2", "[{setWeight: 20}, {pause: {}}]")}).ok());
  ASSERT_TRUE(AckAll().ok());
  ASSERT_TRUE(AckAll().ok());
  ASSERT_EQ(Weights(), "v1*80 v2*20");
  const engine::State before = State();

  ObjectChanges refused;
  refused.removals = {{"Rollout", kCheckout}, {"Service", kCheckout}};
  ASSERT_TRUE(core->Change(refused).ok());
  EXPECT_EQ(Weights(), "");
  ASSERT_TRUE(Put({kServiceYaml, RolloutYaml("v2", "[{setWeight: 20}, {pause: {}}]")}).ok());
  EXPECT_EQ(Weights(), "v1*80 v2*20");
  EXPECT_EQ(State().canary, before.canary);
  EXPECT_EQ(State().step, before.step);

  ASSERT_TRUE(core->Change(refused).ok());
  core->ForgetRollout(kCheckout);
  ASSERT_TRUE(Put({kServiceYaml, RolloutYaml("v2")}).ok());
  EXPECT_EQ(Weights(), "v2*100") << "another one of the same name";
}

// A leader that begins while it is refused.
TEST_F(CoreTest, InAClusterTheStateOfARefusedRolloutIsKept) {
  PutCheckout();
  ASSERT_TRUE(Put({RolloutYaml("v2", "[{setWeight: 20}, {pause: {}}]")}).ok());
  const auto states = store.contents.states;
  MemoryStore other;
  other.contents.states = states;
  Told hears{other};
  Core successor(other, clock, hears, compiler::Options{}, model::Origin::kCluster);
  ASSERT_TRUE(successor.Load(model::ObjectSet{}).ok());
  ASSERT_TRUE(successor
                  .Change(Puts({kServiceYaml, SliceYaml("v1", "127.0.1.1"), SliceYaml("v2", "127.0.1.2"),
                                RolloutYaml("v2", "[{setWeight: 20}, {pause: {}}]")}))
                  .ok());
  EXPECT_EQ(successor.rollouts().at(kCheckout).state.stable, "v1");
  EXPECT_EQ(successor.rollouts().at(kCheckout).state.canary, "v2");
}

}  // namespace
}  // namespace weir::app
