// A Deployment led through rollouts: what is written to it, step by step. Pods come and go by hand.
#include "controller/kubernetes/workload/plan.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace weir::kubernetes {
namespace {

constexpr int64_t kNever = kNeverAvailableSeconds;

class PlanTest : public ::testing::Test {
 protected:
  PlanTest() {
    deployment_.key = {"shop", "checkout"};
    deployment_.uid = "u";
    deployment_.generation = deployment_.observed_generation = 1;
    deployment_.replicas = 4;
    deployment_.knobs = user_;
    deployment_.digest = "d1";
    AddSet("h1", 4);
  }
  void AddSet(const std::string& revision, uint32_t pods) {
    ReplicaSet set;
    set.key = {"shop", "checkout-" + revision};
    set.owner = "u";
    set.revision = revision;
    set.digest = "d" + revision.substr(1);
    set.created = "2026-01-01T00:00:0" + revision.substr(1) + "Z";
    set.replicas = set.pods = pods;
    sets_.push_back(set);
  }
  void SetPods(const std::string& revision, uint32_t pods) {
    auto set = std::ranges::find(sets_, revision, &ReplicaSet::revision);
    set->pods = set->replicas = pods;
  }
  WorkloadFacts Facts() const {
    WorkloadFacts facts;
    facts.name = "checkout";
    facts.deployment = &deployment_;
    facts.sets = sets_;
    facts.rollout = "checkout";
    facts.progress = progress_;
    facts.leaving_may_go = may_go_;
    return facts;
  }
  WorkloadPlan Plan() const { return PlanWorkload(Facts()); }
  /// Carries the plan out, as the API server would have it then.
  WorkloadPlan Do() { return Carry(Plan()); }
  WorkloadPlan Carry(WorkloadPlan plan) {
    if (!plan.revision.empty()) progress_.wanted = plan.revision;
    if (!plan.write) return plan;
    deployment_.knobs = plan.write->knobs;
    deployment_.holder = plan.write->holder;
    deployment_.kept = plan.write->kept;
    deployment_.template_revision = plan.write->template_revision;
    if (plan.write->next == NextTemplate::kPutAside) next_digest_ = deployment_.digest;
    if (plan.write->next == NextTemplate::kBroughtBack) deployment_.digest = next_digest_;
    if (plan.write->next != NextTemplate::kKept) {
      deployment_.has_next = plan.write->next == NextTemplate::kPutAside;
    }
    if (!plan.write->template_of.empty()) {
      const auto set =
          std::ranges::find_if(sets_, [&](const auto& s) { return s.key.name == plan.write->template_of; });
      deployment_.digest = set->digest;
    }
    return plan;
  }
  /// Until nothing is to be done.
  WorkloadPlan DoAll() {
    WorkloadPlan plan;
    for (int i = 0; i < 10; ++i) {
      plan = Do();
      if (!plan.write && plan.revision.empty()) return plan;
    }
    ADD_FAILURE() << "it never comes to rest";
    return plan;
  }
  void Adopt() {
    DoAll();
    progress_.stable = "h1";
    progress_.settled = true;
    ASSERT_TRUE(deployment_.knobs.paused);
  }
  /// h2 is rolled out with so many pods.
  void BeginCanary(uint32_t pods) {
    deployment_.digest = "d2";
    DoAll();
    AddSet("h2", 1);
    DoAll();
    progress_.canary = "h2";
    progress_.pods = pods;
    DoAll();
    SetPods("h2", pods);
  }
  /// h2 is stable, and h1's pods are still there.
  void PromoteCanary() {
    BeginCanary(4);
    progress_.stable = "h2";
    progress_.canary.clear();
    progress_.pods = 0;
    DoAll();
  }
  int64_t Surge() const {
    return deployment_.knobs.max_surge.is_int64() ? deployment_.knobs.max_surge.get_int64() : -1;
  }

