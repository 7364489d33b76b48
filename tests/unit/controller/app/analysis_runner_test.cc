// Runs as they are carried out: stored before anything is done, gone on with after a restart, told once.
#include "controller/app/analysis_runner.h"

#include <deque>

#include "tests/unit/controller/app/core_fixture.h"
#include "tests/unit/controller/telemetry/node_counts.h"

namespace weir::app {
namespace {

using namespace std::chrono_literals;
using engine::AnalysisWhere;
using engine::Outcome;

/// Answers when it is told to.
class HeldProviders final : public Providers {
 public:
  void Ask(const analysis::Provider& provider, analysis::TimePoint, Done done) override {
    const auto* web = std::get_if<analysis::WebRequest>(&provider);
    asked.push_back(web != nullptr ? web->url : std::get<analysis::PrometheusQuery>(provider).query);
    held.push_back(std::move(done));
  }
  void Stop() override {
    for (Done& done : std::exchange(held, {})) done(Error(absl::StatusCode::kCancelled, "stopped"));
  }
  void Answer(Result<boost::json::value> value) {
    Done done = std::move(held.front());
    held.pop_front();
    done(std::move(value));
  }

  std::vector<std::string> asked;
  std::deque<Done> held;
};

class RunnerTest : public testing::Test, public AnalysisRunner::Host {
 protected:
  RunnerTest() {
    model::Rollout rollout;
    rollout.key = kCheckout;
    rollout.service = "checkout";
    objects_.rollouts[kCheckout] = rollout;
    Template("web",
             "{name: ok, interval: 10s, count: 2, successCondition: result == 1, provider: {web: {url: "
             "'http://w/{{args.token}}'}}}");
    StartProcess();
  }

  void Template(const std::string& name, const std::string& metric) {
    const std::string yaml = fmt::format(
        "apiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: {{name: {}, namespace: "
        "shop}}\nspec: "
        "{{args: [{{name: token, value: t}}], metrics: [{}]}}\n",
        name, metric);
    const auto documents = model::ParseManifests(yaml, "test");
    ASSERT_TRUE(documents.ok()) << Message(documents.status());
    objects_.Put(documents->front().object);
  }

  /// As after a start of the program: what is in memory is gone.
  void StartProcess() {
    runner.reset();
    providers = std::make_unique<HeldProviders>();
    cluster = std::make_unique<telemetry::Cluster>();
    runner = std::make_unique<AnalysisRunner>(context, clock, store, *cluster, *providers, *this);
    runner->Load(store.contents.runs);
  }
  void Start(const std::string& id, std::vector<std::string> templates,
             AnalysisWhere where = AnalysisWhere::kStep) {
    engine::StartAnalysis start{.run_id = id, .where = where, .analysis = {}, .stable = "v1", .canary = "v2"};
    start.analysis.templates = std::move(templates);
    runner->Start(kCheckout, start);
    Poll();
  }
  void Poll() {
    context.restart();
    context.poll();
  }
  /// Time passes, second by second, with a look at each.
  void Pass(int seconds) {
    for (int i = 0; i < seconds; ++i) {
      clock.Advance(1s);
      runner->Look();
      Poll();
    }
  }
  /// A second in which the node reports so much of both revisions.
  void Second(uint64_t stable, uint64_t stable_errors, uint64_t canary, uint64_t canary_errors) {
    clock.Advance(1s);
    if (stable > 0) node_.Serve("v1", stable, stable_errors);
    if (canary > 0) node_.Serve("v2", canary, canary_errors);
    cluster->Report("n", stream_, node_.Message(1000), clock.Now());
    runner->Look();
    Poll();
  }
  const analysis::Run& Run(const std::string& id) const {
    return runner->runs().at({kCheckout, id}).record.run;
  }

  // AnalysisRunner::Host
  const model::ObjectSet& Objects() const override { return objects_; }
  Status OnFinished(const ObjectKey&, const engine::AnalysisFinished& event) override {
    if (refuses_to_hear) return Error(absl::StatusCode::kUnavailable, "disk full");
    EXPECT_TRUE(store.contents.runs.contains({"shop", "checkout", event.run_id}))
        << "told before it was stored";
    told.push_back(event);
    return OkStatus();
  }
  void OnRunChanged(const ObjectKey&) override { ++changes; }

