// Which events a change of a rollout's state is, in which order.
#include "controller/webhooks/events.h"

#include <gtest/gtest.h>

namespace weir::webhooks {
namespace {

using engine::Duration;
using engine::State;

constexpr engine::TimePoint kNow{Duration{1'700'000'000'000}};

/// A rollout with one node that acknowledges at once; what it tells.
class Rollout {
 public:
  std::vector<std::string> Feed(const engine::Event& event) {
    const State before = state_;
    Step(event);
    return EventsBetween(before, state_, kNow);
  }
  const State& state() const { return state_; }
  /// The node holds the newest generation.
  engine::AcksObserved Acked() const { return {{.generation = generation_, .desired = 1, .acked = 1}}; }
  bool answers = true;  // or nothing is acknowledged by itself

 private:
  void Step(const engine::Event& event) {
    engine::Decision decision = engine::Step(state_, event, kNow);
    state_ = std::move(decision.state);
    for (const engine::Effect& effect : decision.effects) {
      if (!std::holds_alternative<engine::Publish>(effect)) continue;
      Step(engine::Published{++generation_});
      if (answers) Step(Acked());
    }
  }
  State state_;
  uint64_t generation_ = 0;
};

engine::SpecChanged Wanted(const std::string& revision) {
  return {{.revision = revision,
           .steps = {engine::SetWeight{20}, engine::Pause{}, engine::SetWeight{50}, engine::Pause{}}}};
}

using Events = std::vector<std::string>;

class EventsTest : public testing::Test {
 protected:
  EventsTest() {
    rollout_.Feed(engine::EndpointsObserved{{{"v1", 1}, {"v2", 1}}});
    EXPECT_EQ(rollout_.Feed(Wanted("v1")), Events{}) << "the first revision is no rollout";
  }
  Rollout rollout_;
};

TEST_F(EventsTest, FromStartToEnd) {
  EXPECT_EQ(rollout_.Feed(Wanted("v2")), (Events{"started", "step", "paused"}));
  EXPECT_EQ(rollout_.Feed(engine::Tick{}), Events{});
  EXPECT_EQ(rollout_.Feed(engine::Promote{}), (Events{"step", "paused"})) << "two pauses in a row are two";
  EXPECT_EQ(rollout_.Feed(engine::Promote{}), Events{"completed"});
  EXPECT_EQ(rollout_.Feed(Wanted("v2")), Events{});
}

TEST_F(EventsTest, AbortAndRetry) {
  rollout_.Feed(Wanted("v2"));
  EXPECT_EQ(rollout_.Feed(engine::Abort{}), Events{"aborted"});
  EXPECT_EQ(rollout_.Feed(engine::Tick{}), Events{});
  EXPECT_EQ(rollout_.Feed(engine::Retry{}), (Events{"started", "step", "paused"}));
  EXPECT_EQ(rollout_.Feed(engine::Undo{}), Events{}) << "back to stable, as the user wished";
}

TEST_F(EventsTest, WhatIsSkippedIsNotTold) {
  rollout_.Feed(Wanted("v2"));
  EXPECT_EQ(rollout_.Feed(engine::Promote{.full = true}), Events{"completed"});
}

TEST_F(EventsTest, TheEndIsToldWhenEveryNodeHasIt) {
  rollout_.Feed(Wanted("v2"));
  rollout_.Feed(engine::Promote{});
  rollout_.answers = false;
  EXPECT_EQ(rollout_.Feed(engine::Promote{}), Events{});
  EXPECT_EQ(rollout_.Feed(rollout_.Acked()), Events{"completed"});
}

TEST_F(EventsTest, AnAbortByAnAnalysisOrOfTheFlipIsOne) {
  engine::Spec spec{.revision = "v2", .steps = {engine::Pause{}}, .blue_green = engine::BlueGreen{}};
  spec.blue_green->scale_down_delay = engine::Duration(std::chrono::hours(1));
  rollout_.Feed(engine::SpecChanged{spec});
  EXPECT_EQ(rollout_.Feed(engine::Promote{}), Events{"completed"});
  EXPECT_EQ(rollout_.Feed(engine::Abort{}), Events{"aborted"});
}

TEST_F(EventsTest, TheWayBackIsCompletedAtOnce) {
  engine::Spec spec{.revision = "v2", .steps = {engine::Pause{}}, .blue_green = engine::BlueGreen{}};
  spec.blue_green->scale_down_delay = engine::Duration(std::chrono::hours(1));
  EXPECT_EQ(rollout_.Feed(engine::SpecChanged{spec}), (Events{"started", "paused"}));
  EXPECT_EQ(rollout_.Feed(engine::Promote{}), Events{"completed"});
  EXPECT_EQ(rollout_.Feed(engine::Undo{}), Events{"completed"});
  EXPECT_EQ(rollout_.state().stable, "v1");
}

TEST_F(EventsTest, AHoldIsAPause) {
  rollout_.Feed(engine::EndpointsObserved{{{"v1", 1}}});
  EXPECT_EQ(rollout_.Feed(Wanted("v2")), Events{"started"});
  EXPECT_EQ(rollout_.Feed(engine::UserPause{}), Events{"paused"});
  EXPECT_EQ(rollout_.Feed(engine::Resume{}), Events{});
}

TEST_F(EventsTest, FieldsAreThoseOfTheState) {
  rollout_.Feed(Wanted("v2"));
  const model::WebhookFields fields = FieldsOf({"shop", "checkout"}, rollout_.state(), kNow);
  EXPECT_EQ(fields.at("time"), "2023-11-14T22:13:20Z");
  EXPECT_EQ(fields.at("rollout"), "checkout");
  EXPECT_EQ(fields.at("phase"), "Paused");
  EXPECT_EQ(fields.at("canary"), "v2");
  EXPECT_EQ(fields.at("weight"), "20");
  EXPECT_EQ(fields.at("step"), "1");
  EXPECT_EQ(fields.at("steps"), "4");
}

}  // namespace
}  // namespace weir::webhooks
