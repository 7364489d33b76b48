// Rollouts that decide by analysis, through the real program: simulated agents report what they counted, a
// server of the test's answers what it is told.
#include <atomic>
#include <mutex>
#include <thread>

#include "controller/store/store.h"
#include "tests/integration/agent/http_get.h"
#include "tests/integration/analysis/raw_server.h"
#include "tests/integration/controller/controller_fixture.h"
#include "tests/integration/controller/counted.h"

namespace weir::testing {
namespace {

std::string HttpServiceYaml(const std::string& name = "checkout", const std::string& ip = "127.96.0.1") {
  return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name +
         ", namespace: shop}\nspec: {clusterIP: " + ip +
         ", ports: [{name: http, port: 80, protocol: TCP, appProtocol: http}]}\n";
}

/// `provider`: one line of YAML, after "provider: ".
std::string TemplateYaml(const std::string& name, const std::string& metric) {
  return "apiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: {name: " + name +
         ", namespace: shop}\nspec:\n  args: [{name: token, value: none}]\n  metrics:\n  - " + metric + "\n";
}

std::string WithBackground(const std::string& revision, const std::string& steps,
                           const std::string& analysis) {
  std::string yaml = RolloutYaml(revision, steps);
  return yaml + "      analysis: " + analysis + "\n";
}

/// A node's agent whose clients send traffic: a report a second, until it is stopped.
class Node {
 public:
  /// Errors of so many requests, of each revision, each second.
  struct Traffic {
    uint64_t requests = 0, errors = 0;
  };
  Node(const std::string& name, int port) : agent_(Options(name, port)) { agent_.Start(); }
  ~Node() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    agent_.Stop();
  }
  void Serve(const std::string& revision, Traffic traffic, const std::string& service = "checkout") {
    std::lock_guard lock(mutex_);
    traffic_[{service, revision}] = traffic;
    if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  }
  SimAgent& agent() { return agent_; }

 private:
  static SimAgent::Options Options(const std::string& name, int port) {
    SimAgent::Options options;
    options.node_name = name;
    options.channel = Dial(port);
    options.reconnect = true;
    return options;
  }
  void Run() {
    auto next = std::chrono::steady_clock::now();
    while (!stop_) {
      {
        std::lock_guard lock(mutex_);
        for (const auto& [key, traffic] : traffic_)
          counted_.Serve(key.second, traffic.requests, traffic.errors, key.first);
        counted_.SendBy(agent_);
      }
      next += 1s;
      while (!stop_ && std::chrono::steady_clock::now() < next) std::this_thread::sleep_for(20ms);
    }
  }

  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, Traffic> traffic_;
  Counted counted_;
  SimAgent agent_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

/// Answers every request as it was told last.
class Answers {
 public:
  explicit Answers(const std::string& body) : server_(context_, Response(body)) {
    thread_ = std::thread([this] { context_.run(); });
  }
  ~Answers() {
    context_.stop();
    thread_.join();
  }
  std::string url() const { return server_.url(); }
  static std::string Response(const std::string& body) {
    return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
  }

 private:
  boost::asio::io_context context_;
  RawServer server_;
  std::thread thread_;
};

class AnalysisTest : public ControllerTest {
 protected:
  AnalysisTest() { Start(0); }

  void Start(int port) {
    controller_ = std::make_unique<Controller>(base_ / "state", port);
    ASSERT_TRUE(controller_->listening());
    client_ = std::make_unique<Client>(Dial(controller_->port()));
  }
  void Apply(const std::vector<std::string>& files) {
    const grpc::Status status = client_->Apply(files);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  /// The Service with both revisions, v1 stable.
  void Stable(const std::string& rollout) {
    Apply({HttpServiceYaml(), SliceYaml("v1", "127.0.1.1"), SliceYaml("v2", "127.0.2.1"), rollout});
    ASSERT_TRUE(client_->Watch([](const v1::Rollout& r) { return r.phase() == "Healthy"; }));
  }
  bool Becomes(const std::string& phase, std::chrono::milliseconds timeout = 60s) {
    return client_->Watch([&](const v1::Rollout& r) { return r.phase() == phase; }, timeout);
  }
  std::vector<v1::AnalysisRun> Runs(const std::string& name = "") {
    v1::ListRequest request;
    request.set_namespace_("shop");
    request.set_name(name);
    v1::ListAnalysisRunsResponse response;
    EXPECT_TRUE(client_->Call(&v1::WeirService::Stub::ListAnalysisRuns, request, &response).ok());
    return {response.runs().begin(), response.runs().end()};
  }
  std::string Refused(const std::vector<std::string>& files) {
    const grpc::Status status = client_->Apply(files, nullptr, /*dry_run=*/true);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    return status.error_message();
  }

  std::unique_ptr<Controller> controller_;
  std::unique_ptr<Client> client_;
};

constexpr char kSuccessRate[] =
    "[{setWeight: 20}, {analysis: {templates: [{templateName: weir-success-rate}]}}]";

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
