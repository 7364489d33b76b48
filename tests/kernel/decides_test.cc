// A release that decides for itself, with everything real: nginx in two revisions, a controller, two agents,
// curl on both nodes, Debian's Prometheus. The new revision breaks in every way there is and is taken back;
// when it is well it is promoted. Nobody is asked.
#include <boost/json.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>

#include "tests/integration/agent/prometheus.h"
#include "tests/kernel/harness/web_programs_fixture.h"

namespace weir::kernel_test {
namespace {

/// The address of a revision's endpoint.
SocketAddress EndpointOf(int revision, int endpoint) {
  return Address(fmt::format("127.1.{}.{}", revision, endpoint), 8080);
}

std::string Checkout() {
  std::string yaml = kHttpServiceYaml;
  for (const int revision : {0, 1}) {
    yaml += SliceYaml(fmt::format("v{}", revision + 1), {EndpointOf(revision, 1), EndpointOf(revision, 2)});
  }
  return yaml;
}

/// Watched from the first step on by all that is built in, and by nothing else: what nodes do by themselves
/// against a revision that refuses would come first.
const char* const kWatched = R"(---
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
const char* const kDecided = R"(---
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

class DecidesTest : public WebProgramsTest {
 protected:
  void Prepare() override {
    Need({"prometheus", "nginx", "curl"});
    if (IsSkipped()) return;
    std::filesystem::permissions(files_.path(), std::filesystem::perms::others_exec,
                                 std::filesystem::perm_options::add);
    files_.Write("ok", "ok\n");
    PrepareNodes();
    for (const int revision : {0, 1}) StartNginx(revision);
    StartPrograms();
    ASSERT_TRUE(Asked([&] { return Json({"get", "nodes"}).at("items").as_array().size() == 2; }));
  }
  void TearDown() override { StopClients(); }

  /// Two endpoints of a revision. While its files are there, v2 answers 500 everywhere ("broken") or at one
  /// endpoint ("half"), or five requests a second and the others wait ("slow").
  void StartNginx(int revision) {
    std::string http = fmt::format(
        "log_format times '$status $msec';\naccess_log {}/log{} times; keepalive_timeout 0;\n"
        "limit_req_zone $late zone=late:1m rate=5r/s;\n",
        files_.path(), revision);
    for (const int endpoint : {1, 2}) {
      http += fmt::format("server {{ listen {}; root {}; set $late '';\n",
                          ToString(EndpointOf(revision, endpoint)), files_.path());
      if (revision == 1) {
        http += fmt::format("if (-f {0}/broken) {{ return 500; }}\nif (-f {0}/slow) {{ set $late x; }}\n",
                            files_.path());
        if (endpoint == 2) http += fmt::format("if (-f {}/half) {{ return 500; }}\n", files_.path());
      }
      http += "location / { limit_req zone=late burst=10000; try_files /ok =404; } }\n";
    }
    nginx_[revision] = WebProgramsTest::StartNginx(fmt::format("nginx-{}", revision), http,
                                                   {EndpointOf(revision, 1), EndpointOf(revision, 2)});
  }

  void Apply(std::string text, const std::string& revision) {
    text.replace(text.find("REVISION"), 8, revision);
    ProgramsTest::Apply(text);
  }
  static std::string Text(const boost::json::value& object, const char* field) {
    return std::string(object.at(field).as_string());
  }

  /// On both nodes, one request after the other, each on a connection of its own.
  void StartClients() {
    for (const auto& node : nodes_) {
      clients_.push_back(std::async(std::launch::async, [this, &node]() -> Result<std::string> {
        const std::string stop = files_.path() + "/stop";
        while (!std::filesystem::exists(stop)) {  // a process of clients lasts no longer than a minute
          RETURN_IF_ERROR(RunCommand(node->cgroup(), "for i in 1 2 3; do [ -e " + stop +
                                                         " ] || curl -s --max-time 20 -o /dev/null "
                                                         "'http://127.96.0.1/?[1-20]'; done; true")
                              .status());
        }
        return "";
      }));
    }
  }
  void StopClients() {
    if (clients_.empty()) return;
    std::ofstream(files_.path() + "/stop") << "stop";
    for (auto& client : clients_) EXPECT_OK(client.get());
    clients_.clear();
  }

