// From the first byte to PromQL: nginx in two revisions, a controller, two agents and Debian's Prometheus as
// people run them; curl and wrk as clients. The truth is nginx's own logs.
#include "tests/integration/agent/prometheus.h"

#include <boost/json.hpp>
#include <cmath>
#include <csignal>
#include <fstream>
#include <future>
#include <map>
#include <set>

#include "tests/integration/agent/http_get.h"
#include "tests/integration/metrics_list.h"
#include "tests/kernel/harness/web_programs_fixture.h"

namespace weir::kernel_test {
namespace {

/// What nginx counted of a revision, or of the part of it that one node's clients made.
struct Truth {
  uint64_t requests = 0, connections = 0, bytes_received = 0, bytes_sent = 0;  // as the server sees them
  std::map<int, uint64_t> codes;
};

class PrometheusTest : public WebProgramsTest {
 protected:
  void Prepare() override {
    Need({"prometheus", "nginx", "curl", "wrk"});
    if (IsSkipped()) return;
    PrepareNodes();
    StartNginx();
    StartPrograms();
    if (HasFailure()) return;
    ApplyRevision("v1");
    ASSERT_TRUE(WaitForPhase("Healthy"));
    ApplyRevision("v2");
    ASSERT_TRUE(WaitForPhase("Paused"));
  }

  /// Two revisions that answer one in ten requests with 404, one with 503 and one with 204, and note each.
  void StartNginx() {
    std::string http =
        "log_format c '$arg_node $connection $status $request_length $bytes_sent'; keepalive_requests "
        "1000000;\n"
        "split_clients $request_id $kind { 10% a; 10% b; 10% c; * d; }\n";
    std::vector<SocketAddress> addresses;
    for (const auto& [revision, endpoint] : endpoints_) {
      http += fmt::format(
          "server {{ listen {}; access_log {}/{} c; location / {{\n"
          "if ($kind = a) {{ return 404 'HTTP/1.1 500 x'; }} if ($kind = b) {{ return 503 'x'; }}\n"
          "if ($kind = c) {{ return 204; }} return 200 'GET / HTTP/1.1\\r\\n'; }} }}\n",
          ToString(endpoint), files_.path(), revision);
      addresses.push_back(endpoint);
    }
    nginx_ = WebProgramsTest::StartNginx("nginx", http, addresses);
  }

  void ApplyRevision(const std::string& revision) {
    Apply(kHttpServiceYaml + SliceYaml("v1", {endpoints_.at("v1")}) + SliceYaml("v2", {endpoints_.at("v2")}) +
          RolloutYaml(revision));
  }
  static double Number(const boost::json::value& object, const char* field) {
    return object.at(field).to_number<double>();
  }

  /// Of a revision's requests; of one node's clients, or of all (-1).
  Truth ReadLog(const std::string& revision, int node = -1) const {
    Truth truth;
    std::set<uint64_t> connections;
    std::ifstream file(files_.path() + "/" + revision);
    uint64_t from = 0, connection = 0, length = 0, sent = 0;
    for (int code = 0; file >> from >> connection >> code >> length >> sent;) {
      if (node >= 0 && from != static_cast<uint64_t>(node)) continue;
      ++truth.requests;
      ++truth.codes[code];
      truth.bytes_received += length;
      truth.bytes_sent += sent;
      connections.insert(connection);
    }
    truth.connections = connections.size();
    return truth;
  }
  uint64_t Logged() const { return ReadLog("v1").requests + ReadLog("v2").requests; }

