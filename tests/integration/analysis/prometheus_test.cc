// A real Prometheus that scrapes a server of ours: instant and range queries, what it says of a bad one, and
// that it is down.
#include "controller/prometheus/prometheus.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <filesystem>

#include "common/http.h"
#include "controller/analysis/run.h"
#include "tests/integration/analysis/loop.h"
#include "tests/unit/common/test_certs.h"

namespace weir::analysis {
namespace {

namespace json = boost::json;

class RealPrometheus : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists("/usr/bin/prometheus"))
      GTEST_SKIP() << "no prometheus (deploy/install-deps.sh --tests)";
    auto server = HttpServer::Listen(loop_.context, {.listen = "127.0.0.1:0"});
    ASSERT_TRUE(server.ok()) << server.status();
    target_ = *std::move(server);
    target_->Handle("/metrics", [](const HttpRequest&) {
      return HttpResponse{.content_type = "text/plain; version=0.0.4",
                          .body = "requests{code=\"200\"} 95\nrequests{code=\"500\"} 5\nnothing NaN\n"};
    });
    Start();
  }
  void TearDown() override { Stop(); }

  void Start() {
    dir_.Write("prometheus.yml",
               "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
               "scrape_configs:\n- job_name: t\n  static_configs:\n  - targets: ['" +
                   target_->address() + "']\n");
    // A port that was free a moment ago: Prometheus does not tell which one it got for 0.
    boost::asio::ip::tcp::acceptor free(loop_.context, {boost::asio::ip::make_address("127.0.0.1"), 0});
    address_ = "127.0.0.1:" + std::to_string(free.local_endpoint().port());
    free.close();
    const std::string config = "--config.file=" + dir_.path() + "/prometheus.yml";
    const std::string data = "--storage.tsdb.path=" + dir_.path() + "/data";
    const std::string listen = "--web.listen-address=" + address_;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::execl("/usr/bin/prometheus", "prometheus", config.c_str(), data.c_str(), listen.c_str(),
              "--log.level=error", nullptr);
      ::_exit(127);
    }
  }
  void Stop() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

  Result<json::value> Ask(const std::string& query, std::optional<RangeQuery> range = std::nullopt) {
    const PrometheusQuery question{
        .address = "http://" + address_, .query = query, .range = std::move(range)};
    const auto now =
        std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
    return loop_.Await<json::value>(
        [&](auto done) { prometheus::Query(loop_.client, question, now, std::move(done)); });
  }
  std::string Told(const std::string& query, std::optional<RangeQuery> range = std::nullopt) {
    const auto value = Ask(query, std::move(range));
    return value.ok() ? ValueText(*value) : Message(value.status());
  }
  /// Prometheus starts and scrapes in its own time; a try every 100 ms, a minute long.
  void AwaitScraped() {
    for (int i = 0; i < 600; ++i) {
      const auto value = Ask("requests");
      if (value.ok() && value->is_array() && !value->get_array().empty()) return;
      boost::asio::steady_timer timer(loop_.context, std::chrono::milliseconds(100));
      bool over = false;
      timer.async_wait([&over](boost::system::error_code) { over = true; });
      loop_.context.restart();
      while (!over) loop_.context.run_one();
    }
    FAIL() << "Prometheus has scraped nothing: " << Told("requests");
  }

  Loop loop_;
  TempDir dir_;
  std::unique_ptr<HttpServer> target_;
  std::string address_;
  pid_t pid_ = -1;
};

TEST_F(RealPrometheus, AnswersAsConditionsExpect) {
  AwaitScraped();
  EXPECT_EQ(Told("sum(requests{code=~\"2.*\"}) / sum(requests)"), "[0.95]");
  EXPECT_EQ(Told("scalar(sum(requests))"), "100");
  EXPECT_EQ(Told("sort(requests)"), "[5,95]");
  EXPECT_EQ(Told("requests{code=\"404\"}"), "[]");
  EXPECT_EQ(Told("nothing"), "[NaN]");
  EXPECT_EQ(Told("1 / 0"), "+Inf");
  EXPECT_EQ(Told("vector(1) / 0"), "[+Inf]");
  const auto range =
      Ask("requests", RangeQuery{"now() - duration(\"2s\")", "now() + duration(\"1s\")", "1s"});
  ASSERT_TRUE(range.ok()) << range.status();
  EXPECT_GE(range->get_array().size(), 2U) << ValueText(*range);
  Metric metric;
  metric.success = *Condition::Parse("all(result, # >= 5)");
  EXPECT_EQ(AssessValue(metric, *range).phase, Phase::kSuccessful);
  EXPECT_EQ(Told("sum(").substr(0, 22), "Prometheus: bad_data: ");
  EXPECT_EQ(Told("\"text\""), "the result is of type \"string\", expected scalar, vector or matrix");
  std::string longer = "requests{code=~\"" + std::string(5000, 'x') + "\"}";
  EXPECT_EQ(Told(longer), "[]") << "asked by POST";
  Stop();
  EXPECT_EQ(Told("up"), "http://" + address_ + ": cannot connect: Connection refused");
}

}  // namespace
}  // namespace weir::analysis