  /// The analysis of this attempt has compared so many responses of the canary, and stable's.
  bool WaitCompared(int responses) {
    return Asked([&] {
      const auto runs = Json({"get", "analysis"});
      for (const auto& run : runs.at("items").as_array()) {
        if (Text(run, "phase") != "Running") continue;
        for (const auto& metric : run.at("metrics").as_array()) {
          if (Text(metric, "name") != "latency-p90") continue;
          // "canary 3 responses slower than 1.2 ms of 40, stable 20 of 160: ..."; before that it learns.
          const std::string message = Text(metric, "message");
          const size_t of = message.find(" of ");
          return message.starts_with("canary ") && std::stoi(message.substr(of + 4)) >= responses;
        }
      }
      return false;
    });
  }

  std::array<std::unique_ptr<Process>, 2> nginx_;
  std::vector<std::future<Result<std::string>>> clients_;
};

TEST_F(DecidesTest, ARevisionThatBreaksIsTakenBackInEveryWayItCanBreak) {
  Apply(Checkout() + kWatched, "v1");
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
    const std::string file = files_.path() + "/" + way.name;
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
    Must({"retry", "checkout"});
  }
  // And a whole one stays: nothing has told against it by the time as much was compared as convicted the
  // others.
  ASSERT_TRUE(WaitForPhase("Paused"));
  ASSERT_TRUE(WaitCompared(100));
  EXPECT_EQ(Text(Rollout(), "phase"), "Paused") << Text(Rollout(), "message");
  Must({"promote", "checkout"});
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
  Apply(Checkout() + kWatched, "v1");
  ASSERT_TRUE(WaitForPhase("Healthy"));
  StartClients();
  Apply(kWatched, "v2");
  std::vector<double> took;
  while (took.size() < kRounds) {
    ASSERT_TRUE(WaitForPhase("Paused"));
    ASSERT_TRUE(WaitCompared(20));
    std::ofstream(files_.path() + "/broken") << "x";
    ASSERT_TRUE(WaitForPhase("Degraded"));
    // All nodes hold it: what nginx has logged by now is all there will be, but for answers on their way.
    usleep(100'000);
    took.push_back(SecondsOfErrors(files_.path() + "/log1"));
    std::filesystem::remove(files_.path() + "/broken");
    Must({"retry", "checkout"});
  }
  std::sort(took.begin(), took.end());
  std::printf(
      "first 500 to the last new connection, s: min %.2f, p10 %.2f, median %.2f, p90 %.2f, max %.2f\n",
      took.front(), took[kRounds / 10], took[kRounds / 2], took[kRounds * 9 / 10], took.back());
}

TEST_F(DecidesTest, APrometheusDecides) {
  const Prometheus prometheus(
      {{"agent-0", "/metrics", HttpPort(*agents_[0])}, {"agent-1", "/metrics", HttpPort(*agents_[1])}}, "1s");
  std::string decided = kDecided;
  decided.replace(decided.find("PORT"), 4, std::to_string(prometheus.port()));
  Apply(Checkout() + decided, "v1");
  ASSERT_TRUE(WaitForPhase("Healthy"));
  StartClients();
  std::ofstream(files_.path() + "/broken") << "x";
  Apply(decided, "v2");
  ASSERT_TRUE(WaitForPhase("Degraded")) << boost::json::serialize(Json({"get", "analysis"}));
  const std::string message = Text(Rollout(), "message");
  EXPECT_NE(message.find(
                "analysis at step 1 Failed: metric success-rate Failed: failed (2) > failureLimit (1), last "
                "value [0"),
            std::string::npos)
      << message;
  std::filesystem::remove(files_.path() + "/broken");
  // What was bad fades from the rates before it is asked again.
  ASSERT_TRUE(
      prometheus.QueryUntil("sum(rate(http_client_request_duration_seconds_count{revision=\"v2\",http_"
                            "response_status_code=~\"5..\"}[10s])) or vector(0)",
                            [](double rate) { return rate == 0; }));
  Must({"retry", "checkout"});
  ASSERT_TRUE(Asked([&] { return Text(Rollout(), "stableRevision") == "v2"; }))
      << boost::json::serialize(Json({"get", "analysis"}));
}

}  // namespace
}  // namespace weir::kernel_test
