// A real Prometheus scrapes the agent's exposition, and the queries that Flagger and Argo Rollouts ship are
// asked of it.
#include "tests/integration/agent/prometheus.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cmath>
#include <future>
#include <memory>
#include <thread>

#include "agent/datapath/fake_datapath.h"
#include "agent/metrics/agent_metrics.h"
#include "agent/metrics/figure_metrics.h"
#include "common/metrics.h"
#include "tests/unit/agent/metrics/figures_builder.h"

namespace weir::metrics {
namespace {

/// One agent's pages: /metrics (both views, reporter destination) and /source. While it runs on, every scrape
/// finds the figures grown by the same amounts.
class PrometheusTest : public testing::Test {
 protected:
  void SetUp() override {
    if (FindProgram("prometheus").empty() || FindProgram("promtool").empty()) {
      GTEST_SKIP() << "prometheus is not installed: deploy/install-deps.sh --tests";
    }
    book_.Applied({.upserts = {MakeSplit("cart", 1, true), MakeSplit("checkout", 2)}});
    datapath_.figures.epoch = "e1";
    Grow();
    auto server = HttpServer::Listen(context_, {.listen = "127.0.0.1:0"});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    server_->Handle("/metrics", Page({&agent_, &process_}, {&both_}));
    server_->Handle("/source", Page({}, {&source_}));
    thread_ = std::thread([this] { context_.run(); });
  }
  void TearDown() override {
    if (!thread_.joinable()) return;
    boost::asio::post(context_, [this] { server_->Stop(); });
    thread_.join();
  }

  HttpHandler Page(std::vector<prometheus::Collectable*> collectables, std::vector<MetricsSource*> sources) {
    return [this, handler = MetricsHandler(std::move(collectables), std::move(sources))](
               const HttpRequest& request) {
      if (growing_) Grow();
      return handler(request);
    };
  }
  /// cart-canary: 97% of 100 requests succeed, and the slowest 3% take 400 ms; checkout's v2: 3 of 4.
  void Grow() {
    ++rounds_;
    auto canary = MakeSeries("cart", "cart-canary", rounds_ * 97, 0);
    Observe(canary.http_responses[503], 400, rounds_ * 3);
    datapath_.figures.series = {canary, MakeSeries("cart", "cart-primary", rounds_ * 900, 0),
                                MakeSeries("checkout", "v1", rounds_ * 400, 0),
                                MakeSeries("checkout", "v2", rounds_ * 60, rounds_ * 20)};
  }
  /// Stops growing; how often it did.
  uint64_t Freeze() {
    std::promise<uint64_t> rounds;
    boost::asio::post(context_, [&] {
      growing_ = false;
      rounds.set_value(rounds_);
    });
    return rounds.get_future().get();
  }

  datapath::FakeDatapath datapath_;
  stream::SplitBook book_;
  AgentMetrics agent_{"node-1", datapath_};
  ProcessMetrics process_;
  FigureMetrics both_{datapath_, book_, agent_, {.view = View::kBoth}};
  FigureMetrics source_{datapath_, book_, agent_, {.view = View::kIstio, .reporter = Reporter::kSource}};
  boost::asio::io_context context_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
  uint64_t rounds_ = 0;
  bool growing_ = true;
};

// pkg/metrics/observers/istio.go of Flagger 1.44, with {{ namespace }}, {{ target }} and {{ interval }}
// filled in.
constexpr const char* kFlaggerSuccessRate = R"(
	sum(
		rate(
			istio_requests_total{
				reporter="destination",
				destination_workload_namespace="shop",
				destination_workload=~"cart",
				response_code!~"5.*"
			}[1m]
		)
	)
	/
	sum(
		rate(
			istio_requests_total{
				reporter="destination",
				destination_workload_namespace="shop",
				destination_workload=~"cart"
			}[1m]
		)
	)
	* 100)";
constexpr const char* kFlaggerDuration = R"(
	histogram_quantile(
		0.99,
		sum(
			rate(
				istio_request_duration_milliseconds_bucket{
					reporter="destination",
					destination_workload_namespace="shop",
					destination_workload=~"cart"
				}[1m]
			)
		) by (le)
	))";
