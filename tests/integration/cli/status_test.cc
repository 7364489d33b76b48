#include "tests/integration/cli/cli_fixture.h"

namespace weir::cli {
namespace {

class StatusTest : public CliTest {
 protected:
  Output Status(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"status", "checkout", "-n", "shop"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments);
  }
};

TEST_F(StatusTest, ShowsStepsAndVariants) {
  FakeWeirService service;
  UseServer(service);
  v1::Rollout rollout = PausedCheckout();
  rollout.set_message("pause: waits for promote");
  rollout.mutable_ended()->set_text("ended 37 connections of revision v3 on 2 nodes");
  service.rollouts = {rollout};
  EXPECT_EQ(Status().out,
            "Rollout:    shop/checkout\n"
            "Phase:      Paused\n"
            "Message:    pause: waits for promote\n"
            "Service:    checkout\n"
            "Revision:   v2 wanted, v1 stable\n"
            "Canary:     v2 at 20%\n"
            "Generation: 7, held by 2 of 2 nodes\n"
            "Ended:      ended 37 connections of revision v3 on 2 nodes\n"
            "Steps:\n"
            "  ✔ setWeight: 20\n"
            "  ▶ pause\n"
            "    setWeight: 50\n"
            "    pause: 10s\n"
            "VARIANT  ROLE    WEIGHT  READY  CONNECTIONS\n"
            "v1       stable  80      1/1    400\n"
            "v2       canary  20      1/1    100\n");
}

TEST_F(StatusTest, ShowsBlueGreen) {
  FakeWeirService service;
  UseServer(service);
  v1::Rollout rollout = HealthyCheckout();
  rollout.set_strategy("blueGreen");
  rollout.clear_steps();
  rollout.clear_variants();
  rollout.set_active_revision("v2");
  rollout.set_preview_service("checkout-preview");
  rollout.set_preview_revision("v2");
  rollout.set_previous_revision("v1");
  rollout.set_previous_remaining_ms(21'000);
  for (const auto& [revision, role] :
       {std::pair("v2", v1::ROLE_ACTIVE), {"v3", v1::ROLE_PREVIEW}, {"v1", v1::ROLE_PREVIOUS}}) {
    rollout.add_variants()->set_revision(revision);
    rollout.mutable_variants()->rbegin()->set_role(role);
  }
  service.rollouts = {rollout};
  EXPECT_EQ(Status().out,
            "Rollout:    shop/checkout\n"
            "Phase:      Healthy\n"
            "Service:    checkout\n"
            "Revision:   v2 wanted, v2 stable\n"
            "Active:     v2 at checkout\n"
            "Preview:    v2 at checkout-preview\n"
            "Previous:   v1, kept for an instant way back: 21s left\n"
            "Generation: 10, held by 2 of 2 nodes\n"
            "VARIANT  ROLE      WEIGHT  READY  CONNECTIONS\n"
            "v2       active    0       0/0    0\n"
            "v3       preview   0       0/0    0\n"
            "v1       previous  0       0/0    0\n");
}

TEST_F(StatusTest, ExitStatusTellsHowItStands) {
  FakeWeirService service;
  UseServer(service);
  struct Case {
    const char* phase;
    const char* stable;
    bool paused;
    bool aborted;
    int code;
  };
  for (const Case& c : {Case{"Healthy", "v2", false, false, 0}, Case{"Degraded", "v1", false, false, 2},
                        Case{"Progressing", "v1", false, true, 2}, Case{"Paused", "v1", true, false, 4},
                        Case{"Progressing", "v1", false, false, 5},
                        // The revision wanted is not stable yet: a new one was just asked for.
                        Case{"Healthy", "v1", false, false, 5}}) {
    v1::Rollout rollout = PausedCheckout();
    rollout.set_phase(c.phase);
    rollout.set_stable_revision(c.stable);
    rollout.set_paused(c.paused);
    rollout.set_aborted(c.aborted);
    service.rollouts = {rollout};
    EXPECT_EQ(Status().code, c.code) << rollout.DebugString();
    EXPECT_EQ(Status({"-o", "json"}).code, c.code);
  }
}

TEST_F(StatusTest, NoSuchRollout) {
  FakeWeirService service;
  UseServer(service);
  EXPECT_EQ(Status().code, 1);
  EXPECT_EQ(Status().err, "weirctl: no rollout shop/checkout\n");
  EXPECT_EQ(Status({"--watch"}).code, 1);
}

TEST_F(StatusTest, WatchEndsWithHealthy) {
  FakeWeirService service;
  UseServer(service);
  service.rollouts = {PausedCheckout()};
  v1::Rollout behind = PausedCheckout();
  behind.set_phase("Progressing");
  behind.set_paused(false);
  behind.set_current_step_index(2);
  behind.set_canary_weight(50);
  behind.set_message("waits for node-b");
  service.Send(v1::RolloutEvent::TYPE_CHANGED, behind);
  service.Send(v1::RolloutEvent::TYPE_CHANGED, HealthyCheckout());
  const Output output = Status({"--watch", "--timeout", "1m"});
  EXPECT_EQ(output.code, 0) << output.err;
  EXPECT_EQ(output.out,
            "Paused, step 1/4 (pause), v2 at 20%\n"
            "Progressing, step 2/4 (setWeight: 50), v2 at 50%: waits for node-b\n"
            "Healthy, all traffic to v2\n");
}

TEST_F(StatusTest, WatchEndsWithDegraded) {
  FakeWeirService service;
  UseServer(service);
  service.rollouts = {PausedCheckout()};
  v1::Rollout aborted = PausedCheckout();
  aborted.set_phase("Degraded");
  aborted.set_aborted(true);
  service.Send(v1::RolloutEvent::TYPE_CHANGED, aborted);
  EXPECT_EQ(Status({"-w"}).code, 2);
}

TEST_F(StatusTest, WatchTimesOut) {
  FakeWeirService service;
  UseServer(service);
  service.rollouts = {PausedCheckout()};
  const Output output = Status({"-w", "--timeout", "200ms"});
  EXPECT_EQ(output.code, 3);
  EXPECT_EQ(output.err, "weirctl: rollout shop/checkout did not settle within 200ms\n");
}

TEST_F(StatusTest, WatchTellsOfDeletion) {
  FakeWeirService service;
  UseServer(service);
  service.rollouts = {PausedCheckout()};
  service.Send(v1::RolloutEvent::TYPE_DELETED, PausedCheckout());
  const Output output = Status({"-w"});
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.err, "weirctl: rollout shop/checkout was deleted\n");
}

TEST_F(StatusTest, WatchOutlivesARestartOfTheController) {
  FakeWeirService service;
  UseServer(service);
  service.rollouts = {PausedCheckout()};
  // The first watch is ended as by a controller that stops; the next one hears of the end.
  service.watches_ended_early = 1;
  service.Send(v1::RolloutEvent::TYPE_CHANGED, HealthyCheckout());
  const Output output = Status({"-w", "--timeout", "1m"});
  EXPECT_EQ(output.code, 0);
  EXPECT_EQ(output.out, "Paused, step 1/4 (pause), v2 at 20%\nHealthy, all traffic to v2\n");
  EXPECT_EQ(output.err, "weirctl: lost the controller at " + service.address() + "; waiting for it\n");
}

TEST_F(StatusTest, BadTimeoutIsRefusedBeforeACall) {
  const Output output = Status({"-w", "--timeout", "5 minutes"});
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.err,
            "weirctl: --timeout 5 minutes: not a duration; expected seconds or units like 90s, 5m, 1h30m\n");
  EXPECT_EQ(Status({"--timeout", "5m"}).code, 1) << "--timeout needs --watch";
}

}  // namespace
}  // namespace weir::cli
