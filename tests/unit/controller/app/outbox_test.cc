// Notifications of a rollout: kept in the same commit as the change they tell of, until they are struck out.
#include "controller/app/stored.h"
#include "tests/unit/controller/app/core_fixture.h"

namespace weir::app {
namespace {

using Strings = std::vector<std::string>;

std::string WebhookYaml(const std::string& name, const std::string& ns = "shop",
                        const std::string& events = "[started, paused, step, aborted, completed]") {
  return fmt::format(R"(apiVersion: weir.dev/v1alpha1
kind: Webhook
metadata: {{name: {}, namespace: {}}}
spec: {{url: "http://127.0.0.1:1/", events: {}}}
)",
                     name, ns, events);
}

const std::string kSteps = "[{setWeight: 20}, {pause: {}}]";

class OutboxTest : public CoreTest {
 protected:
  void SetUp() override {
    CoreTest::SetUp();
    PutCheckout();
    ASSERT_TRUE(AckAll().ok());
  }
  const std::vector<webhooks::Notification>& Outbox() const { return core->rollouts().at(kCheckout).outbox; }
  /// "webhook event", oldest first.
  Strings Waiting() const {
    Strings waiting;
    for (const auto& notification : Outbox())
      waiting.push_back(notification.webhook + " " + notification.fields.at("event"));
    return waiting;
  }
};

TEST_F(OutboxTest, WrittenInTheCommitOfTheChangeForEveryWebhookThatAsks) {
  ASSERT_TRUE(
      Put({WebhookYaml("all"), WebhookYaml("some", "shop", "[paused]"), WebhookYaml("all", "other")}).ok());
  EXPECT_TRUE(Outbox().empty()) << "what was before is not told";
  store.commits = 0;
  ASSERT_TRUE(Put({RolloutYaml("v2", kSteps)}).ok());
  EXPECT_EQ(store.commits, 1);
  EXPECT_EQ(Waiting(), Strings{"all started"});
  ASSERT_TRUE(AckAll().ok());
  EXPECT_EQ(Waiting(), (Strings{"all started", "all step", "all paused", "some paused"}));
  std::set<std::string> ids;
  for (const auto& notification : Outbox()) ids.insert(notification.fields.at("id"));
  EXPECT_EQ(ids.size(), 4u) << "each has its own";
}

TEST_F(OutboxTest, AWebhookOfTheSameManifestsHearsOfTheChangeBesideIt) {
  ASSERT_TRUE(Put({RolloutYaml("v2", kSteps), WebhookYaml("all")}).ok());
  EXPECT_EQ(Waiting(), Strings{"all started"});
}

TEST_F(OutboxTest, WhatCouldNotBeWrittenDidNotHappen) {
  ASSERT_TRUE(Put({WebhookYaml("all")}).ok());
  store.refusing = true;
  EXPECT_FALSE(Put({RolloutYaml("v2", kSteps)}).ok());
  EXPECT_TRUE(Outbox().empty());
}

TEST_F(OutboxTest, OutlivesARestartUntilItIsStruckOut) {
  ASSERT_TRUE(Put({WebhookYaml("all")}).ok());
  ASSERT_TRUE(Put({RolloutYaml("v2", kSteps)}).ok());
  ASSERT_TRUE(AckAll().ok());
  const auto before = Outbox();
  ASSERT_EQ(before.size(), 3u);
  Start();
  EXPECT_EQ(Outbox(), before) << "ids too";
  ASSERT_TRUE(core->StrikeOut(kCheckout, before[1].number).ok());
  Start();
  EXPECT_EQ(Waiting(), (Strings{"all started", "all paused"}));
  store.refusing = true;
  EXPECT_FALSE(core->StrikeOut(kCheckout, before[0].number).ok());
  EXPECT_EQ(Outbox().size(), 2u) << "still owed";
  store.refusing = false;
  store.commits = 0;
  EXPECT_TRUE(core->StrikeOut(kCheckout, 12345).ok());
  EXPECT_TRUE(core->StrikeOut({"shop", "none"}, 1).ok());
  EXPECT_EQ(store.commits, 0);
}

TEST_F(OutboxTest, ARolloutOfTheSameNameRepeatsNoId) {
  ASSERT_TRUE(Put({WebhookYaml("all"), RolloutYaml("v2", kSteps)}).ok());
  const std::string id = Outbox().at(0).fields.at("id");
  ASSERT_TRUE(core->Change({.puts = {}, .removals = {{"Rollout", kCheckout}}}).ok());
  clock.Advance(std::chrono::milliseconds(1));
  ASSERT_TRUE(Put({RolloutYaml("v1")}).ok());
  ASSERT_TRUE(Put({RolloutYaml("v2", kSteps)}).ok());
  EXPECT_EQ(Outbox().at(0).fields.at("event"), "started");
  EXPECT_NE(Outbox().at(0).fields.at("id"), id);
}

TEST_F(OutboxTest, ABoundedNumberIsKept) {
  ASSERT_TRUE(Put({WebhookYaml("all")}).ok());
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(Put({RolloutYaml("v2", kSteps)}).ok());
    ASSERT_TRUE(core->Feed(kCheckout, engine::Abort{}).ok());
    ASSERT_TRUE(core->Feed(kCheckout, engine::Retry{}).ok());
    ASSERT_TRUE(Put({RolloutYaml("v1")}).ok());
  }
  EXPECT_EQ(Outbox().size(), 256u);
  EXPECT_LT(store.contents.states.begin()->second.size(), 200'000u);
}

TEST_F(OutboxTest, AStateFromBeforeWebhooksIsTaken) {
  std::string& text = store.contents.states.begin()->second;
  const size_t begin = text.find(",\"outbox\"");
  ASSERT_NE(begin, std::string::npos) << text;
  text.erase(begin, text.rfind('}') - begin);
  ASSERT_TRUE(ParseStored(text).ok()) << text;
  Start();
  EXPECT_EQ(State().stable, "v1");
}

TEST_F(OutboxTest, ACheckLeavesEveryKindAsItIs) {
  // Of a kind that a check could not put back, the object would be gone.
  const std::string analysis = R"(apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: t, namespace: shop}
spec: {metrics: [{name: m, successCondition: "result > 0", provider: {prometheus: {address: "http://p:9090", query: up}}}]}
)";
  ASSERT_TRUE(Put({WebhookYaml("all"), analysis}).ok());
  const model::ObjectSet before = core->objects();
  ASSERT_TRUE(core->Check(Puts({WebhookYaml("all", "shop", "[paused]"), analysis})).ok());
  EXPECT_EQ(core->objects(), before);
}

}  // namespace
}  // namespace weir::app
