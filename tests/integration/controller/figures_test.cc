// Agents' counters to figures and to /metrics, through a real controller.
#include <fstream>
#include <set>
#include <sstream>

#include "tests/integration/agent/http_get.h"
#include "tests/integration/controller/controller_fixture.h"
#include "tests/integration/controller/counted.h"

namespace weir::testing {
namespace {

class FiguresTest : public ControllerTest {
 protected:
  FiguresTest() { Start(0); }

  void Start(int port) {
    controller_ = std::make_unique<Controller>(base_ / "state", port);
    ASSERT_TRUE(controller_->listening());
    channel_ = Dial(controller_->port());
    client_ = std::make_unique<Client>(channel_);
  }

  /// v1 stable, v2 at 20 %, held by `agents`.
  void Canary(const std::vector<SimAgent*>& agents) {
    ASSERT_TRUE(client_
                    ->Apply({ServiceYaml(), SliceYaml("v1", "127.0.1.1"), SliceYaml("v2", "127.0.2.1"),
                             RolloutYaml("v1", "[{setWeight: 20}, {pause: {}}]")})
                    .ok());
    ASSERT_TRUE(client_->Watch([](const v1::Rollout& r) { return r.phase() == "Healthy"; }));
    ASSERT_TRUE(client_->Apply({RolloutYaml("v2", "[{setWeight: 20}, {pause: {}}]")}).ok());
    for (SimAgent* agent : agents) ASSERT_TRUE(agent->WaitFor(Holds({{"v1", 80}, {"v2", 20}})));
    ASSERT_TRUE(client_->Watch([](const v1::Rollout& r) { return r.phase() == "Paused"; }));
  }

  SimAgent::Options Node(const std::string& name) {
    SimAgent::Options options;
    options.node_name = name;
    options.channel = channel_;
    options.reconnect = true;
    return options;
  }

