// A release that decides for itself, with everything real: nginx in two revisions, a controller, two agents,
// curl on both nodes, Debian's Prometheus. The new revision breaks in every way there is and is taken back;
// when it is well it is promoted. Nobody is asked.
#include <boost/json.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>

#include "tests/integration/agent/prometheus.h"
#include "tests/integration/process.h"
#include "tests/kernel/harness/fixture.h"

namespace weir::kernel_test {
namespace {

using namespace std::chrono_literals;

const char* const kCheckout = R"(
apiVersion: v1
kind: Service
metadata: {name: checkout, namespace: shop}
spec: {clusterIP: 127.96.0.1, ports: [{name: http, port: 80, appProtocol: http}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: checkout-v1, namespace: shop, labels: {kubernetes.io/service-name: checkout, weir.dev/revision: v1}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [127.1.0.1]}, {addresses: [127.1.0.2]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: checkout-v2, namespace: shop, labels: {kubernetes.io/service-name: checkout, weir.dev/revision: v2}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [127.1.1.1]}, {addresses: [127.1.1.2]}]
)";

/// Watched from the first step on by all that is built in, and by nothing else: what nodes do by themselves
/// against a revision that refuses would come first.
const char* const kWatched = R"(
apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {name: checkout, namespace: shop}
spec:
  service: checkout
  revision: REVISION
  localTrip: {consecutiveFailures: 0}
  passiveHealth: {consecutiveFailures: 0}
  strategy:
    canary:
      analysis: {templates: [{templateName: weir-success-rate}, {templateName: weir-latency}, {templateName: weir-connect}]}
      steps: [{setWeight: 20}, {pause: {}}]
)";

/// Decided by a Prometheus, and by the kernel's figures.
const char* const kDecided = R"(
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: success-rate, namespace: shop}
spec:
  args: [{name: canary}, {name: prometheus}]
  metrics:
  - name: success-rate
    initialDelay: 3s
    interval: 1s
    count: 5
    failureLimit: 1
    inconclusiveLimit: 20      # NaN before the first request
    consecutiveErrorLimit: 20  # an empty answer before the first scrape
    successCondition: result[0] >= 0.95
    failureCondition: result[0] < 0.95
    provider:
      prometheus:
        address: "{{args.prometheus}}"
        query: |
          (sum(rate(http_client_request_duration_seconds_count{revision="{{args.canary}}",http_response_status_code!~"5.."}[10s])) or vector(0))
          / sum(rate(http_client_request_duration_seconds_count{revision="{{args.canary}}"}[10s]))
---
apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {name: checkout, namespace: shop}
spec:
  service: checkout
  revision: REVISION
  strategy:
    canary:
      steps:
      - setWeight: 20
      - analysis:
          templates: [{templateName: success-rate}]
          args:
          - {name: canary, valueFrom: {podTemplateHashValue: Latest}}
          - {name: prometheus, value: "http://127.0.0.1:PORT"}
)";

class DecidesTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) return;
    for (const char* program : {"prometheus", "nginx", "curl"}) {
      if (FindProgram(program).empty())
        GTEST_SKIP() << program << " is not installed: deploy/install-deps.sh --tests";
    }
    char name[] = "/tmp/weir-ktest-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    std::filesystem::permissions(directory_, std::filesystem::perms::others_exec,
                                 std::filesystem::perm_options::add);
    std::ofstream(directory_ + "/ok") << "ok\n";
    for (auto& node : nodes_) node = std::make_unique<TestNode>();
    for (const int revision : {0, 1}) StartNginx(revision);
    if (HasFatalFailure()) return;
    controller_ = std::make_unique<Process>(std::vector<std::string>{WEIR_CONTROLLER, "--state",
                                                                     directory_ + "/state", "--listen",
                                                                     "127.0.0.1:0", "--http", "127.0.0.1:0"});
    address_ = controller_->WordAfter("grpc=");
    for (size_t i = 0; i < nodes_.size(); ++i) {
      agents_[i] = std::make_unique<Process>(std::vector<std::string>{
          WEIR_AGENT, "--node-name", fmt::format("node-{}", i), "--cgroup", nodes_[i]->cgroup(), "--bpffs",
          nodes_[i]->bpffs(), "--controller", address_, "--http", "127.0.0.1:0"});
      http_[i] = agents_[i]->WordAfter("http=");
      ASSERT_FALSE(http_[i].empty()) << agents_[i]->seen;
    }
    ASSERT_TRUE(Eventually([&] { return Json({"get", "nodes"}).at("items").as_array().size() == 2; }));
  }
  void TearDown() override {
    StopClients();
    agents_ = {};
    controller_.reset();
    nginx_ = {};
    std::error_code ignored;  // a directory that is left behind fails no test
    if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
  }

  /// Two endpoints of a revision. While its files are there, v2 answers 500 everywhere ("broken") or at one
  /// endpoint ("half"), or five requests a second and the others wait ("slow").
  void StartNginx(int revision) {
    const std::string config = fmt::format("{}/nginx-{}.conf", directory_, revision);
    std::ofstream file(config);
    file << "daemon off; master_process off; error_log stderr; pid " << directory_ << "/pid" << revision
         << ";\nevents { worker_connections 1024; }\nhttp { log_format times '$status $msec';\naccess_log "
         << directory_ << "/log" << revision << " times; keepalive_timeout 0;\n"
         << "limit_req_zone $late zone=late:1m rate=5r/s;\n";
    for (const char* temporary : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"})
      file << temporary << "_temp_path " << directory_ << "/" << temporary << ";\n";
    for (const int endpoint : {1, 2}) {
      file << fmt::format("server {{ listen 127.1.{}.{}:8080; root {}; set $late '';\n", revision, endpoint,
                          directory_);
      if (revision == 1) {
        file << fmt::format("if (-f {0}/broken) {{ return 500; }}\nif (-f {0}/slow) {{ set $late x; }}\n",
                            directory_);
        if (endpoint == 2) file << fmt::format("if (-f {}/half) {{ return 500; }}\n", directory_);
      }
      file << "location / { limit_req zone=late burst=10000; try_files /ok =404; } }\n";
    }
    file << "}\n";
    file.close();
    nginx_[revision] = std::make_unique<Process>(
        std::vector<std::string>{"/usr/sbin/nginx", "-e", "stderr", "-p", directory_, "-c", config});
    const SocketAddress address = Address(fmt::format("127.1.{}.2", revision), 8080);
    // It does not tell when it listens.
    ASSERT_TRUE(Eventually([&] { return Socket::Open(AF_INET, SOCK_STREAM).Connect(address) == 0; }))
        << nginx_[revision]->seen;
  }

  std::string Weirctl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"env", "WEIR_NAMESPACE=shop", WEIRCTL, "--server", address_});
    Process process(arguments);
    EXPECT_EQ(process.Wait(), 0) << fmt::format("{}: {}", fmt::join(arguments, " "), process.seen);
    return process.seen;
  }
  boost::json::value Json(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"-o", "json"});
    return boost::json::parse(Weirctl(arguments));
  }
  void Apply(std::string text, const std::string& revision) {
    text.replace(text.find("REVISION"), 8, revision);
    std::ofstream(directory_ + "/apply.yaml") << text;
    Weirctl({"apply", "-f", directory_ + "/apply.yaml"});
  }
  boost::json::value Rollout() { return Json({"get", "rollouts", "checkout"}); }
  static std::string Text(const boost::json::value& object, const char* field) {
    return std::string(object.at(field).as_string());
  }
  /// In that phase, held by both nodes.
  bool WaitForPhase(const std::string& phase) {
    return Eventually([&] {
      const auto rollout = Rollout();
      return Text(rollout, "phase") == phase && rollout.at("nodesAcked").to_number<int>() == 2;
    });
  }
  /// Asks until it holds, for a minute: programs of others do not tell.
  static bool Eventually(const std::function<bool()>& holds) {
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (!holds()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      usleep(50'000);
    }
    return true;
  }

  /// On both nodes, one request after the other, each on a connection of its own.
  void StartClients() {
    for (const auto& node : nodes_) {
      clients_.push_back(std::async(std::launch::async, [this, &node] {
        return RunCommand(node->cgroup(), "while [ ! -e " + directory_ +
                                              "/stop ]; do curl -s --max-time 20 -o /dev/null "
                                              "'http://127.96.0.1/?[1-20]'; done; true");
      }));
    }
  }
  void StopClients() {
    if (clients_.empty()) return;
    std::ofstream(directory_ + "/stop") << "stop";
    for (auto& client : clients_) EXPECT_OK(client.get());
    clients_.clear();
  }

  /// The analysis of this attempt has compared so many responses of the canary, and stable's.
  bool WaitCompared(int responses) {
    return Eventually([&] {
      const auto runs = Json({"get", "analysis"});
      if (runs.at("items").as_array().empty()) return false;
      const auto& run = runs.at("items").as_array().back();
      if (Text(run, "phase") != "Running") return false;
      for (const auto& metric : run.at("metrics").as_array()) {
        if (Text(metric, "name") != "latency-p90") continue;
        // "canary 3 responses slower than 1.2 ms of 40, stable 20 of 160: ..."; before that it learns.
        const std::string message = Text(metric, "message");
        const size_t of = message.find(" of ");
        return message.starts_with("canary ") && std::stoi(message.substr(of + 4)) >= responses;
      }
      return false;
    });
  }

  std::string directory_, address_;
  std::array<std::unique_ptr<TestNode>, 2> nodes_;
  std::array<std::unique_ptr<Process>, 2> nginx_, agents_;
  std::array<std::string, 2> http_;
  std::unique_ptr<Process> controller_;
  std::vector<std::future<Result<std::string>>> clients_;
};

