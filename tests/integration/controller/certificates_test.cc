// Certificates of a controller that runs, renewed as Kubernetes does it: the mounted Secret is swapped, what
// is open goes on, what comes next has the new ones.
#include <gtest/gtest.h>

#include "tests/integration/controller/controller_fixture.h"
#include "tests/integration/metrics_list.h"
#include "tests/integration/process.h"
#include "tests/integration/tls_dial.h"
#include "tests/unit/common/test_certs.h"

namespace weir::testing {
namespace {

MountedSecret::Files Keys(const PemPair& pair, const std::string& ca) {
  return {{"tls.crt", pair.cert}, {"tls.key", pair.key}, {"ca.crt", ca}};
}

/// Asks again until it holds: files are looked at once a second.
template <typename Holds>
bool Soon(const Holds& holds) {
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(20ms);
  }
  return true;
}

class CertificatesTest : public ControllerTest {
 protected:
  void Start(const std::string& listen = "127.0.0.1:0") {
    controller_ = std::make_unique<Process>(std::vector<std::string>{
        WEIR_CONTROLLER, "--state", (base_ / "state").string(), "--listen", listen, "--http", "0.0.0.0:0",
        "--tls-cert", secret_.Path("tls.crt"), "--tls-key", secret_.Path("tls.key"), "--tls-ca",
        secret_.Path("ca.crt"), "--heartbeat-ms", "200"});
    address_ = controller_->WordAfter("grpc=");
    ASSERT_FALSE(address_.empty()) << controller_->seen;
    port_ = PortOf(address_);
    http_port_ = PortOf(controller_->WordAfter("http="));
  }
  static uint16_t PortOf(const std::string& address) {
    return static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  }
  std::shared_ptr<grpc::Channel> DialTls(const std::string& ca, const PemPair& own) const {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = ca;
    options.pem_cert_chain = own.cert;
    options.pem_private_key = own.key;
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a handshake of its own
    return grpc::CreateCustomChannel(address_, grpc::SslCredentials(options), arguments);
  }
  std::unique_ptr<SimAgent> Agent(const std::string& ca, const PemPair& own,
                                  const std::string& name = "a") const {
    SimAgent::Options options;
    options.node_name = name;
    options.channel = DialTls(ca, own);
    auto agent = std::make_unique<SimAgent>(options);
    agent->Start();
    return agent;
  }
  static bool Welcomed(SimAgent& agent) {
    return agent.WaitFor([](const auto& view) { return view.connected || view.ended.has_value(); }) &&
           agent.view().connected;
  }
  /// Hears of the controller now, on the stream it has had all along.
  static void ExpectGoesOn(SimAgent& agent) {
    const uint64_t heard = agent.view().heartbeats;
    EXPECT_TRUE(agent.WaitFor([&](const auto& view) { return view.heartbeats > heard; }));
    EXPECT_EQ(agent.view().streams, 1u);
  }
  double Metric(const std::string& name) const {
    const std::string text = GetShown(http_port_, trusted_, "/metrics").answer;
    const size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
  }