  const ObjectKey kCheckout{"shop", "checkout"};
  boost::asio::io_context context;
  FakeClock clock;
  MemoryStore store;
  model::ObjectSet objects_;
  telemetry::NodeCounts node_{"e"};
  MonotonicTime stream_{1s};  // when the node's stream began
  std::unique_ptr<telemetry::Cluster> cluster;
  std::unique_ptr<HeldProviders> providers;
  std::unique_ptr<AnalysisRunner> runner;
  std::vector<engine::AnalysisFinished> told;
  int changes = 0;
  bool refuses_to_hear = false;
};

TEST_F(RunnerTest, MeasuresAndTellsTheEnd) {
  Start("r", {"web"});
  EXPECT_EQ(providers->asked, std::vector<std::string>{"http://w/t"});
  providers->Answer(1);
  Pass(9);
  EXPECT_EQ(providers->asked.size(), 1U);
  Pass(1);
  ASSERT_EQ(providers->asked.size(), 2U);
  providers->Answer(1);
  Poll();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].run_id, "r");
  EXPECT_EQ(told[0].outcome, Outcome::kSuccessful);
  Pass(30);
  EXPECT_EQ(told.size(), 1U) << "once";
  EXPECT_EQ(runner->statistics().measurements.at(analysis::Phase::kSuccessful), 2U);
  EXPECT_GT(changes, 0);
}

TEST_F(RunnerTest, NothingIsDoneBeforeItIsStored) {
  store.refusing = true;
  Start("r", {"web"});
  Pass(3);
  EXPECT_TRUE(providers->asked.empty());
  EXPECT_GT(runner->statistics().commit_failures, 0U);
  store.refusing = false;
  Pass(1);
  ASSERT_EQ(providers->asked.size(), 1U);
  store.refusing = true;
  providers->Answer(0);  // fails at once
  Pass(2);
  EXPECT_TRUE(told.empty());
  store.refusing = false;
  Pass(1);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].outcome, Outcome::kFailed);
}

TEST_F(RunnerTest, TheEndIsToldAgainUntilItIsHeard) {
  Start("r", {"web"});
  refuses_to_hear = true;
  providers->Answer(0);
  Pass(3);
  EXPECT_TRUE(told.empty());
  refuses_to_hear = false;
  Pass(1);
  EXPECT_EQ(told.size(), 1U);
}

TEST_F(RunnerTest, GoesOnAfterARestart) {
  Start("r", {"web"});
  providers->Answer(1);
  Pass(10);
  ASSERT_EQ(providers->asked.size(), 2U) << "under way as the program dies";
  StartProcess();
  Start("r", {"web"});
  EXPECT_EQ(providers->asked, std::vector<std::string>{"http://w/t"}) << "asked anew, with its arguments";
  providers->Answer(1);
  Poll();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].outcome, Outcome::kSuccessful);
  EXPECT_EQ(Run("r").results[0].successful, 2U);
  // Its end was stored, but the engine did not come to store that it heard.
  StartProcess();
  Start("r", {"web"});
  EXPECT_TRUE(providers->asked.empty());
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[1], told[0]);
}

TEST_F(RunnerTest, ATemplateThatChangedMeanwhileIsNoOtherQuestion) {
  Start("r", {"web"});
  EXPECT_EQ(store.contents.runs.begin()->second.find("http://w"), std::string::npos)
      << "not kept with the run";
  Template("web",
           "{name: ok, interval: 10s, count: 2, successCondition: result == 1, provider: {web: {url: "
           "'http://other/'}}}");
  StartProcess();
  Start("r", {"web"});
  Pass(60);
  EXPECT_TRUE(providers->asked.empty());
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].outcome, Outcome::kError);
  EXPECT_NE(told[0].message.find("AnalysisTemplate has changed"), std::string::npos) << told[0].message;
}

TEST_F(RunnerTest, WhatDoesNotResolveIsAnErrorWithItsReason) {
  Start("r", {"nothing"});
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].outcome, Outcome::kError);
  EXPECT_EQ(told[0].message.substr(0, 30), "templateName: found \"nothing\",");
}

TEST_F(RunnerTest, AStoppedRunTellsNothing) {
  Start("r", {"web"});
  runner->Stop(kCheckout, {"r"});
  EXPECT_TRUE(analysis::Completed(Run("r").phase));
  providers->Answer(0);
  Pass(20);
  EXPECT_TRUE(told.empty());
}

