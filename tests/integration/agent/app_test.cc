// The agent put together: pages over HTTP, the stream over mutual TLS, flags that cannot work.
#include "agent/app/app.h"

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <future>
#include <thread>

#include "agent/datapath/fake_datapath.h"
#include "common/tls.h"
#include "tests/integration/agent/fake_controller.h"
#include "tests/integration/agent/http_get.h"
#include "tests/unit/common/test_certs.h"

namespace weir::app {
namespace {

v1::Update Full(uint64_t generation) {
  v1::Update update;
  update.set_generation(generation);
  update.set_full(true);
  update.set_last(true);
  return update;
}

class AppTest : public testing::Test {
 protected:
  ~AppTest() override {
    if (!thread_.joinable()) return;
    boost::asio::post(context_, [this] { app_->Stop([this] { context_.stop(); }); });
    thread_.join();
  }
  void Start(App::Options options) {
    options.node_name = "node-1";
    options.http = "127.0.0.1:0";
    auto http = App::Listen(context_, options);
    ASSERT_TRUE(http.ok()) << http.status();
    port_ = (*http)->port();
    app_ = std::make_unique<App>(context_, clock_, datapath_, options, *std::move(http));
    app_->Start();
    thread_ = std::thread([this] { context_.run(); });
  }
  std::string Get(const std::string& path) { return HttpGet(port_, path); }

  boost::asio::io_context context_;
  SystemClock clock_;
  datapath::FakeDatapath datapath_;
  std::unique_ptr<App> app_;
  std::thread thread_;
  uint16_t port_ = 0;
};

void ExpectPage(const std::string& page, const std::string& status, const std::string& body) {
  EXPECT_TRUE(page.starts_with("HTTP/1.1 " + status)) << page;
  EXPECT_NE(page.find(body), std::string::npos) << page;
}

TEST_F(AppTest, PagesFollowTheStream) {
  FakeController controller;
  datapath_.figures.series = {{.ns = "shop", .service = "checkout", .revision = "v2", .in_force = true}};
  Start({.controller = controller.address(), .figures = {.view = metrics::View::kBoth}});
  const auto stream = controller.NextAgent();
  ASSERT_NE(stream, nullptr);
  ExpectPage(Get("/healthz"), "200", "\r\n\r\nok\n");
  ExpectPage(Get("/readyz"), "503", "no controller yet: connecting\n");
  stream->Welcome();
  v1::Update update = Full(7);
  v1::Frontend& frontend = *update.add_upserts();
  frontend.mutable_key()->set_address(IpAddress::Parse("127.96.0.1")->ToBytes());
  frontend.mutable_key()->set_port(80);
  frontend.mutable_key()->set_protocol(v1::PROTOCOL_TCP);
  frontend.set_namespace_("shop");
  frontend.set_service("checkout");
  frontend.add_variants()->set_revision("v2");
  frontend.mutable_variants(0)->set_role(v1::ROLE_CANARY);
  stream->Send(update);
  ASSERT_EQ(stream->Answer(), "ack 7");
  ExpectPage(Get("/readyz"), "200", "\r\n\r\nok\n");
  const std::string metrics = Get("/metrics");
  ExpectPage(metrics, "200", "\nweir_agent_generation 7\n");
  ExpectPage(metrics, "200", "\nweir_agent_connected 1\n");
  ExpectPage(metrics, "200", "\nweir_agent_apply_duration_seconds_count 1\n");
  ExpectPage(metrics, "200", "\nprocess_resident_memory_bytes ");
  ExpectPage(metrics, "200",
             "\nweir_connections_opened_total{namespace=\"shop\",service=\"checkout\",revision=\"v2\","
             "variant=\"canary\"} 0\n");
  ExpectPage(metrics, "200", "\nistio_tcp_connections_opened_total{reporter=\"destination\",");
  ExpectPage(Get("/"), "404", "");
}

TEST_F(AppTest, MutualTls) {
  const TempDir dir;
  const TestCa ca;
  const std::string ca_file = dir.Write("ca.pem", ca.pem());
  const auto pair = [&](const std::string& name) {
    const PemPair pem = ca.Issue(name);
    return *TlsFiles::Open(
        {.cert = dir.Write(name + ".pem", pem.cert), .key = dir.Write(name + ".key", pem.key), .ca = ca_file},
        true);
  };
  const auto credentials = *ServerCredentials("--listen", "127.0.0.1:0", pair("controller"));
  FakeController controller(0, credentials);
  Start({.controller = controller.address(), .tls = pair("agent")});
  const auto stream = controller.NextAgent();
  ASSERT_NE(stream, nullptr);
  stream->Welcome();
  stream->Send(Full(1));
  EXPECT_EQ(stream->Answer(), "ack 1");
}

TEST_F(AppTest, FlagsThatCannotWorkAreNamed) {
  const struct {
    App::Options options;
    const char* message;
  } rows[] = {
      {{.node_name = ""}, "--node-name: found 0 characters"},
      {{.node_name = std::string(254, 'n')}, "--node-name: found 254 characters"},
      {{.node_name = "n", .controller = "127.0.0.1:0"}, "--controller 127.0.0.1:0: port 0 cannot be dialled"},
      {{.node_name = "n", .controller = "nonsense"}, "--controller \"nonsense\": no port"},
      {{.node_name = "n", .controller = "10.0.0.1:7400"}, "--controller 10.0.0.1:7400: refusing to dial"},
      {{.node_name = "n", .controller = "127.0.0.1:7400", .http = "0.0.0.0:0"},
       "--http 0.0.0.0:0: refusing to listen"},
      {{.node_name = "n", .controller = "127.0.0.1:7400", .http = "x"}, "--http \"x\": no port"},
  };
  for (const auto& row : rows) {
    const auto http = App::Listen(context_, row.options);
    ASSERT_FALSE(http.ok()) << row.message;
    EXPECT_TRUE(Message(http.status()).starts_with(row.message)) << http.status();
  }
}

}  // namespace
}  // namespace weir::app