  const TestCa ca_, next_;
  const std::string trusted_ = ca_.pem() + next_.pem();  // by this test, when it looks
  const PemPair first_ = ca_.Issue("server"), second_ = ca_.Issue("server");
  MountedSecret secret_{Keys(first_, ca_.pem())};
  std::unique_ptr<Process> controller_;
  std::string address_;
  uint16_t port_ = 0, http_port_ = 0;
};

TEST_F(CertificatesTest, ARenewedOneIsShownAndStreamsGoOn) {
  Start();
  const auto agent = Agent(ca_.pem(), ca_.Issue("agent"));
  ASSERT_TRUE(Welcomed(*agent));
  EXPECT_EQ(DialShown(port_, trusted_).serial, SerialOf(first_.cert));
  EXPECT_EQ(DialShown(http_port_, trusted_).serial, SerialOf(first_.cert));

  secret_.Put(Keys(second_, ca_.pem()));
  EXPECT_TRUE(Soon([&] { return DialShown(port_, trusted_).serial == SerialOf(second_.cert); }));
  EXPECT_TRUE(Soon([&] { return DialShown(http_port_, trusted_).serial == SerialOf(second_.cert); }));
  EXPECT_EQ(Metric("weir_tls_reloads_total"), 1);
  EXPECT_EQ(Metric("weir_tls_reload_errors_total"), 0);
  auto exposed = ExposedMetrics(GetShown(http_port_, trusted_, "/metrics").answer);
  std::erase_if(exposed, [](const auto& metric) { return !metric.first.starts_with("weir_tls_"); });
  EXPECT_EQ(exposed, ListedMetrics(WEIR_METRICS_LIST, "tls"));
  ExpectGoesOn(*agent);
  EXPECT_TRUE(Welcomed(*Agent(ca_.pem(), ca_.Issue("agent"), "b")));
  controller_->Signal(SIGTERM);
  EXPECT_EQ(controller_->Wait(), 0) << controller_->seen;
  EXPECT_NE(controller_->seen.find("TLS files have changed and are in force"), std::string::npos);
}

TEST_F(CertificatesTest, AKeyThatDoesNotMatchIsCountedAndTheOldOnesServe) {
  Start();
  secret_.Put(Keys({second_.cert, first_.key}, ca_.pem()));
  EXPECT_TRUE(Soon([&] { return Metric("weir_tls_reload_errors_total") >= 2; })) << "tried again";
  EXPECT_EQ(DialShown(port_, trusted_).serial, SerialOf(first_.cert));
  EXPECT_TRUE(Welcomed(*Agent(ca_.pem(), ca_.Issue("agent"))));
  secret_.Put(Keys(second_, ca_.pem()));
  EXPECT_TRUE(Soon([&] { return DialShown(port_, trusted_).serial == SerialOf(second_.cert); }));
  controller_->Signal(SIGTERM);
  EXPECT_EQ(controller_->Wait(), 0);
  const std::string complaint = "the key does not match the certificate";
  const size_t first = controller_->seen.find(complaint);
  ASSERT_NE(first, std::string::npos) << controller_->seen;
  EXPECT_EQ(controller_->seen.find(complaint, first + 1), std::string::npos) << "once, not each second";
}

TEST_F(CertificatesTest, TheOldOneMayEnd) {
  const PemPair ends_soon = ca_.Issue("server", 3s);
  secret_.Put(Keys(ends_soon, ca_.pem()));
  Start();
  const auto agent = Agent(ca_.pem(), ca_.Issue("agent"));
  ASSERT_TRUE(Welcomed(*agent));
  EXPECT_TRUE(Soon([&] { return DialShown(port_, trusted_).error == "certificate has expired"; }));
  EXPECT_FALSE(Welcomed(*Agent(ca_.pem(), ca_.Issue("agent"), "late")));
  ExpectGoesOn(*agent);
  secret_.Put(Keys(second_, ca_.pem()));
  EXPECT_TRUE(Soon([&] { return DialShown(port_, trusted_).serial == SerialOf(second_.cert); }));
  EXPECT_TRUE(Welcomed(*Agent(ca_.pem(), ca_.Issue("agent"), "late")));
  ExpectGoesOn(*agent);
}

// As the CA itself is renewed: first both are trusted everywhere, then all are signed by the new one.
TEST_F(CertificatesTest, ACaGivesWayToTheNext) {
  Start();
  const auto agent = Agent(ca_.pem(), ca_.Issue("agent"));
  ASSERT_TRUE(Welcomed(*agent));
  EXPECT_FALSE(Welcomed(*Agent(ca_.pem(), next_.Issue("agent"), "b")));

  secret_.Put(Keys(first_, next_.pem() + ca_.pem()));
  EXPECT_TRUE(Soon([&] { return Welcomed(*Agent(trusted_, next_.Issue("agent"), "b")); }));
  EXPECT_TRUE(Welcomed(*Agent(trusted_, ca_.Issue("agent"), "c")));

  const PemPair signed_by_next = next_.Issue("server");
  secret_.Put(Keys(signed_by_next, next_.pem()));
  EXPECT_TRUE(Soon([&] { return DialShown(port_, next_.pem()).serial == SerialOf(signed_by_next.cert); }));
  EXPECT_TRUE(Welcomed(*Agent(next_.pem(), next_.Issue("agent"), "b")));
  EXPECT_FALSE(Welcomed(*Agent(next_.pem(), ca_.Issue("agent"), "c")));
  ExpectGoesOn(*agent);
}

// The controller goes while weirctl watches, and comes back with certificates of another CA.
TEST_F(CertificatesTest, WeirctlTakesThoseRenewedWhileItWatches) {
  Start();
  MountedSecret own(Keys(ca_.Issue("client"), ca_.pem()));
  const auto weirctl = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {WEIRCTL, "--server", address_, "--tls-cert", own.Path("tls.crt"),
                                         "--tls-key", own.Path("tls.key"), "--tls-ca", own.Path("ca.crt")});
    return std::make_unique<Process>(arguments);
  };
  const TempDir files;
  const auto apply = [&](const std::string& revision) {
    const std::string yaml = ServiceYaml() + "---\n" + SliceYaml(revision, "127.0.1.1") + "---\n" +
                             RolloutYaml(revision, "[{setWeight: 20}]");
    auto applying = weirctl({"apply", "-f", files.Write("all.yaml", yaml)});
    EXPECT_EQ(applying->Wait(), 0) << applying->seen;
  };
  apply("v1");
  auto watch = weirctl({"get", "rollouts", "-w", "-n", "shop"});
  ASSERT_TRUE(watch->WaitFor("checkout")) << watch->seen;
  apply("v2");
  ASSERT_TRUE(watch->WaitFor("v2")) << watch->seen;

  controller_->Signal(SIGTERM);
  EXPECT_EQ(controller_->Wait(), 0);
  ASSERT_TRUE(watch->WaitFor("lost the controller")) << watch->seen;
  secret_.Put(Keys(next_.Issue("server"), next_.pem()));
  Start(address_);
  own.Put(Keys(next_.Issue("client"), next_.pem()));
  apply("v3");
  EXPECT_TRUE(watch->WaitFor("v3")) << watch->seen;
}

}  // namespace
}  // namespace weir::testing