TEST_F(RunnerTest, OthersAreEndedAfterARestart) {
  Start("r", {"web"});
  Start("s", {"web"});
  StartProcess();
  Start("s", {"web"});
  runner->EndOthers();
  EXPECT_TRUE(analysis::Completed(Run("r").phase));
  EXPECT_FALSE(analysis::Completed(Run("s").phase));
  EXPECT_EQ(providers->asked.size(), 1U);
}

TEST_F(RunnerTest, RunsGoWithTheirRollout) {
  Start("r", {"web"});
  runner->Forget(kCheckout);
  EXPECT_TRUE(store.contents.runs.empty());
  providers->Answer(1);
  Pass(20);
  EXPECT_TRUE(told.empty());
  // Where the program died between the two.
  objects_.rollouts[kCheckout].key = kCheckout;
  Start("r", {"web"});
  objects_.rollouts.clear();
  StartProcess();
  EXPECT_TRUE(runner->runs().empty());
  runner->EndOthers();
  EXPECT_TRUE(store.contents.runs.empty());
}

TEST_F(RunnerTest, TheLastFewOfEitherKindAreKept) {
  for (int i = 0; i < 8; ++i) {
    Start(fmt::format("good{}", i), {"web"});
    providers->Answer(1);
    Pass(10);
    providers->Answer(1);
    Poll();
    Start(fmt::format("bad{}", i), {"web"});
    providers->Answer(0);
    Pass(1);
  }
  EXPECT_EQ(told.size(), 16U);
  std::vector<std::string> kept;
  for (const auto& [id, entry] : runner->runs()) kept.push_back(id.second);
  EXPECT_EQ(kept, (std::vector<std::string>{"bad3", "bad4", "bad5", "bad6", "bad7", "good3", "good4", "good5",
                                            "good6", "good7"}));
  EXPECT_EQ(store.contents.runs.size(), 10U);
}

TEST_F(RunnerTest, AShutdownIsNoMeasurement) {
  Start("r", {"web"});
  runner->Shutdown();
  Poll();
  StartProcess();
  Start("r", {"web"});
  EXPECT_EQ(Run("r").results[0].error, 0U);
  EXPECT_EQ(providers->asked.size(), 1U);
}

TEST_F(RunnerTest, WindowsDecideWithinSeconds) {
  Second(80, 0, 20, 0);  // where counting begins
  Start("r", {"weir-success-rate"});
  for (int i = 0; i < 5 && told.empty(); ++i) Second(80, 0, 20, 20);
  ASSERT_EQ(told.size(), 1U) << "a whole second, and a second one";
  EXPECT_EQ(told[0].outcome, Outcome::kFailed);
  EXPECT_NE(told[0].message.find("canary 40 errors of 40, stable 0 of 160"), std::string::npos)
      << told[0].message;
}

// The other node will report within its second, but nothing that it can say makes this better.
TEST_F(RunnerTest, WhatIsBadEnoughWaitsForNoOtherNode) {
  telemetry::NodeCounts other{"o"};
  other.Serve("v1", 1, 0);
  cluster->Report("other", stream_, other.Message(1000), clock.Now());
  Second(80, 0, 20, 0);
  Start("r", {"weir-success-rate"});
  Second(80, 0, 20, 0);
  cluster->Report("other", stream_, other.Message(1000), clock.Now());
  Second(80, 0, 20, 20);
  EXPECT_TRUE(told.empty()) << "one clump is none";
  Second(80, 0, 20, 20);
  ASSERT_EQ(told.size(), 1U) << "of two seconds that are not settled";
  EXPECT_EQ(told[0].outcome, Outcome::kFailed);
  EXPECT_NE(told[0].message.find("canary 40 errors of "), std::string::npos) << told[0].message;
}

// A second that was looked at while it was not over counts once, with what came to it later.
TEST_F(RunnerTest, LookingAheadCountsNothingTwice) {
  Second(80, 0, 20, 0);
  Start("r", {"weir-success-rate"});
  for (int i = 0; i < 10; ++i) {
    Second(80, 4, 20, 1);
    for (int look = 0; look < 4; ++look) runner->Look();
  }
  const auto& total = Run("r").results[0].weir->test().total();
  EXPECT_EQ(total.canary_total, 20U * 9);
  EXPECT_EQ(total.canary_bad, 9U);
  EXPECT_EQ(total.stable_bad, 36U);
}