TEST_F(DecidesTest, ARevisionThatBreaksIsTakenBackInEveryWayItCanBreak) {
  Apply(kCheckout + std::string("---") + kWatched, "v1");
  ASSERT_TRUE(WaitForPhase("Healthy"));
  StartClients();
  Apply(kWatched, "v2");
  struct Way {
    const char* name;    // of a file; "refusing": no server
    const char* metric;  // one of the metrics that must tell
    const char* words;
  } const ways[] = {{"broken", "", "errors of "},
                    {"half", "", "errors of "},
                    {"slow", "metric latency-p", " responses slower than "},
                    {"refusing", "metric failed-connects Failed", " failed connects of "}};
  for (const Way& way : ways) {
    SCOPED_TRACE(way.name);
    ASSERT_TRUE(WaitForPhase("Paused")) << boost::json::serialize(Rollout());
    ASSERT_TRUE(WaitCompared(20));
    const bool refusing = std::string(way.name) == "refusing";
    const std::string file = directory_ + "/" + way.name;
    if (refusing) {
      nginx_[1].reset();
    } else {
      std::ofstream(file) << "x";
    }
    ASSERT_TRUE(WaitForPhase("Degraded")) << boost::json::serialize(Json({"get", "analysis"}));
    const auto rollout = Rollout();
    const std::string message = Text(rollout, "message");
    EXPECT_EQ(rollout.at("canaryWeight").to_number<int>(), 0);
    EXPECT_NE(message.find("background analysis Failed: metric "), std::string::npos) << message;
    EXPECT_NE(message.find(way.metric), std::string::npos) << message;
    EXPECT_NE(message.find(way.words), std::string::npos) << message;
    EXPECT_NE(message.find("E = "), std::string::npos) << message;
    if (refusing) {
      StartNginx(1);
    } else {
      std::filesystem::remove(file);
    }
    Weirctl({"retry", "checkout"});
  }
  // And a whole one stays: nothing has told against it by the time as much was compared as convicted the
  // others.
  ASSERT_TRUE(WaitForPhase("Paused"));
  ASSERT_TRUE(WaitCompared(100));
  EXPECT_EQ(Text(Rollout(), "phase"), "Paused") << Text(Rollout(), "message");
  Weirctl({"promote", "checkout"});
  ASSERT_TRUE(WaitForPhase("Healthy"));
  EXPECT_EQ(Text(Rollout(), "stableRevision"), "v2");
}