  std::unique_ptr<Controller> controller_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<Client> client_;
};

const v1::Figures* Of(const v1::FiguresResponse& response, const std::string& revision) {
  for (const auto& figures : response.figures()) {
    if (figures.revision() == revision) return &figures;
  }
  return nullptr;
}

/// How many there were within the window.
double Times(double per_second, const v1::FiguresResponse& response) {
  return per_second * response.window_ms() / 1000;
}

/// As long as a ring: what was counted once stays in sight during a test.
v1::FiguresRequest Minute() {
  v1::FiguresRequest request;
  request.set_window_seconds(60);
  return request;
}

TEST_F(FiguresTest, NodesAddUpBesideTheWeightsWanted) {
  SimAgent a(Node("a")), b(Node("b"));
  a.Start();
  b.Start();
  Canary({&a, &b});
  Counted of_a, of_b;
  of_a.Serve("v1", 1'000'000, 0);  // before this controller: no figure
  of_a.SendBy(a);
  of_b.SendBy(b);
  ASSERT_TRUE(client_->WatchFigures([](const auto& r) { return r.window_ms() > 0; }, Minute()));
  of_a.Serve("v1", 80, 1);
  of_a.Serve("v2", 20, 5);
  of_b.Serve("v1", 8, 1);
  of_a.SendBy(a);
  of_b.SendBy(b);
  const auto response = client_->WatchFigures(
      [](const auto& r) {
        return Of(r, "v1") != nullptr && Times(Of(r, "v1")->requests_per_second(), r) > 87.9;
      },
      Minute());
  ASSERT_TRUE(response);
  EXPECT_EQ(response->nodes_connected(), 2u);
  const v1::Figures& stable = *Of(*response, "v1");
  const v1::Figures& canary = *Of(*response, "v2");
  EXPECT_EQ(stable.role(), v1::ROLE_STABLE);
  EXPECT_EQ(canary.role(), v1::ROLE_CANARY);
  EXPECT_EQ(canary.weight(), 20u);
  EXPECT_EQ(canary.weight_sum(), 100u);
  EXPECT_EQ(canary.share_observed(), -1) << "no split was counted";
  EXPECT_NEAR(Times(stable.requests_per_second(), *response), 88, 0.01);
  EXPECT_NEAR(Times(canary.connections_per_second(), *response), 20, 0.01);
  EXPECT_DOUBLE_EQ(canary.server_error_ratio(), 0.25);
  EXPECT_DOUBLE_EQ(stable.server_error_ratio(), 2.0 / 88);
  EXPECT_EQ(stable.connections_active(), 2u);
  EXPECT_GT(canary.latency_p99_ms(), 1.6);
  EXPECT_LE(canary.latency_p99_ms(), 2.0);
  EXPECT_EQ(canary.connect_p99_ms(), -1);
}

TEST_F(FiguresTest, ARestartOfTheControllerIsNoJump) {
  SimAgent a(Node("a"));
  a.Start();
  Canary({&a});
  Counted counted;
  counted.SendBy(a);
  ASSERT_TRUE(client_->WatchFigures([](const auto& r) { return r.window_ms() > 0; }, Minute()));
  counted.Serve("v1", 1000, 0);
  counted.SendBy(a);
  ASSERT_TRUE(client_->WatchFigures(
      [](const auto& r) { return Times(Of(r, "v1")->requests_per_second(), r) > 999; }, Minute()));
  const int port = controller_->port();
  const uint64_t streams = a.view().streams;
  controller_->End(SIGKILL);
  controller_.reset();
  Start(port);
  ASSERT_TRUE(
      a.WaitFor([&](const SimAgent::View& view) { return view.connected && view.streams > streams; }, 20s));
  counted.Serve("v1", 500, 0);
  counted.SendBy(a);  // where counting begins
  ASSERT_TRUE(client_->WatchFigures([](const auto& r) { return r.window_ms() > 0; }, Minute()));
  counted.Serve("v1", 7, 0);
  counted.SendBy(a);
  const auto response =
      client_->WatchFigures([](const auto& r) { return Of(r, "v1")->requests_per_second() > 0; }, Minute());
  ASSERT_TRUE(response);
  EXPECT_NEAR(Times(Of(*response, "v1")->requests_per_second(), *response), 7, 0.01);
}

TEST_F(FiguresTest, WhatDoesNotExistIsSaid) {
  v1::FiguresRequest request;
  request.set_service("nothing");
  EXPECT_FALSE(client_->WatchFigures([](const auto&) { return true; }, request));
  EXPECT_EQ(client_->figures_ended.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(client_->figures_ended.error_message(), "no service nothing in any namespace");
  v1::FiguresResponse response;
  request = {};
  request.set_window_seconds(61);
  EXPECT_EQ(client_->Call(&v1::WeirService::Stub::ListFigures, request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  request = {};
  request.set_interval_ms(1);
  EXPECT_FALSE(client_->WatchFigures([](const auto&) { return true; }, request));
  EXPECT_EQ(client_->figures_ended.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(client_->Call(&v1::WeirService::Stub::ListFigures, v1::FiguresRequest(), &response).ok());
  EXPECT_TRUE(response.figures().empty());
}

TEST_F(FiguresTest, AWatchEndsWithTheController) {
  std::thread ends;
  EXPECT_FALSE(client_->WatchFigures([&](const auto&) {
    if (!ends.joinable()) ends = std::thread([&] { EXPECT_EQ(controller_->End(SIGTERM), 0); });
    return false;
  }));
  if (ends.joinable()) ends.join();
  EXPECT_EQ(client_->figures_ended.error_code(), grpc::StatusCode::UNAVAILABLE);
}

/// Names of deploy/prometheus/metrics.txt that `program` exports.
std::set<std::string> Listed(const std::string& program) {
  std::ifstream file(WEIR_METRICS_LIST);
  std::set<std::string> names;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name, type, of;
    if (words >> name >> type >> of && name[0] != '#' && of == program) names.insert(name);
  }
  return names;
}

std::set<std::string> Families(const std::string& exposition) {
  std::istringstream lines(exposition);
  std::set<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string mark, kind, name;
    if (words >> mark >> kind >> name && mark == "#" && kind == "TYPE" && !name.starts_with("process_"))
      names.insert(name);
  }
  return names;
}

TEST_F(FiguresTest, MetricsSayWhatIsWantedAndWhatIsObserved) {
  SimAgent a(Node("a")), b(Node("b"));
  a.Start();
  b.Start();
  Canary({&a, &b});
  // The simulated agents count the same for every variant: half and half.
  a.SendTelemetry(5);
  ASSERT_TRUE(client_->Watch([](const v1::Rollout& r) {
    return r.variants_size() == 2 && r.variants(1).connections_observed() == 5;
  }));
  const std::string response = HttpGet(static_cast<uint16_t>(controller_->http_port()), "/metrics");
  const std::string text = response.substr(response.find("\r\n\r\n") + 4);
  const std::string rollout = R"({namespace="shop",rollout="checkout"})";
  const std::string of_canary =
      R"({namespace="shop",rollout="checkout",service="checkout",revision="v2",variant="canary"})";
  for (const std::string line :
       {R"(weir_rollout_phase{namespace="shop",rollout="checkout",phase="Paused"} 1)",
        R"(weir_rollout_phase{namespace="shop",rollout="checkout",phase="Healthy"} 0)"}) {
    EXPECT_NE(text.find("\n" + line + "\n"), std::string::npos) << line << "\n" << text;
  }
  for (const auto& [name, value] :
       std::map<std::string, std::string>{{"weir_rollout_weight", "20"},
                                          {"weir_rollout_weight_ratio", "0.2"},
                                          {"weir_rollout_observed_ratio", "0.5"},
                                          {"weir_rollout_observed_connections", "5"}}) {
    EXPECT_NE(text.find("\n" + name + of_canary + " " + value), std::string::npos) << name << "\n" << text;
  }
  EXPECT_NE(text.find("\nweir_rollout_nodes_acked" + rollout + " 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\nweir_rollout_nodes_desired" + rollout + " 2\n"), std::string::npos);
  std::set<std::string> listed = Listed("controller");
  // No order to end connections was given, and there is no webhook.
  for (const char* name : {"weir_rollout_connections_reset_total", "weir_webhook_notifications_total",
                           "weir_webhook_retries_total", "weir_webhook_waiting"}) {
    EXPECT_EQ(listed.erase(name), 1U) << name;
  }
  EXPECT_EQ(Families(text), listed) << "what deploy/prometheus may count on";

  if (std::system("command -v promtool > /dev/null") != 0) GTEST_SKIP() << "promtool is not installed";
  std::ofstream(base_ / "metrics") << text;
  const std::string check =
      "promtool check metrics < " + (base_ / "metrics").string() + " > " + (base_ / "out").string() + " 2>&1";
  EXPECT_EQ(std::system(check.c_str()), 0);
  std::ostringstream complaints;
  complaints << std::ifstream(base_ / "out").rdbuf();
  EXPECT_EQ(complaints.str(), "");
}

}  // namespace
}  // namespace weir::testing