TEST_F(RunnerTest, EveryWindowIsTakenOnceAndNoneBeforeTheBegin) {
  for (int i = 0; i < 20; ++i) Second(80, 0, 20, 20);  // not this run's
  Start("r", {"weir-success-rate"});
  for (int i = 0; i < 20; ++i) {
    Second(80, 0, 20, 0);
    runner->Look();
    runner->Look();
  }
  const auto& total = Run("r").results[0].weir->test().total();
  EXPECT_EQ(total.canary_bad, 0U);
  EXPECT_EQ(total.canary_total, 20U * 19) << "the last second is not settled, the first was half over";
  EXPECT_EQ(total.stable_total, 80U * 19);
  EXPECT_TRUE(told.empty());
}

TEST_F(RunnerTest, ANodeCutOffIsMissingAndNeverBad) {
  Second(80, 0, 20, 0);
  Start("r", {"weir-success-rate"});
  for (int i = 0; i < 5; ++i) Second(80, 0, 20, 0);
  node_.Serve("v1", 800, 0);  // meanwhile, unheard
  node_.Serve("v2", 200, 0);
  Pass(10);
  stream_ = clock.Now();
  for (int i = 0; i < 5; ++i) Second(80, 0, 20, 0);
  const auto& total = Run("r").results[0].weir->test().total();
  EXPECT_EQ(total.canary_bad, 0U);
  EXPECT_LE(total.canary_total, 20U * 10 + 20U * 3) << "what came too late is left out";
  EXPECT_TRUE(told.empty());
}

TEST_F(RunnerTest, ConnectsThatTheClientGaveUpAreNotFailed) {
  Second(80, 0, 20, 0);
  Start("r", {"weir-connect"});
  for (int i = 0; i < 5; ++i) {
    node_.Fail("v2", "canceled", 50);
    Second(80, 0, 20, 0);
  }
  EXPECT_TRUE(told.empty());
  for (int i = 0; i < 5 && told.empty(); ++i) {
    node_.Fail("v2", "refused", 50);
    Second(80, 0, 20, 0);
  }
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].outcome, Outcome::kFailed);
}

TEST_F(RunnerTest, AfterTheFlipThePastIsWhatIsComparedWith) {
  for (int i = 0; i < 70; ++i) Second(100, 1, 0, 0);
  Start("r", {"weir-success-rate"}, AnalysisWhere::kPostPromotion);
  for (int i = 0; i < 30; ++i) Second(0, 0, 100, 1);
  const auto& total = Run("r").results[0].weir->test().total();
  EXPECT_EQ(total.stable_total, total.canary_total) << "a second of the past for each of the present";
  EXPECT_GT(total.canary_total, 2500U);
  EXPECT_TRUE(told.empty());
  for (int i = 0; i < 10 && told.empty(); ++i) Second(0, 0, 100, 30);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].outcome, Outcome::kFailed);
}

TEST_F(RunnerTest, ThePreviewsTrafficIsTheNewRevisions) {
  objects_.rollouts[kCheckout].preview_service = "preview";
  Second(100, 0, 0, 0);
  Start("r", {"weir-success-rate"}, AnalysisWhere::kPrePromotion);
  v1::Telemetry preview;
  for (int i = 1; i < 6 && told.empty(); ++i) {
    clock.Advance(1s);
    node_.Serve("v1", 100);
    v1::Telemetry message = node_.Message(1000);
    v1::Series& series = *message.add_series();
    series.mutable_key()->set_namespace_("shop");
    series.mutable_key()->set_service("preview");
    series.mutable_key()->set_revision("v2");
    series.mutable_http()->add_responses()->set_code(500);
    series.mutable_http()->mutable_responses(0)->mutable_latency()->add_counts(20 * i);
    cluster->Report("n", MonotonicTime(1s), message, clock.Now());
    runner->Look();
    Poll();
  }
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].outcome, Outcome::kFailed);
}

TEST(AnalysisRecord, StoredAndReadBack) {
  AnalysisRecord record{.rollout = {"shop", "checkout"},
                        .where = AnalysisWhere::kPostPromotion,
                        .step = 3,
                        .stable = "v1",
                        .canary = "v2",
                        .run = {}};
  record.run.id = "v2-1-post";
  const std::string text = ToStored(record);
  const auto read = ParseStoredRun(text);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(ToStored(*read), text);
  EXPECT_EQ(read->where, AnalysisWhere::kPostPromotion);
  EXPECT_EQ(NameOf(*read), "checkout-v2-1-post");
  for (size_t i = 0; i < text.size(); i += 3) EXPECT_FALSE(ParseStoredRun(text.substr(0, i)).ok()) << i;
}

}  // namespace
}  // namespace weir::app
