// Rollouts that decide by analysis: what ends them, what promotes them, what only reports.
#include "tests/integration/agent/http_get.h"
#include "tests/integration/controller/analysis_fixture.h"

namespace weir::testing {
namespace {

TEST_F(AnalysisTest, ABadCanaryIsAbortedWithTheReason) {
  Node a("a", controller_->port()), b("b", controller_->port());
  Stable(RolloutYaml("v1", kSuccessRate));
  for (Node* node : {&a, &b}) node->Serve("v1", {40, 0});
  Apply({RolloutYaml("v2", kSuccessRate)});
  ASSERT_TRUE(a.agent().WaitFor(Holds({{"v1", 80}, {"v2", 20}})));
  for (Node* node : {&a, &b}) node->Serve("v2", {10, 5});
  ASSERT_TRUE(a.agent().WaitFor(Holds({{"v1", 100}, {"v2", 0}}), 60s));
  ASSERT_TRUE(Becomes("Degraded"));
  const v1::Rollout rollout = client_->Get();
  EXPECT_TRUE(rollout.aborted());
  EXPECT_NE(rollout.message().find(
                "revision v2 was aborted: analysis at step 1 Failed: metric errors Failed: canary "),
            std::string::npos)
      << rollout.message();
  EXPECT_NE(rollout.message().find("E = "), std::string::npos) << rollout.message();
  ASSERT_EQ(rollout.analyses_size(), 1);
  EXPECT_EQ(rollout.analyses(0).phase(), "Failed");
  const auto runs = Runs("checkout");
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].name(), "checkout-v2-1-step-1");
  EXPECT_EQ(runs[0].where(), "step");
  EXPECT_EQ(runs[0].canary_revision(), "v2");
  ASSERT_EQ(runs[0].metrics_size(), 2);
  EXPECT_GE(runs[0].metrics(0).e_value_log10(), runs[0].metrics(0).threshold_log10());
  ASSERT_GE(runs[0].metrics(0).measurements_size(), 1);
  EXPECT_EQ(runs[0].metrics(0).measurements().rbegin()->phase(), "Failed");
  const std::string metrics = HttpGet(static_cast<uint16_t>(controller_->http_port()), "/metrics");
  EXPECT_NE(metrics.find("weir_analysis_runs{phase=\"Failed\"} 1\n"), std::string::npos) << metrics;
  EXPECT_NE(metrics.find("weir_analysis_measurements_total{outcome=\"Failed\"} "), std::string::npos);
}

TEST_F(AnalysisTest, EvidencePromotes) {
  constexpr char kSteps[] =
      "[{setWeight: 20}, {analysis: {templates: [{templateName: weir-success-rate}], untilConfident: true, "
      "limit: "
      "2m}}]";
  Node a("a", controller_->port());
  Stable(RolloutYaml("v1", kSteps));
  a.Serve("v1", {4000, 40});
  Apply({RolloutYaml("v2", kSteps)});
  ASSERT_TRUE(a.agent().WaitFor(Holds({{"v1", 80}, {"v2", 20}})));
  a.Serve("v2", {1000, 10});
  ASSERT_TRUE(client_->Watch([](const v1::Rollout& r) { return r.stable_revision() == "v2"; }, 100s));
  const auto runs = Runs();
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].phase(), "Successful");
  EXPECT_NE(runs[0].metrics(0).message().find("at least twice as bad: ruled out"), std::string::npos)
      << runs[0].metrics(0).message();
}

TEST_F(AnalysisTest, NoTrafficIsInconclusiveAndPauses) {
  constexpr char kSteps[] =
      "[{setWeight: 20}, {analysis: {templates: [{templateName: weir-success-rate}], untilConfident: true, "
      "limit: "
      "5s}}]";
  Node a("a", controller_->port());
  Stable(RolloutYaml("v1", kSteps));
  Apply({RolloutYaml("v2", kSteps)});
  ASSERT_TRUE(Becomes("Paused"));
  const v1::Rollout rollout = client_->Get();
  EXPECT_NE(rollout.message().find("Inconclusive: metric errors Inconclusive: no traffic to compare"),
            std::string::npos)
      << rollout.message();
  EXPECT_EQ(rollout.canary_weight(), 20U);
  ASSERT_TRUE(client_->Promote().ok());
  ASSERT_TRUE(Becomes("Healthy"));
}

TEST_F(AnalysisTest, ADryRunOnlyReports) {
  const std::string web = TemplateYaml(
      "web", "{name: ok, successCondition: result == 1, provider: {web: {url: 'http://127.0.0.1:1/'}}}");
  const std::string steps =
      "[{setWeight: 20}, {analysis: {templates: [{templateName: web}], dryRun: [{metricName: ok}]}}]";
  Answers answers("{\"v\": 0}");
  const std::string fails =
      TemplateYaml("web", "{name: ok, successCondition: result == 1, provider: {web: {url: '" +
                              answers.url() + "', jsonPath: '{$.v}'}}}");
  Node a("a", controller_->port());
  Apply({fails});
  Stable(RolloutYaml("v1", steps));
  Apply({RolloutYaml("v2", steps)});
  ASSERT_TRUE(client_->Watch([](const v1::Rollout& r) { return r.stable_revision() == "v2"; }, 60s));
  const auto runs = Runs();
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].phase(), "Successful");
  EXPECT_EQ(runs[0].metrics(0).phase(), "Failed");
  EXPECT_TRUE(runs[0].metrics(0).dry_run());
  EXPECT_EQ(runs[0].metrics(0).measurements(0).value(), "0");
}

TEST_F(AnalysisTest, BackgroundBeginsAtItsStepAndEndsTheRollout) {
  const std::string steps = "[{setWeight: 10}, {pause: {}}, {setWeight: 20}, {pause: {}}]";
  const std::string background = "{templates: [{templateName: weir-connect}], startingStep: 2}";
  Node a("a", controller_->port());
  Stable(WithBackground("v1", steps, background));
  a.Serve("v1", {40, 0});
  Apply({WithBackground("v2", steps, background)});
  ASSERT_TRUE(Becomes("Paused"));
  EXPECT_TRUE(Runs().empty()) << "not before its step";
  ASSERT_TRUE(client_->Promote().ok());
  ASSERT_TRUE(
      client_->Watch([](const v1::Rollout& r) { return r.phase() == "Paused" && r.analyses_size() == 1; }));
  EXPECT_EQ(client_->Get().analyses(0).where(), "background");
  EXPECT_EQ(client_->Get().analyses(0).phase(), "Running");
  ASSERT_TRUE(client_->Promote().ok());
  ASSERT_TRUE(client_->Watch([](const v1::Rollout& r) { return r.stable_revision() == "v2"; }));
  const auto runs = Runs();
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_TRUE(runs[0].stopped());
  EXPECT_NE(runs[0].phase(), "Running");
}

}  // namespace
}  // namespace weir::testing
