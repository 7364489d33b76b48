// Runs of analyses as weirctl shows them.
#include "tests/integration/cli/cli_fixture.h"

namespace weir::cli {
namespace {

using AnalysisViewTest = CliTest;

void AddMeasurement(v1::AnalysisMetric& metric, int64_t at, const std::string& phase,
                    const std::string& value, const std::string& message) {
  v1::Measurement& one = *metric.add_measurements();
  one.set_started_unix_ms(at - 5000);
  one.set_finished_unix_ms(at);
  one.set_phase(phase);
  one.set_value(value);
  one.set_message(message);
}

/// Began 20 s before "now", failed after 7.
v1::AnalysisRun FailedRun() {
  v1::AnalysisRun run;
  const int64_t start = PausedCheckout().updated_unix_ms() + 70'000;
  run.set_namespace_("shop");
  run.set_name("checkout-v2-1-step-1");
  run.set_rollout("checkout");
  run.set_where("step");
  run.set_step_index(1);
  run.set_stable_revision("v1");
  run.set_canary_revision("v2");
  run.set_phase("Failed");
  run.set_message(
      "metric errors Failed: canary 38 errors of 400, stable 4 of 1600: 38 times the rate, E = 2.1e6");
  run.set_started_unix_ms(start);
  run.set_finished_unix_ms(start + 7000);
  v1::AnalysisMetric& errors = *run.add_metrics();
  errors.set_name("errors");
  errors.set_provider("weir");
  errors.set_measure("errors");
  errors.set_phase("Failed");
  errors.set_message("canary 38 errors of 400, stable 4 of 1600: 38 times the rate, E = 2.1e6");
  errors.set_successful(1);
  errors.set_failed(1);
  errors.set_interval_ms(5000);
  errors.set_count(12);
  errors.set_threshold_log10(2.3);
  AddMeasurement(errors, start + 5000, "Successful", "E = 0.8",
                 "canary 0 errors of 50, stable 1 of 200: E = 0.8");
  AddMeasurement(errors, start + 7000, "Failed", "E = 2.1e6", errors.message());
  v1::AnalysisMetric& web = *run.add_metrics();
  web.set_name("queue");
  web.set_provider("prometheus");
  web.set_dry_run(true);
  web.set_phase("Successful");
  web.set_error(1);
  web.set_message("not measured yet");
  web.set_success_condition("result[0] < 5");
  web.set_consecutive_error_limit(4);
  web.set_measurements_dropped(3);
  return run;
}

TEST_F(AnalysisViewTest, RunsAsTable) {
  FakeWeirService service;
  UseServer(service);
  *service.runs.add_runs() = FailedRun();
  v1::AnalysisRun running = FailedRun();
  running.set_name("checkout-v2-2-background-0");
  running.set_where("background");
  running.set_phase("Running");
  running.set_message("errors: no traffic to compare: canary 0 in all, stable 5");
  running.set_started_unix_ms(running.started_unix_ms() + 15'000);
  running.set_finished_unix_ms(0);
  running.mutable_metrics(0)->set_phase("Running");
  *service.runs.add_runs() = running;
  EXPECT_EQ(
      Run({"get", "analysis", "-n", "shop"}).out,
      "NAME                        PLACE              PHASE    METRICS  STARTED  TOOK  MESSAGE\n"
      "checkout-v2-1-step-1        step 1             Failed   2/2      20s ago  7.0s  metric errors Failed: "
      "canary 38 errors of 400, stable 4 of 1600: 38 times the rate, E = 2.1e6\n"
      "checkout-v2-2-background-0  in the background  Running  1/2      5s ago   5.0s  errors: no traffic to "
      "compare: canary 0 in all, stable 5\n");
  EXPECT_EQ(Run({"get", "ar", "-n", "shop", "-o", "name"}).out,
            "checkout-v2-1-step-1\ncheckout-v2-2-background-0\n");
  EXPECT_EQ(Run({"get", "analysis", "checkout", "-n", "shop", "-o", "name"}).out,
            "checkout-v2-1-step-1\ncheckout-v2-2-background-0\n");
  EXPECT_EQ(Run({"get", "analysis", "other", "-n", "shop"}).err,
            "weirctl: no analysis other in namespace shop\n");
  EXPECT_TRUE(
      Run({"get", "analysis", "-n", "shop", "-o", "wide"})
          .out.starts_with("NAME                        PLACE              PHASE    METRICS  STARTED  TOOK  "
                           "ROLLOUT   CANARY  STABLE  MESSAGE\n"));
}

TEST_F(AnalysisViewTest, ARunInFull) {
  FakeWeirService service;
  UseServer(service);
  *service.runs.add_runs() = FailedRun();
  EXPECT_EQ(Run({"get", "analysis", "checkout-v2-1-step-1", "-n", "shop"}).out,
            "Run:        checkout-v2-1-step-1\n"
            "Rollout:    shop/checkout, step 1: v2 beside v1\n"
            "Phase:      Failed\n"
            "Message:    metric errors Failed: canary 38 errors of 400, stable 4 of 1600: 38 times the rate, "
            "E = 2.1e6\n"
            "Started:    20s ago, took 7.0s\n"
            "\n"
            "METRIC           PROVIDER     PHASE       MEASURED        REASON\n"
            "errors           weir errors  Failed      1 ok, 1 failed  canary 38 errors of 400, stable 4 of "
            "1600: 38 times "
            "the rate, E = 2.1e6\n"
            "queue (dry run)  prometheus   Successful  1 error         not measured yet\n"
            "\n"
            "METRIC  AT     OUTCOME     VALUE      REASON\n"
            "errors  +5.0s  Successful  E = 0.8    canary 0 errors of 50, stable 1 of 200: E = 0.8\n"
            "errors  +7.0s  Failed      E = 2.1e6  canary 38 errors of 400, stable 4 of 1600: 38 times the "
            "rate, E = "
            "2.1e6\n"
            "queue                                 3 older ones\n");
  const std::string wide = Run({"get", "analysis", "checkout-v2-1-step-1", "-n", "shop", "-o", "wide"}).out;
  EXPECT_NE(wide.find("interval 5.0s, count 12, failureLimit 0, fails at E = 1e2.3\n"), std::string::npos)
      << wide;
  EXPECT_NE(
      wide.find(
          "successCondition result[0] < 5, failureLimit 0, inconclusiveLimit 0, consecutiveErrorLimit 4"),
      std::string::npos)
      << wide;
  const std::string json = Run({"get", "analysis", "checkout-v2-1-step-1", "-n", "shop", "-o", "json"}).out;
  EXPECT_NE(json.find("\"thresholdLog10\": 2.3"), std::string::npos) << json;
  EXPECT_NE(json.find("\"measurementsDropped\": 3"), std::string::npos);
}

TEST_F(AnalysisViewTest, StatusShowsTheRuns) {
  FakeWeirService service;
  UseServer(service);
  v1::Rollout rollout = PausedCheckout();
  v1::AnalysisSummary& summary = *rollout.add_analyses();
  summary.set_name("checkout-v2-1-background-0");
  summary.set_where("background");
  summary.set_phase("Running");
  summary.set_message("errors: canary 1 errors of 80, stable 3 of 320: 1.3 times the rate, E = 0.9");
  service.rollouts = {rollout};
  EXPECT_NE(
      Run({"status", "checkout", "-n", "shop"})
          .out.find(
              "Analysis:   checkout-v2-1-background-0, Running: errors: canary 1 errors of 80, stable 3 of "
              "320: 1.3 times the rate, E = 0.9\n"),
      std::string::npos);
}

}  // namespace
}  // namespace weir::cli
