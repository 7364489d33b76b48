// What a table says better than a scenario: which commands are refused in which situation, and Describe.
#include "controller/engine/engine.h"

#include <gtest/gtest.h>

namespace weir::engine {
namespace {

constexpr TimePoint kNow{Duration{1'700'000'000'000}};

struct Situation {
  const char* name;
  State state;
};

State Stable() {
  State state;
  state.spec = state.given = {.revision = "v1", .steps = {SetWeight{20}, Pause{}, SetWeight{50}, Pause{}}};
  state.stable = "v1";
  state.ready = {{"v1", 2}, {"v2", 2}};
  state.published_stable = "v1";
  state.generation = 1;
  state.delivery = Delivery::kAcked;
  state.acks = {.generation = 1, .desired = 2, .acked = 2};
  return state;
}

State AtPause() {
  State state = Stable();
  state.spec.revision = state.given.revision = "v2";
  state.canary = "v2";
  state.step = 1;
  state.pause_started = kNow;
  state.published_canary = "v2";
  state.published_weight = 20;
  return state;
}

State Held() {
  State state = AtPause();
  state.hold = Hold::kUser;
  return state;
}

State Aborted() {
  State state = AtPause();
  state.aborted = true;
  state.published_weight = 0;
  return state;
}

State WithoutEndpoints() {
  State state = AtPause();
  state.ready.erase("v2");
  state.published_weight = 0;
  return state;
}

bool Rejected(const State& state, const Event& event) {
  for (const Effect& effect : Step(state, event, kNow).effects) {
    if (std::holds_alternative<Reject>(effect)) return true;
  }
  return false;
}

TEST(EngineTest, WhichCommandsMakeSenseWhen) {
  struct Command {
    const char* name;
    Event event;
    // stable, at a pause, held by the user, aborted, without a ready canary
    bool taken[5];
  };
  const Situation situations[] = {{"stable", Stable()},
                                  {"at a pause", AtPause()},
                                  {"held", Held()},
                                  {"aborted", Aborted()},
                                  {"no ready canary", WithoutEndpoints()}};
  const Command commands[] = {
      {"promote", Promote{}, {false, true, true, false, false}},
      {"promote full", Promote{true}, {false, true, true, false, false}},
      {"abort", Abort{}, {false, true, true, false, true}},
      {"retry", Retry{}, {false, false, false, true, false}},
      {"pause", UserPause{}, {false, true, false, false, true}},
      {"resume", Resume{}, {false, false, true, false, false}},
      {"set-weight 30", SetWeightByHand{30}, {false, true, true, false, false}},
      {"set-weight 101", SetWeightByHand{101}, {false, false, false, false, false}},
      {"undo", Undo{}, {false, true, true, true, true}},
      {"undo v1", Undo{"v1"}, {false, true, true, true, true}},
      {"undo v2", Undo{"v2"}, {false, false, false, false, false}},
  };
  for (const Command& command : commands) {
    for (size_t i = 0; i < std::size(situations); ++i) {
      const State& state = situations[i].state;
      EXPECT_EQ(!Rejected(state, command.event), command.taken[i])
          << command.name << ", " << situations[i].name;
      if (!command.taken[i]) {
        EXPECT_TRUE(Step(state, command.event, kNow).state == state)
            << command.name << ", " << situations[i].name;
      }
    }
  }
}

TEST(EngineTest, DescribesWhatPeopleSee) {
  State refusing = AtPause();
  refusing.pause_started.reset();
  refusing.delivery = Delivery::kPublished;
  refusing.acks.refusing = {"n2: map full", "n3: map full"};
  State timed = AtPause();
  timed.pause_until = kNow + Duration(7000);
  State over = timed;
  over.pause_until = kNow;
  over.delivery = Delivery::kPublished;
  over.acks.acked = 1;
  State by_hand = Held();
  by_hand.manual_weight = 33;
  by_hand.published_weight = 33;
  State behind = AtPause();
  behind.acks.behind = {"n3", "n4"};
  State taking_over = AtPause();
  taking_over.finishing = true;
  taking_over.published_stable = "v2";
  taking_over.published_canary = "";
  taking_over.published_weight = 0;

  struct Case {
    const char* name;
    State state;
    Phase phase;
    uint32_t weight;
    bool paused;
    std::optional<Duration> remaining;
    const char* message;
  };
  const Case cases[] = {
      {"nothing yet", State{}, Phase::kProgressing, 0, false, {}, "no revision is named yet"},
      {"stable", Stable(), Phase::kHealthy, 0, false, {}, ""},
      {"pause", AtPause(), Phase::kPaused, 20, true, {}, "paused at step 1 of 4; promote to go on"},
      {"timed pause", timed, Phase::kPaused, 20, true, Duration(7000), "pausing at step 1 of 4"},
      {"its time is over",
       over,
       Phase::kProgressing,
       20,
       false,
       {},
       "waiting for 1 of 2 nodes to acknowledge"},
      {"held", Held(), Phase::kPaused, 20, true, {}, "paused by the user at step 1 of 4"},
      {"by hand", by_hand, Phase::kPaused, 33, true, {}, "weight 33 set by hand"},
      {"aborted", Aborted(), Phase::kDegraded, 0, false, {}, "revision v2 was aborted"},
      {"no endpoints",
       WithoutEndpoints(),
       Phase::kProgressing,
       0,
       false,
       {},
       "waiting for a ready endpoint of revision v2"},
      {"refused", refusing, Phase::kProgressing, 20, false, {}, "refused by n2: map full, n3: map full"},
      {"behind", behind, Phase::kPaused, 20, true, {}, "out of reach and not waited for: n3, n4"},
      {"taking over", taking_over, Phase::kPaused, 100, true, {}, ""},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Description got = Describe(c.state, kNow);
    EXPECT_STREQ(PhaseName(got.phase), PhaseName(c.phase));
    EXPECT_EQ(got.canary_weight, c.weight);
    EXPECT_EQ(got.paused, c.paused);
    EXPECT_EQ(got.pause_remaining, c.remaining);
    EXPECT_NE(got.message.find(c.message), std::string::npos) << got.message;
    if (*c.message == '\0' && c.phase == Phase::kHealthy) {
      EXPECT_EQ(got.message, "");
    }
  }
}

TEST(EngineTest, HistoryIsBounded) {
  State state;
  uint64_t generation = 0;
  for (int revision = 1; revision <= 20; ++revision) {
    const std::string name = "v" + std::to_string(revision);
    state = Step(state, EndpointsObserved{{{name, 1}}}, kNow).state;
    state = Step(state, SpecChanged{{.revision = name}}, kNow).state;
    for (int i = 0; i < 4 && !(state.generation != 0 && state.canary.empty()); ++i) {
      state = Step(state, Published{++generation}, kNow).state;
      state = Step(state, AcksObserved{{.generation = generation}}, kNow).state;
    }
    ASSERT_EQ(state.stable, name);
  }
  ASSERT_EQ(state.history.size(), kHistory);
  EXPECT_EQ(state.history.front(), "v10");
  EXPECT_EQ(state.history.back(), "v19");
}

}  // namespace
}  // namespace weir::engine
