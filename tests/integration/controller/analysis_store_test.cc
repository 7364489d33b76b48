// What outlives the controller of a run, what nobody can read of it, and what is refused before there is one.
#include "controller/store/store.h"
#include "tests/integration/controller/analysis_fixture.h"

namespace weir::testing {
namespace {

TEST_F(AnalysisTest, GoesOnFromTheStoreAfterAKill) {
  Node a("a", controller_->port());
  Stable(RolloutYaml("v1", kSuccessRate));
  a.Serve("v1", {40, 0});
  Apply({RolloutYaml("v2", kSuccessRate)});
  ASSERT_TRUE(a.agent().WaitFor(Holds({{"v1", 80}, {"v2", 20}})));
  a.Serve("v2", {10, 0});
  const auto measured = [&](size_t times) {
    return client_->Watch(
        [&](const v1::Rollout&) {
          const auto runs = Runs();
          return runs.size() == 1 && static_cast<size_t>(runs[0].metrics(0).measurements_size()) >= times;
        },
        60s);
  };
  ASSERT_TRUE(measured(1));
  const v1::AnalysisRun before = Runs()[0];
  const int port = controller_->port();
  controller_->End(SIGKILL);
  controller_.reset();
  Start(port);
  const auto after = Runs();
  ASSERT_EQ(after.size(), 1U);
  EXPECT_EQ(after[0].name(), before.name());
  EXPECT_EQ(after[0].started_unix_ms(), before.started_unix_ms());
  EXPECT_EQ(after[0].phase(), "Running");
  EXPECT_EQ(after[0].metrics(0).measurements(0).SerializeAsString(),
            before.metrics(0).measurements(0).SerializeAsString());
  a.Serve("v2", {10, 10});
  ASSERT_TRUE(a.agent().WaitFor(Holds({{"v1", 100}, {"v2", 0}}), 60s));
  ASSERT_TRUE(Becomes("Degraded"));
}

TEST_F(AnalysisTest, SecretsAreNowhereToBeRead) {
  const std::string secret = "s3cr3t-of-the-test";
  Answers answers("{\"v\": 1}");
  const std::string yaml = TemplateYaml(
      "web", "{name: ok, interval: 1s, count: 4, successCondition: result == 1, provider: {web: {url: '" +
                 answers.url() +
                 "', headers: [{key: Authorization, value: 'Bearer {{args.token}}'}], jsonPath: '{$.v}'}}}");
  const std::string steps =
      "[{setWeight: 20}, {analysis: {templates: [{templateName: web}], args: [{name: token, value: " +
      secret + "}]}}]";
  Node a("a", controller_->port());
  Apply({yaml});
  Stable(RolloutYaml("v1", steps));
  Apply({RolloutYaml("v2", steps)});
  ASSERT_TRUE(client_->Watch([&](const v1::Rollout&) {
    const auto runs = Runs();
    return !runs.empty() && runs[0].metrics(0).measurements_size() > 0;
  }));
  for (const auto& run : Runs()) EXPECT_EQ(run.DebugString().find(secret), std::string::npos);
  EXPECT_EQ(client_->Get().DebugString().find(secret), std::string::npos);
  // And yet it goes on after a restart.
  const int port = controller_->port();
  controller_->End(SIGKILL);
  controller_.reset();
  {
    auto store = store::Store::Open(base_ / "state");
    ASSERT_TRUE(store.ok()) << store.status();
    const auto contents = (*store)->Load();
    ASSERT_TRUE(contents.ok());
    ASSERT_EQ(contents->runs.size(), 1U);
    EXPECT_EQ(contents->runs.begin()->second.find(secret), std::string::npos);
  }
  Start(port);
  ASSERT_TRUE(client_->Watch([](const v1::Rollout& r) { return r.stable_revision() == "v2"; }, 60s));
}

TEST_F(AnalysisTest, WhatCanBeKnownIsRefusedWhenItIsApplied) {
  const auto with = [&](const std::string& analysis) {
    return std::vector<std::string>{HttpServiceYaml(), SliceYaml("v1", "127.0.1.1"),
                                    RolloutYaml("v1", "[{setWeight: 20}, {analysis: " + analysis + "}]")};
  };
  EXPECT_NE(Refused(with("{templates: [{templateName: nothing}]}"))
                .find("Rollout shop/checkout: spec.strategy.canary.steps[1].analysis: templateName: found "
                      "\"nothing\""),
            std::string::npos);
  EXPECT_NE(Refused(with("{templates: [{templateName: weir-connect}], args: [{name: x, value: any}]}"))
                .find("args.x: found an argument of no template"),
            std::string::npos);
  auto plain = with("{templates: [{templateName: weir-success-rate}]}");
  plain[0] = ServiceYaml();
  EXPECT_NE(Refused(plain).find("metric errors over Service shop/checkout, whose requests are not counted"),
            std::string::npos);
  // A template that is in use stays as long as it is.
  Apply({TemplateYaml("web", "{name: ok, provider: {web: {url: 'http://127.0.0.1:1/'}}}")});
  Apply(with("{templates: [{templateName: web}]}"));
  v1::DeleteRequest request;
  request.set_kind("AnalysisTemplate");
  request.set_namespace_("shop");
  request.set_name("web");
  v1::DeleteResponse response;
  EXPECT_EQ(client_->Call(&v1::WeirService::Stub::Delete, request, &response).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
}

}  // namespace
}  // namespace weir::testing
