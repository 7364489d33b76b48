// Leaders that go, in every way there is. What clients get never changes, and what they roll out goes on.
#include "tests/integration/tls_dial.h"
#include "tests/kubernetes/failure/failure_fixture.h"
#include "tests/unit/common/test_certs.h"

namespace weir::kubernetes_test {
namespace {

constexpr char kSteps[] = "[{setWeight: 20}, {pause: {}}, {setWeight: 50}, {pause: {}}]";
const std::set<std::string> kFirst = {"weir-controller-0"}, kSecond = {"weir-controller-1"};

class LeaderTest : public FailureTest {
 protected:
  /// A canary at 20%, led by replica 0; replica 1 waits.
  void BeginWithTwo() {
    ASSERT_NO_FATAL_FAILURE(BeginPausedAt(20, 4, kSteps));
    StartReplica(1);
    ASSERT_TRUE(WaitForLeader(kFirst));
    generation_ = RolloutField(".status.generation");
    Dial();
  }
  ::testing::AssertionResult WaitForLeader(const std::set<std::string>& pods) {
    return Eventually([&] { return kubelet_->Leaders() == pods; },
                      [&] { return fmt::format("{}", kubelet_->Leaders()); });
  }
  /// Replica 1 has all that replica 0 had, and goes on with it.
  void ExpectSecondGoesOn() {
    ASSERT_TRUE(WaitForAgents(1));
    EXPECT_TRUE(WaitForLeader(kSecond));
    ExpectDialed(20);
    EXPECT_EQ(RolloutField(".status.generation"), generation_) << "nothing was there to be changed";
    Weirctl({"promote", "checkout"}, 1);
    ASSERT_NO_FATAL_FAILURE(WaitPausedAt(50));
    ExpectSplit(50);
  }
  std::string VersionOf(const std::string& object, const std::string& ns) {
    return plane().MustKubectl({"get", "-n", ns, object, "-o", "jsonpath={.metadata.resourceVersion}"});
  }
  std::vector<std::string> Versions() {
    return {VersionOf("rollouts.weir.dev/checkout", ns()), VersionOf("deployment/checkout", ns()),
            VersionOf("configmap/weir-state", "weir-system")};
  }

  std::string generation_;
};

TEST_F(LeaderTest, AKilledLeaderIsFollowedByTheOther) {
  ASSERT_NO_FATAL_FAILURE(BeginWithTwo());
  const auto killed = Clock::now();
  controllers_[0].reset();
  const double seconds = LeadsAfter(1, killed);
  EXPECT_LT(seconds, 15) << "the Lease's 10 s, and what a candidate may sleep";
  fmt::print("[ measured ] kill -9 to the other one leading: {:.2f} s\n", seconds);
  ASSERT_NO_FATAL_FAILURE(ExpectSecondGoesOn());
  ASSERT_NO_FATAL_FAILURE(ExpectPromotes(1));
  ExpectNothingForbidden();
}

TEST_F(LeaderTest, ALeaderThatIsToldToEndGivesTheLeaseUp) {
  ASSERT_NO_FATAL_FAILURE(BeginWithTwo());
  const auto told = Clock::now();
  controllers_[0]->Signal(SIGTERM);
  EXPECT_EQ(controllers_[0]->Wait(), 0) << controllers_[0]->seen;
  const double ended = std::chrono::duration<double>(Clock::now() - told).count();
  const double seconds = LeadsAfter(1, told);
  EXPECT_LT(seconds, 10) << "not left to run out";
  fmt::print("[ measured ] SIGTERM to its end: {:.2f} s, to the other one leading: {:.2f} s\n", ended,
             seconds);
  ASSERT_NO_FATAL_FAILURE(ExpectSecondGoesOn());
  ExpectNothingForbidden();
}

// Whoever leads and whoever waits takes renewed certificates, and who leads next has them.
TEST_F(LeaderTest, RenewedCertificatesAreTakenByBoth) {
  const TestCa ca;
  const PemPair first = ca.Issue("controller"), second = ca.Issue("controller");
  MountedSecret secret({{"tls.crt", first.cert}, {"tls.key", first.key}, {"ca.crt", ca.pem()}});
  const std::vector<std::string> tls = {"--tls-cert", secret.Path("tls.crt"),
                                        "--tls-key",  secret.Path("tls.key"),
                                        "--tls-ca",   secret.Path("ca.crt")};
  std::string http[2];
  for (const size_t replica : {0U, 1U}) {
    StartController(replica, tls);
    http[replica] = controllers_[replica]->WordAfter(replica == 0 ? " http=" : "candidate http=");
    ASSERT_FALSE(http[replica].empty()) << controllers_[replica]->seen;
  }
  const auto shows = [&](size_t replica, const PemPair& pair) {
    const std::string address = ListenAddress(replica);
    return Eventually(
        [&] {
          return DialShown(7400, ca.pem(), "", address.substr(0, address.find(':'))).serial ==
                 SerialOf(pair.cert);
        },
        [&] { return address; });
  };
  const auto reloaded = [&](size_t replica) {
    return Eventually(
        [&] {
          Process curl({"curl", "-s", "http://" + http[replica] + "/metrics"});
          curl.Wait();
          return curl.seen.find("\nweir_tls_reloads_total 1\n") != std::string::npos;
        },
        [&] { return http[replica]; });
  };
  ASSERT_TRUE(shows(0, first));
  secret.Put({{"tls.crt", second.cert}, {"tls.key", second.key}, {"ca.crt", ca.pem()}});
  EXPECT_TRUE(shows(0, second));
  EXPECT_TRUE(reloaded(0));
  EXPECT_TRUE(reloaded(1)) << "the one that waits";
  controllers_[0]->Signal(SIGTERM);
  EXPECT_EQ(controllers_[0]->Wait(), 0) << controllers_[0]->seen;
  EXPECT_TRUE(shows(1, second));
  controllers_[1]->Signal(SIGTERM);
  EXPECT_EQ(controllers_[1]->Wait(), 0) << controllers_[1]->seen;
}

TEST_F(LeaderTest, ALeaderThatHungDoesNothingWhenItComesBack) {
  ASSERT_NO_FATAL_FAILURE(BeginWithTwo());
  const auto hung = Clock::now();
  controllers_[0]->Signal(SIGSTOP);
  const double seconds = LeadsAfter(1, hung);
  fmt::print("[ measured ] SIGSTOP to the other one leading: {:.2f} s\n", seconds);
  ASSERT_NO_FATAL_FAILURE(ExpectSecondGoesOn());
  Dial();
  const auto before = Versions();
  controllers_[0]->Signal(SIGCONT);
  ASSERT_TRUE(WaitForOutput(*controllers_[0], "candidate http=", 2)) << controllers_[0]->seen;
  ASSERT_TRUE(WaitForAgents(1));
  EXPECT_EQ(Versions(), before) << "it leads no more, and writes nothing";
  EXPECT_EQ(LeaseHolder(), PodName(1));
  EXPECT_EQ(kubelet_->Leaders(), kSecond);
  ExpectDialed(50);

  // It is a candidate like any other.
  Dial();
  controllers_[1]->Signal(SIGTERM);
  EXPECT_EQ(controllers_[1]->Wait(), 0);
  LeadsAfter(0, hung, 2);
  ASSERT_TRUE(WaitForAgents(0));
  EXPECT_TRUE(WaitForLeader(kFirst));
  ExpectDialed(50);
  ASSERT_NO_FATAL_FAILURE(ExpectPromotes(0));
  ExpectNothingForbidden();
}

}  // namespace
}  // namespace weir::kubernetes_test