// docs/features/analysis.md of Argo Rollouts, with the service's name filled in.
constexpr const char* kArgoSuccessRate = R"(
          sum(irate(
            istio_requests_total{reporter="source",destination_service=~"checkout.shop.svc.cluster.local",response_code!~"5.*"}[5m]
          )) /
          sum(irate(
            istio_requests_total{reporter="source",destination_service=~"checkout.shop.svc.cluster.local"}[5m]
          )))";

TEST_F(PrometheusTest, FlaggersAndArgosQueriesAndExactCounts) {
  const Prometheus prometheus(
      {{"agent", "/metrics", server_->port()}, {"source", "/source", server_->port()}});
  const auto near = [](double want) {
    return [want](double value) { return std::abs(value - want) < 1e-9 * want; };
  };

  EXPECT_NEAR(prometheus.QueryUntil(kFlaggerSuccessRate, near(97)).value_or(-1), 97, 1e-6);
  // 400 ms lies in Envoy's bucket (250, 500].
  const double p99 = prometheus.QueryUntil(kFlaggerDuration, [](double v) { return v > 250; }).value_or(-1);
  EXPECT_GT(p99, 250);
  EXPECT_LE(p99, 500);
  EXPECT_NEAR(prometheus.QueryUntil(kArgoSuccessRate, near(460.0 / 480)).value_or(-1), 460.0 / 480, 1e-9);

  const auto rounds = static_cast<double>(Freeze());
  const auto expect = [&](const std::string& promql, double want) {
    EXPECT_EQ(prometheus.QueryUntil(promql, [&](double value) { return value == want; }), want) << promql;
  };
  expect(R"(sum(weir_http_requests_total{service="checkout"}))", 480 * rounds);
  expect(
      R"(sum(http_client_request_duration_seconds_count{variant="canary",http_response_status_code=~"5.."}))",
      20 * rounds);
  expect(R"(sum(istio_requests_total{job="agent",destination_workload="cart",response_code="503"}))",
         3 * rounds);
  expect(R"(sum(weir_bytes_sent_total{revision="cart-primary"}))", 90000 * rounds);
  expect("min(up)", 1);
}

TEST_F(PrometheusTest, PromtoolFindsNothing) {
  const auto [status, output] = RunWithInput("promtool check metrics", [&] {
    FigureMetrics weir(datapath_, book_, agent_, {});
    return MetricsText({&agent_, &process_}, {&weir});
  }());
  EXPECT_EQ(status, 0) << output;
  EXPECT_EQ(output, "");
  EXPECT_NE(RunWithInput("promtool check metrics", "a_total 1\na_total 1\n").first, 0);  // it does look
}

TEST_F(PrometheusTest, AStrictReaderOfOpenMetricsTakesAll) {
  const std::string read =
      "/usr/bin/python3 -c 'import sys; from prometheus_client.openmetrics.parser import "
      "text_string_to_metric_families as parse; print(len(list(parse(sys.stdin.read()))))'";
  if (RunWithInput("/usr/bin/python3 -c 'import prometheus_client.openmetrics.parser'", "").first != 0) {
    GTEST_SKIP() << "python3-prometheus-client is not installed: deploy/install-deps.sh --tests";
  }
  const std::string text = MetricsText({&agent_, &process_}, {&both_}, ExpositionFormat::kOpenMetrics);
  const auto [status, output] = RunWithInput(read, text);
  EXPECT_EQ(status, 0) << output;
  EXPECT_NE(RunWithInput(read, text.substr(0, text.size() - 6)).first, 0);  // no EOF
}

}  // namespace
}  // namespace weir::metrics