  Knobs user_{.min_ready_seconds = 7};
  Deployment deployment_;
  std::vector<ReplicaSet> sets_;
  RolloutProgress progress_;
  bool may_go_ = false;
  std::string next_digest_;  // of the template that was put aside
};

TEST_F(PlanTest, AdoptingOneThatRunsHoldsIt) {
  const WorkloadPlan first = Plan();
  EXPECT_EQ(first.revision, "h1") << "the engine first";
  EXPECT_FALSE(first.write);
  DoAll();
  Knobs held = user_;
  held.paused = true;
  held.max_unavailable = 0;
  EXPECT_EQ(deployment_.knobs, held);
  EXPECT_EQ(*KnobsFromJson(deployment_.kept), user_);
  EXPECT_EQ(deployment_.holder, "checkout");
}

TEST_F(PlanTest, OneThatIsRollingOutIsWaitedFor) {
  AddSet("h0", 1);
  EXPECT_EQ(Plan().waits_for, "Deployment checkout to end its own rollout");
  SetPods("h0", 0);
  deployment_.observed_generation = 0;
  EXPECT_FALSE(Plan().waits_for.empty());
}

TEST_F(PlanTest, OtherStrategiesAreRefused) {
  deployment_.rolling_update = false;
  deployment_.strategy = "Recreate";
  EXPECT_NE(Plan().refused.find("strategy Recreate"), std::string::npos);
  deployment_.rolling_update = true;
  deployment_.holder = "other";
  EXPECT_NE(Plan().refused.find("held by Rollout other"), std::string::npos);
}

TEST_F(PlanTest, ANewTemplateGetsPodsThatNeverBecomeAvailable) {
  Adopt();
  deployment_.digest = "d2";
  WorkloadPlan plan = DoAll();
  EXPECT_FALSE(deployment_.knobs.paused);
  EXPECT_EQ(deployment_.knobs.min_ready_seconds, kNever);
  EXPECT_EQ(deployment_.knobs.progress_deadline_seconds, kNever + 1);
  EXPECT_EQ(Surge(), 1);
  EXPECT_EQ(plan.waits_for, "the first pod of Deployment checkout's new template");
  AddSet("h2", 1);
  EXPECT_EQ(Do().revision, "h2");
  progress_.canary = "h2";
  progress_.pods = 2;
  DoAll();
  EXPECT_EQ(deployment_.template_revision, "h2");
  EXPECT_EQ(Surge(), 2);
  progress_.pods = 4;
  DoAll();
  EXPECT_EQ(Surge(), 4);
}

TEST_F(PlanTest, FewerPodsOnlyOnceTheWeightsAreEverywhere) {
  Adopt();
  BeginCanary(3);
  progress_.pods = 1;
  progress_.settled = false;
  DoAll();
  EXPECT_EQ(Surge(), 3);
  progress_.settled = true;
  DoAll();
  EXPECT_EQ(Surge(), 1);
}

TEST_F(PlanTest, OldPodsGoWhenNobodyTalksToThem) {
  Adopt();
  BeginCanary(4);
  progress_.stable = "h2";
  progress_.canary.clear();
  progress_.pods = 0;
  progress_.settled = false;
  EXPECT_EQ(DoAll().waits_for, "every node to take the weights");
  progress_.settled = true;
  const WorkloadPlan plan = DoAll();
  EXPECT_EQ(plan.waits_for, "connections to revision h1 to end");
  EXPECT_EQ(plan.leaving, "h1");
  EXPECT_EQ(Surge(), 4);
  EXPECT_TRUE(deployment_.knobs.paused) << "another template waits";
  may_go_ = true;
  DoAll();
  EXPECT_EQ(deployment_.knobs.min_ready_seconds, 7);
  EXPECT_FALSE(deployment_.knobs.paused);
  SetPods("h1", 0);
  DoAll();
  EXPECT_TRUE(deployment_.knobs.paused) << "held again";
  EXPECT_EQ(*KnobsFromJson(deployment_.kept), user_);
}

// The Deployment controller would remove what is not Available, which are the pods with all the traffic.
TEST_F(PlanTest, ATemplateThatComesWhileOldPodsLeaveWaits) {
  Adopt();
  PromoteCanary();
  for (const char* digest : {"d3", "d0"}) {  // a new one; one that was there before
    if (digest == std::string("d0")) AddSet("h0", 0);
    deployment_.digest = digest;
    const WorkloadPlan plan = DoAll();
    EXPECT_EQ(plan.waits_for, "connections to revision h1 to end") << digest;
    EXPECT_EQ(plan.leaving, "h1");
    EXPECT_TRUE(deployment_.knobs.paused);
    EXPECT_EQ(deployment_.digest, digest);
  }
  may_go_ = true;
  DoAll();
  EXPECT_EQ(deployment_.digest, "d2") << "stable's own, so that its pods are Available";
  EXPECT_EQ(deployment_.knobs.min_ready_seconds, 7);
  EXPECT_TRUE(deployment_.has_next);
  may_go_ = false;
  SetPods("h1", 0);
  EXPECT_EQ(Do().write->next, NextTemplate::kBroughtBack);
  EXPECT_TRUE(deployment_.knobs.paused);
  EXPECT_EQ(deployment_.digest, "d0");
  EXPECT_EQ(Do().revision, "h0") << "and begins";
}

TEST_F(PlanTest, AWishThatComesLaterTakesThePlaceOfTheOneThatWaits) {
  Adopt();
  PromoteCanary();
  deployment_.digest = "d3";
  may_go_ = true;
  DoAll();
  ASSERT_TRUE(deployment_.has_next);
  deployment_.digest = "d4";
  DoAll();
  EXPECT_FALSE(deployment_.has_next);
  EXPECT_EQ(deployment_.digest, "d4");

  deployment_.has_next = true;
  next_digest_ = "d5";
  Carry(PlanGivingBack(Facts()));
  EXPECT_EQ(deployment_.digest, "d5") << "the user's, with the Deployment";
}

TEST_F(PlanTest, AnUndoWhileOldPodsLeaveWaitsAsWell) {
  Adopt();
  PromoteCanary();
  AddSet("h0", 0);
  progress_.wanted = progress_.canary = "h0";
  progress_.pods = 2;
  EXPECT_EQ(DoAll().waits_for, "connections to revision h1 to end");
  EXPECT_EQ(deployment_.digest, "d2");
  may_go_ = true;
  DoAll();
  EXPECT_EQ(deployment_.knobs.min_ready_seconds, 7);
  SetPods("h1", 0);
  DoAll();
  EXPECT_EQ(deployment_.digest, "d0");
  EXPECT_EQ(Surge(), 2);
}

TEST_F(PlanTest, AnAbortRestoresTheTemplateAndThenLetsTheCanaryGo) {
  Adopt();
  BeginCanary(2);
  progress_.aborted = true;
  progress_.pods = 0;
  progress_.settled = false;
  EXPECT_EQ(DoAll().waits_for, "every node to take the canary's weight away");
  progress_.settled = true;
  DoAll();
  EXPECT_EQ(deployment_.digest, "d1");
  EXPECT_EQ(deployment_.template_revision, "h1");
  EXPECT_EQ(deployment_.knobs.min_ready_seconds, kNever) << "its pods stay while somebody talks to them";
  may_go_ = true;
  DoAll();
  EXPECT_EQ(deployment_.knobs.min_ready_seconds, 7);
  SetPods("h2", 0);
  DoAll();
  EXPECT_TRUE(deployment_.knobs.paused);

  // A GitOps controller applies it again: nothing starts.
  deployment_.digest = "d2";
  const WorkloadPlan again = DoAll();
  EXPECT_EQ(again.waits_for, "retry: revision h2 was aborted");
  EXPECT_TRUE(deployment_.knobs.paused);
  // Somebody retries.
  progress_.aborted = false;
  progress_.pods = 2;
  DoAll();
  EXPECT_EQ(Surge(), 2);
}

TEST_F(PlanTest, RetryAndUndoBringTheirTemplate) {
  Adopt();
  BeginCanary(2);
  progress_.aborted = true;
  progress_.pods = 0;
  may_go_ = true;
  DoAll();
  SetPods("h2", 0);
  DoAll();
  EXPECT_EQ(deployment_.digest, "d1");
  may_go_ = false;
  progress_.aborted = false;
  progress_.pods = 2;
  DoAll();
  EXPECT_EQ(deployment_.digest, "d2");
  EXPECT_EQ(Surge(), 2);
  // Undo in mid-rollout: back to stable.
  SetPods("h2", 2);
  progress_.wanted = "h1";
  progress_.canary.clear();
  progress_.pods = 0;
  DoAll();
  EXPECT_EQ(deployment_.digest, "d1");
  // To a revision whose ReplicaSet is gone.
  SetPods("h2", 0);
  progress_.wanted = "h0";
  progress_.canary = "h0";
  EXPECT_NE(DoAll().refused.find("no ReplicaSet of revision h0"), std::string::npos);
}

TEST_F(PlanTest, AThirdTemplateTakesThePlaceOfTheCanary) {
  Adopt();
  BeginCanary(2);
  deployment_.digest = "d3";
  DoAll();
  EXPECT_EQ(Surge(), 1) << "until the Deployment controller has named it";
  AddSet("h3", 1);
  EXPECT_EQ(Do().revision, "h3");
}

TEST_F(PlanTest, WhatTheUserChangesMeanwhileIsGivenBack) {
  Adopt();
  deployment_.knobs.min_ready_seconds = 30;
  deployment_.knobs.max_unavailable = 1;
  deployment_.knobs.max_surge = 2;
  DoAll();
  EXPECT_EQ(deployment_.knobs.max_unavailable, IntOrPercent(0)) << "held all the same";
  Carry(PlanGivingBack(Facts()));
  EXPECT_EQ(deployment_.knobs.min_ready_seconds, 30);
  EXPECT_EQ(deployment_.knobs.max_unavailable, IntOrPercent(1));
  EXPECT_EQ(deployment_.knobs.max_surge, IntOrPercent(2));
  EXPECT_FALSE(deployment_.knobs.paused);
  EXPECT_TRUE(deployment_.holder.empty() && deployment_.kept.empty() &&
              deployment_.template_revision.empty());
}

TEST_F(PlanTest, ACanaryGoesWithItsRollout) {
  Adopt();
  BeginCanary(2);
  Carry(PlanGivingBack(Facts()));
  EXPECT_EQ(deployment_.digest, "d1") << "nobody has judged the canary";
  EXPECT_EQ(deployment_.knobs, user_);
  EXPECT_FALSE(PlanGivingBack(Facts()).write) << "once";
}

TEST_F(PlanTest, AMaxSurgeOfNoneIsNotLeftBesideNoMaxUnavailable) {
  user_.max_surge = 0;
  user_.max_unavailable = 1;
  deployment_.knobs = user_;
  Adopt();
  EXPECT_EQ(Surge(), 1) << "the API server refuses 0 and 0";
  Carry(PlanGivingBack(Facts()));
  EXPECT_EQ(deployment_.knobs, user_);
}

TEST(Edit, WritesTheFieldsAndLeavesTheRest) {
  boost::json::object deployment =
      boost::json::parse(R"({"metadata": {"name": "a", "annotations": {"mine": "x"}},
    "spec": {"replicas": 3, "strategy": {"type": "RollingUpdate"}, "template": {"metadata": {"labels": {"app": "a"}}}}})")
          .as_object();
  WorkloadWrite write;
  write.knobs.paused = true;
  write.knobs.max_surge = 2;
  write.template_of = "a-1";
  write.holder = "r";
  Edit(write,
       boost::json::parse(
           R"({"metadata": {"labels": {"app": "a", "pod-template-hash": "1"}}, "spec": {"x": 1}})"),
       deployment);
  EXPECT_EQ(
      deployment,
      boost::json::parse(R"({"metadata": {"name": "a", "annotations": {"mine": "x", "weir.dev/rollout": "r"}},
    "spec": {"replicas": 3, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": "25%"}},
      "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"x": 1}}, "paused": true, "minReadySeconds": 0,
      "progressDeadlineSeconds": 600}})"));
}

