// A control plane that goes, in parts and in mid-rollout, and comes back. Clients notice nothing.
#include "tests/kubernetes/failure/failure_fixture.h"

namespace weir::kubernetes_test {
namespace {

constexpr char kSteps[] = "[{setWeight: 20}, {pause: {}}, {setWeight: 50}, {pause: {}}]";

class OutageTest : public FailureTest {
 protected:
  /// A canary at 20%. The shipped roles were enough so far; later on an API server that starts forbids
  /// everything for a moment, until it has read the roles.
  void BeginAt20(const std::vector<std::string>& more = {}) {
    ASSERT_NO_FATAL_FAILURE(BeginPausedAt(20, 4, kSteps, more));
    ExpectNothingForbidden();
  }
  /// So long something is away: how long an outage lasts, not a wait for anything.
  static void Last(std::chrono::milliseconds time) { std::this_thread::sleep_for(time); }
  void StartAgain(const Status& started) { ASSERT_TRUE(started.ok()) << started; }
  /// All of it works again, from 20% on.
  void ExpectGoesOn() {
    Weirctl({"promote", "checkout"});
    ASSERT_NO_FATAL_FAILURE(WaitPausedAt(50));
    ExpectSplit(50);
    ASSERT_NO_FATAL_FAILURE(ExpectPromotes(0));
  }
};

TEST_F(OutageTest, ShortOfTheApiServer) {
  ASSERT_NO_FATAL_FAILURE(BeginAt20());
  Dial();
  plane().KillApiServer();
  Last(std::chrono::seconds(3));
  ASSERT_NO_FATAL_FAILURE(StartAgain(plane().StartApiServer()));
  ASSERT_TRUE(WaitForAgents(0));
  EXPECT_EQ(LeaseHolder(), PodName(0));
  ExpectDialed(20);
  ASSERT_NO_FATAL_FAILURE(ExpectGoesOn());
}

TEST_F(OutageTest, LongerThanTheLease) {
  ASSERT_NO_FATAL_FAILURE(BeginAt20());
  const std::string generation = RolloutField(".status.generation");
  Dial();
  const auto killed = Clock::now();
  plane().KillApiServer();
  ASSERT_TRUE(WaitForOutput(*controllers_[0], "candidate http=", 2)) << "it cannot know that it leads";
  fmt::print("[ measured ] API server gone to leader deposed: {:.2f} s\n",
             std::chrono::duration<double>(Clock::now() - killed).count());
  Last(std::chrono::seconds(12) -
       std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - killed));
  ASSERT_NO_FATAL_FAILURE(StartAgain(plane().StartApiServer()));
  const auto back = Clock::now();
  // Else it would look again only half a minute later.
  plane().KillControllerManager();
  ASSERT_NO_FATAL_FAILURE(StartAgain(plane().StartControllerManager()));
  LeadsAfter(0, back, 2);
  ASSERT_TRUE(WaitForAgents(0));
  fmt::print("[ measured ] API server back to agents at the leader: {:.2f} s\n",
             std::chrono::duration<double>(Clock::now() - back).count());
  ExpectDialed(20);
  EXPECT_EQ(RolloutField(".status.generation"), generation);
  ASSERT_NO_FATAL_FAILURE(ExpectGoesOn());
}

TEST_F(OutageTest, Etcd) {
  ASSERT_NO_FATAL_FAILURE(BeginAt20());
  Dial();
  plane().KillEtcd();
  Last(std::chrono::seconds(2));
  ASSERT_NO_FATAL_FAILURE(StartAgain(plane().StartEtcd()));
  ASSERT_TRUE(Eventually(
      [&] {
        return plane().Kubectl({"get", "--raw", "/readyz"}).code == 0;
      },
      [&] {
        return plane().Kubectl({"get", "--raw", "/readyz"}).text;
      }));
  ASSERT_TRUE(WaitForAgents(0));
  ExpectDialed(20);
  ASSERT_NO_FATAL_FAILURE(ExpectGoesOn());
}

TEST_F(OutageTest, TheControllerManager) {
  ASSERT_NO_FATAL_FAILURE(BeginAt20());
  Dial();
  plane().KillControllerManager();
  // The next step wants another pod, which nobody makes.
  Weirctl({"promote", "checkout"});
  ASSERT_TRUE(WaitForRollout(".status.currentStepIndex", "2"));
  ASSERT_TRUE(WaitForRollout(".status.phase", "Progressing"));
  ExpectDialed(20);
  ASSERT_NO_FATAL_FAILURE(StartAgain(plane().StartControllerManager()));
  ASSERT_NO_FATAL_FAILURE(WaitPausedAt(50));
  ExpectSplit(50);
  ASSERT_NO_FATAL_FAILURE(ExpectPromotes(0));
  ExpectNothingForbidden();
}

TEST_F(OutageTest, AnApiServerThatHangs) {
  // Heartbeats as they are shipped.
  ASSERT_NO_FATAL_FAILURE(BeginAt20({"--heartbeat-ms", "3000"}));
  Dial();
  const auto frozen = Clock::now();
  plane().FreezeApiServer(true);
  Process promote({WEIRCTL, "--server", ListenAddress(0), "-n", ns(), "promote", "checkout"});
  const int code = promote.Wait();
  fmt::print("[ measured ] promote while the API server hangs: code {} after {:.2f} s: {}\n", code,
             std::chrono::duration<double>(Clock::now() - frozen).count(), promote.seen);
  EXPECT_NE(code, 0) << "nothing keeps what it did";
  EXPECT_NE(promote.seen.find("API server"), std::string::npos) << promote.seen;
  // A leader renews every 2 s and steps down 6 s after it last could: 3 s are well within, whenever they
  // begin.
  Last(std::max(std::chrono::milliseconds(0),
                std::chrono::seconds(3) -
                    std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - frozen)));
  plane().FreezeApiServer(false);
  ASSERT_TRUE(Eventually(
      [&] {
        return plane().Kubectl({"get", "--raw", "/readyz"}).code == 0;
      },
      [&] {
        return plane().Kubectl({"get", "--raw", "/readyz"}).text;
      }));
  ExpectDialed(20);
  ASSERT_NO_FATAL_FAILURE(ExpectGoesOn());
  for (const char* const agent : {"agent-0", "agent-1"})
    EXPECT_EQ(Times(Log(agent), " connected "), 1U) << "its stream was lost\n" << Log(agent);
}

}  // namespace
}  // namespace weir::kubernetes_test