/// Seconds from v2's first 500 in its log to its last answer; the log begins anew.
double SecondsOfErrors(const std::string& path) {
  std::ifstream file(path);
  double first = 0, last = 0, time = 0;
  for (int status = 0; file >> status >> time;) {
    if (status == 500 && first == 0) first = time;
    if (first != 0) last = time;
  }
  std::filesystem::resize_file(path, 0);  // nginx appends
  return last - first;
}

// tests/run.sh --slow: the distribution of what people feel.
TEST_F(DecidesTest, DISABLED_HowLongABrokenRevisionIsServed) {
  constexpr size_t kRounds = 50;
  Apply(kCheckout + std::string("---") + kWatched, "v1");
  ASSERT_TRUE(WaitForPhase("Healthy"));
  StartClients();
  Apply(kWatched, "v2");
  std::vector<double> took;
  while (took.size() < kRounds) {
    ASSERT_TRUE(WaitForPhase("Paused"));
    ASSERT_TRUE(WaitCompared(20));
    std::ofstream(directory_ + "/broken") << "x";
    ASSERT_TRUE(WaitForPhase("Degraded"));
    // All nodes hold it: what nginx has logged by now is all there will be, but for answers on their way.
    usleep(100'000);
    took.push_back(SecondsOfErrors(directory_ + "/log1"));
    std::filesystem::remove(directory_ + "/broken");
    Weirctl({"retry", "checkout"});
  }
  std::sort(took.begin(), took.end());
  std::printf(
      "first 500 to the last new connection, s: min %.2f, p10 %.2f, median %.2f, p90 %.2f, max %.2f\n",
      took.front(), took[kRounds / 10], took[kRounds / 2], took[kRounds * 9 / 10], took.back());
}

TEST_F(DecidesTest, APrometheusDecides) {
  const auto port = [](const std::string& address) {
    return static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  };
  const Prometheus prometheus(
      {{"agent-0", "/metrics", port(http_[0])}, {"agent-1", "/metrics", port(http_[1])}}, "1s");
  std::string decided = kDecided;
  decided.replace(decided.find("PORT"), 4, std::to_string(prometheus.port()));
  Apply(kCheckout + std::string("---") + decided, "v1");
  ASSERT_TRUE(WaitForPhase("Healthy"));
  StartClients();
  std::ofstream(directory_ + "/broken") << "x";
  Apply(decided, "v2");
  ASSERT_TRUE(WaitForPhase("Degraded")) << boost::json::serialize(Json({"get", "analysis"}));
  const std::string message = Text(Rollout(), "message");
  EXPECT_NE(message.find(
                "analysis at step 1 Failed: metric success-rate Failed: failed (2) > failureLimit (1), last "
                "value [0"),
            std::string::npos)
      << message;
  std::filesystem::remove(directory_ + "/broken");
  // What was bad fades from the rates before it is asked again.
  ASSERT_TRUE(
      prometheus.QueryUntil("sum(rate(http_client_request_duration_seconds_count{revision=\"v2\",http_"
                            "response_status_code=~\"5..\"}[10s])) or vector(0)",
                            [](double rate) { return rate == 0; }));
  Weirctl({"retry", "checkout"});
  ASSERT_TRUE(Eventually([&] { return Text(Rollout(), "stableRevision") == "v2"; }))
      << boost::json::serialize(Json({"get", "analysis"}));
}

}  // namespace
}  // namespace weir::kernel_test