  /// The value of a query that has one.
  double Ask(const std::string& promql) const {
    const auto value = prometheus_->Query(promql);
    EXPECT_TRUE(value) << promql;
    return value.value_or(-1);
  }
  double AskOf(const std::string& metric, const std::string& revision) const {
    return Ask(fmt::format("sum({}{{revision=\"{}\"}})", metric, revision));
  }
  /// Every target was scraped after all that was done until now, and found no open connection.
  ::testing::AssertionResult WaitForLastScrape() const {
    const double now =
        std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    const auto idle = prometheus_->QueryUntil(
        fmt::format("(sum(weir_connections_active) == 0) and on () (min(timestamp(up)) > {:.3f}) and on () "
                    "(count(up == 1) == 3)",
                    now),
        [](double) { return true; });
    if (idle) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << "no target, or connections still open";
  }

  /// Inside the node: 50 connections, 35 with a request each, 5 of them HEAD, 15 kept alive for 20. Their
  /// requests.
  uint64_t Curl(int node) {
    const std::string curl = "curl -sS --max-time 30 -o /dev/null ";
    const std::string url = fmt::format("'http://127.96.0.1/?node={}", node);
    EXPECT_OK(RunCommand(nodes_[node]->cgroup(), "set -e; " + curl + "-H 'Connection: close' " + url +
                                                     "&n=[1-30]'; " + curl + "-H 'Connection: close' -I " +
                                                     url + "&n=[1-5]'; for i in $(seq 15); do " + curl + url +
                                                     "&n=[1-20]'; done"));
    return 335;
  }
  void DriveThroughKill(uint64_t& requests);
  void ExpectTruth() const;
  void ExpectExactSplit() const;
  void ExpectControllerAgrees();
  void ExpectListedMetrics();