TEST(Edit, ATemplateIsPutAsideAndBroughtBack) {
  const auto mine = boost::json::parse(R"({"spec": {"x": 3}})");
  boost::json::object deployment{{"metadata", {{"name", "a"}}}, {"spec", {{"template", mine}}}};
  WorkloadWrite write;
  write.template_of = "a-1";
  write.next = NextTemplate::kPutAside;
  Edit(write, boost::json::parse(R"({"spec": {"x": 2}})"), deployment);
  EXPECT_EQ(deployment.at("spec").at("template").at("spec").at("x"), 2);
  write.template_of.clear();
  write.next = NextTemplate::kKept;
  Edit(write, nullptr, deployment);
  EXPECT_TRUE(deployment.at("metadata").at("annotations").as_object().contains(kNextAnnotation));
  write.next = NextTemplate::kBroughtBack;
  Edit(write, nullptr, deployment);
  EXPECT_EQ(deployment.at("spec").at("template"), mine);
  EXPECT_TRUE(deployment.at("metadata").at("annotations").as_object().empty());
}

TEST(TemplateDigest, TheHashLabelMakesNoDifference) {
  const auto with =
      boost::json::parse(R"({"metadata": {"labels": {"app": "a", "pod-template-hash": "1"}}, "spec": {}})");
  const auto without = boost::json::parse(R"({"metadata": {"labels": {"app": "a"}}, "spec": {}})");
  const auto other = boost::json::parse(R"({"metadata": {"labels": {"app": "b"}}, "spec": {}})");
  EXPECT_EQ(TemplateDigest(with), TemplateDigest(without));
  EXPECT_NE(TemplateDigest(other), TemplateDigest(without));
}

}  // namespace
}  // namespace weir::kubernetes