  const std::map<std::string, SocketAddress> endpoints_ = {{"v1", Address("127.1.0.1", 8080)},
                                                           {"v2", Address("127.1.1.1", 8080)}};
  std::unique_ptr<Process> nginx_;
  std::unique_ptr<Prometheus> prometheus_;
};

/// A client that keeps one connection for all its requests until the file appears.
Result<std::string> KeepAsking(const SocketAddress& vip, const std::string& stop_file) {
  Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket.Connect(vip) != 0) return ErrnoStatus(errno, "connect");
  uint64_t requests = 0;
  while (::access(stop_file.c_str(), F_OK) != 0) {
    RETURN_IF_ERROR(socket.Send("GET /?node=0 HTTP/1.1\r\nHost: x\r\n\r\n"));
    ASSIGN_OR_RETURN(const std::string answer, socket.Receive());  // nginx writes small ones at once
    if (!answer.starts_with("HTTP/1.1 ")) return Error(absl::StatusCode::kInternal, "found {:?}", answer);
    ++requests;
    usleep(10'000);
  }
  return std::to_string(requests);
}

/// Node 0's agent is killed and started again while clients dial, ask and keep their connections.
void PrometheusTest::DriveThroughKill(uint64_t& requests) {
  const std::string stop_file = files_.path() + "/stop";
  ClientProcess kept(nodes_[0]->cgroup(), [&] { return KeepAsking(vip_, stop_file); });
  auto dialling = std::async(std::launch::async, [&] {
    return RunCommand(
        nodes_[0]->cgroup(),
        "n=0; while [ ! -e " + stop_file +
            " ]; do curl -sS --max-time 30 -o /dev/null 'http://127.96.0.1/?node=0&n=[1-5]' || exit 1; "
            "n=$((n + 5)); done; echo $n");
  });
  const auto grows = [&](uint64_t by) { return Asked([&, to = Logged() + by] { return Logged() >= to; }); };
  EXPECT_TRUE(grows(50));
  // Where it listens for scrapes stays the same: Prometheus has been told.
  const std::string http = agents_[0]->WordAfter("http=");
  agents_[0]->Signal(SIGKILL);
  EXPECT_EQ(agents_[0]->Wait(), 128 + SIGKILL);
  EXPECT_TRUE(grows(50)) << "connections go on without an agent";
  agents_[0] = StartAgent(0, {}, "", http);
  EXPECT_TRUE(WaitForPhase("Paused"));
  EXPECT_TRUE(grows(50));
  std::ofstream(stop_file) << "stop";
  const auto asked = kept.Wait(), dialled = dialling.get();
  ASSERT_OK(asked);
  ASSERT_OK(dialled);
  requests += std::stoull(*asked) + std::stoull(*dialled);
}

/// What Prometheus says of each revision is what nginx logged.
void PrometheusTest::ExpectTruth() const {
  for (const auto& [revision, endpoint] : endpoints_) {
    SCOPED_TRACE(revision);
    const Truth truth = ReadLog(revision);
    EXPECT_EQ(truth.codes.size(), 4U);
    for (const auto& [code, count] : truth.codes) {
      const std::string selector =
          fmt::format("{{revision=\"{}\",http_response_status_code=\"{}\"}}", revision, code);
      EXPECT_EQ(Ask("sum(http_client_request_duration_seconds_count" + selector + ")"), count) << code;
    }
    EXPECT_EQ(AskOf("http_client_request_duration_seconds_count", revision), truth.requests)
        << "no other code";
    EXPECT_EQ(AskOf("weir_http_requests_total", revision), truth.requests);
    EXPECT_EQ(AskOf("weir_http_requests_without_response_total", revision), 0);
    EXPECT_EQ(AskOf("weir_http_opaque_connections_total", revision), 0);
    EXPECT_EQ(AskOf("weir_http_connections_total", revision), truth.connections);
    EXPECT_EQ(AskOf("weir_connections_opened_total", revision), truth.connections);
    EXPECT_EQ(AskOf("weir_connections_closed_total", revision), truth.connections);
    EXPECT_EQ(AskOf("weir_connections_failed_total", revision), 0);
    EXPECT_EQ(AskOf("weir_bytes_sent_total", revision), truth.bytes_received);
    EXPECT_EQ(AskOf("weir_bytes_received_total", revision), truth.bytes_sent);
  }
}

/// Each node has given the canary a fifth of its connections, less than one off.
void PrometheusTest::ExpectExactSplit() const {
  for (const std::string metric : {"weir_connections_opened_total", "weir_split_connections_total"}) {
    for (int node = 0; node < 2; ++node) {
      const double all = Ask(fmt::format("sum({}{{job=\"agent-{}\"}})", metric, node));
      const double canary =
          Ask(fmt::format("sum({}{{job=\"agent-{}\",revision=\"v2\",variant=\"canary\"}})", metric, node));
      EXPECT_GE(all, 20) << metric;
      EXPECT_LT(std::abs(canary - 0.2 * all), 1) << metric << " " << canary << " of " << all;
    }
  }
}

/// What the controller has summed up from the agents' reports is the same.
void PrometheusTest::ExpectControllerAgrees() {
  boost::json::value top;
  const auto times = [&](const boost::json::value& figures, const char* field) {
    return Number(figures, field) * Number(top, "windowMs") / 1000;
  };
  const auto of = [&](const std::string& revision) -> const boost::json::value& {
    for (const auto& figures : top.at("figures").as_array()) {
      if (figures.at("revision").as_string() == revision) return figures;
    }
    static const boost::json::value kNone;
    return kNone;
  };
  const uint64_t all = Logged();
  // The last reports come within a second, and the seconds shown end where all have reported.
  EXPECT_TRUE(Asked([&] {
    top = Json({"top", "checkout", "--once", "--window", "60s"});
    return std::llround(times(of("v1"), "requestsPerSecond") + times(of("v2"), "requestsPerSecond")) >=
           static_cast<long long>(all);
  }));
  EXPECT_EQ(Number(top, "nodesConnected"), 2);
  double connections = 0;
  for (const auto& [revision, endpoint] : endpoints_) connections += ReadLog(revision).connections;
  for (const auto& [revision, endpoint] : endpoints_) {
    SCOPED_TRACE(revision);
    const Truth truth = ReadLog(revision);
    const boost::json::value& figures = of(revision);
    EXPECT_EQ(Number(figures, "weight"), revision == "v1" ? 80 : 20);
    EXPECT_NEAR(times(figures, "requestsPerSecond"), truth.requests, 0.01);
    EXPECT_NEAR(times(figures, "connectionsPerSecond"), truth.connections, 0.01);
    EXPECT_NEAR(times(figures, "serverErrorsPerSecond"), truth.codes.at(503), 0.01);
    EXPECT_NEAR(Number(figures, "serverErrorRatio"), 1.0 * truth.codes.at(503) / truth.requests, 1e-9);
    EXPECT_NEAR(times(figures, "bytesSentPerSecond"), truth.bytes_received, 0.5);
    EXPECT_NEAR(times(figures, "bytesReceivedPerSecond"), truth.bytes_sent, 0.5);
    EXPECT_EQ(Number(figures, "connectionsActive"), 0);
    EXPECT_EQ(Number(figures, "failedRatio"), 0);
    EXPECT_EQ(Number(figures, "connectionsObserved"), truth.connections);
    EXPECT_NEAR(Number(figures, "shareObserved"), truth.connections / connections, 1e-9);
  }
  const auto splits = Json({"get", "splits"});
  const auto& split = splits.at("items").at(0);
  const auto expect = [&](const boost::json::value& variants, int node) {
    for (const auto& variant : variants.as_array()) {
      const std::string revision(variant.at("revision").as_string());
      EXPECT_EQ(Number(variant, "connectionsObserved"), ReadLog(revision, node).connections)
          << revision << " " << node;
    }
  };
  expect(split.at("variants"), -1);
  ASSERT_EQ(split.at("nodes").as_array().size(), 2U);
  for (const auto& node : split.at("nodes").as_array())
    expect(node.at("variants"), node.at("node").as_string() == "node-0" ? 0 : 1);
}

/// What a real agent exports, and says it can do.
void PrometheusTest::ExpectListedMetrics() {
  auto listed = ListedMetrics(WEIR_METRICS_LIST, "agent");
  std::erase_if(listed, [](const auto& metric) {  // there were none
    return metric.first.starts_with("weir_udp_") || metric.first == "weir_connections_reset_total" ||
           metric.first == "weir_fail_safe_active" || metric.first == "weir_endpoints_left_out";
  });
  EXPECT_EQ(ExposedMetrics(HttpGet(HttpPort(*agents_[0]), "/metrics")), listed);
  const auto nodes = Json({"get", "nodes"});
  for (const auto& node : nodes.at("items").as_array()) {
    const std::string abilities = boost::json::serialize(node.at("abilities"));
    for (const char* ability : {"\"ingress\"", "\"egress\"", "\"connect4\""})
      EXPECT_NE(abilities.find(ability), std::string::npos) << abilities;
  }
}

TEST_F(PrometheusTest, PromQlAnswersAreWhatTheServersCounted) {
  prometheus_ = std::make_unique<Prometheus>(
      std::vector<Prometheus::Job>{{"agent-0", "/metrics", HttpPort(*agents_[0])},
                                   {"agent-1", "/metrics", HttpPort(*agents_[1])},
                                   {"controller", "/metrics", HttpPort(*controller_)}},
      "1s");
  // Rates begin with a node's first report, which is where the controller counts from.
  ASSERT_EQ(prometheus_->QueryUntil("weir_telemetry_baselines_total", [](double n) { return n == 2; }), 2);

  uint64_t requests = 0;
  auto other = std::async(std::launch::async, [&] { return Curl(1); });
  requests += Curl(0);
  requests += other.get();
  DriveThroughKill(requests);
  if (HasFatalFailure()) return;
  ASSERT_TRUE(Asked([&] { return Logged() == requests; })) << Logged() << " of " << requests;
  ASSERT_TRUE(WaitForLastScrape());
  ExpectTruth();
  ExpectExactSplit();
  ExpectControllerAgrees();
  for (const std::string revision : {"v1", "v2"}) {
    EXPECT_EQ(AskOf("weir_rollout_observed_connections", revision), ReadLog(revision).connections);
  }
  ExpectListedMetrics();
  // Through the kill: nothing went back, and nothing was ever above the end.
  for (const std::string metric : {"weir_connections_opened_total", "weir_connections_closed_total",
                                   "weir_bytes_sent_total", "weir_http_requests_total"}) {
    EXPECT_EQ(Ask("max(resets((sum without (variant) (" + metric + "))[5m:1s]))"), 0) << metric;
    EXPECT_EQ(Ask("max_over_time(sum(" + metric + ")[5m:1s])"), Ask("sum(" + metric + ")")) << metric;
  }
}

// When time is up wrk closes its connections with requests under way: nginx answers some of them, and nobody
// hears it. So what nginx logged lies between the responses and the requests that were seen, at most one a
// connection apart.
TEST_F(PrometheusTest, WrkUpToTheRequestsItGivesUp) {
  constexpr double kConnections = 20;
  prometheus_ = std::make_unique<Prometheus>(
      std::vector<Prometheus::Job>{{"agent-0", "/metrics", HttpPort(*agents_[0])},
                                   {"agent-1", "/metrics", HttpPort(*agents_[1])},
                                   {"controller", "/metrics", HttpPort(*controller_)}},
      "1s");
  ASSERT_OK(RunCommand(nodes_[0]->cgroup(), "wrk -t2 -c20 -d2s 'http://127.96.0.1/?node=0'"));
  ASSERT_OK(RunCommand(nodes_[1]->cgroup(),
                       "wrk -t2 -c20 -d1s -H 'Connection: close' 'http://127.96.0.1/?node=1'"));
  ASSERT_TRUE(WaitForLastScrape());
  ExpectExactSplit();
  double given_up = 0;
  for (const std::string revision : {"v1", "v2"}) {
    SCOPED_TRACE(revision);
    const Truth truth = ReadLog(revision);
    const double seen = AskOf("weir_http_requests_total", revision);
    const double answered = AskOf("http_client_request_duration_seconds_count", revision);
    const double unanswered = AskOf("weir_http_requests_without_response_total", revision);
    given_up += unanswered;
    EXPECT_GT(answered, 100);
    EXPECT_EQ(seen, answered + unanswered);
    EXPECT_LE(answered, truth.requests);
    EXPECT_LE(truth.requests, seen);
    for (const auto& [code, count] : truth.codes) {
      const double of_code =
          Ask(fmt::format("sum(http_client_request_duration_seconds_count{{revision=\"{}\",http_response_"
                          "status_code=\"{}\"}})",
                          revision, code));
      EXPECT_LE(of_code, count) << code;
      EXPECT_LE(count, of_code + unanswered) << code;
    }
    EXPECT_EQ(AskOf("weir_http_opaque_connections_total", revision), 0);
    const double opened = AskOf("weir_connections_opened_total", revision);
    EXPECT_EQ(opened, AskOf("weir_connections_closed_total", revision));
    EXPECT_GE(opened, truth.connections);
    EXPECT_LE(opened, truth.connections + kConnections * 2) << "connections that never asked";
    constexpr double kLargest = 400;  // of a request or a response here
    EXPECT_GE(AskOf("weir_bytes_sent_total", revision), truth.bytes_received);
    EXPECT_LE(AskOf("weir_bytes_sent_total", revision), truth.bytes_received + unanswered * kLargest);
    EXPECT_LE(AskOf("weir_bytes_received_total", revision), truth.bytes_sent);
    // A response that comes when wrk has closed already is seen, but TCP takes none of its bytes.
    EXPECT_GE(AskOf("weir_bytes_received_total", revision), truth.bytes_sent - 2 * kConnections * kLargest);
  }
  EXPECT_LE(given_up, 2 * kConnections);
}

}  // namespace
}  // namespace weir::kernel_test
