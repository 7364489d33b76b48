// The whole of what is shown, against files: tests/testdata/metrics. WEIR_UPDATE_GOLDEN=1 writes them anew.
#include "agent/metrics/figure_metrics.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "agent/datapath/fake_datapath.h"
#include "agent/metrics/agent_metrics.h"
#include "common/metrics.h"
#include "tests/unit/agent/metrics/figures_builder.h"

namespace weir::metrics {
namespace {

void ExpectFile(const std::string& name, const std::string& text) {
  const std::string path = WEIR_TESTDATA "/metrics/" + name;
  if (std::getenv("WEIR_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << text;
  std::ifstream file(path);
  ASSERT_TRUE(file) << path;
  std::istringstream found(text);
  for (std::string want, line; std::getline(file, want);) {
    std::getline(found, line);
    ASSERT_EQ(line, want) << path;
  }
  std::string more;
  EXPECT_FALSE(std::getline(found, more)) << more;
}

class FigureMetricsTest : public testing::Test {
 protected:
  void SetUp() override {
    const datapath::Frontend cart = MakeSplit("cart", 1, true), checkout = MakeSplit("checkout", 2);
    book_.Applied({.upserts = {cart, checkout}});
    datapath_.counts = {{cart.key, {{"cart-canary", 10, 1}, {"cart-primary", 90, 9}}},
                        {checkout.key, {{"v1", 80, 8}, {"v2", 20, 2}}}};
    datapath_.figures = {
        .epoch = "e1",
        .series = {MakeSeries("cart", "cart-canary", 100, 4), MakeSeries("cart", "cart-primary", 900, 0),
                   MakeSeries("checkout", "v0", 0, 0), MakeSeries("checkout", "v1", 80, 0),
                   MakeSeries("checkout", "v2", 20, 2)}};
    auto& series = datapath_.figures.series;
    series[2].in_force = false;
    series[2].http = false;
    series[3].udp_datagrams_sent = 7;
    series[3].udp_bytes_sent = 700;
    series[4].http_no_response = 3;
    Observe(series[4].http_responses[101], 1, 1);
    Observe(series[4].http_responses[103], 1, 5);
  }
  std::string Text(const FigureOptions& options, ExpositionFormat format = ExpositionFormat::kText) {
    FigureMetrics figures(datapath_, book_, metrics_, options);
    return MetricsText({}, {&figures}, format);
  }

  datapath::FakeDatapath datapath_;
  stream::SplitBook book_;
  AgentMetrics metrics_{"node-1", datapath_};
};

TEST_F(FigureMetricsTest, Text) { ExpectFile("weir.txt", Text({})); }
TEST_F(FigureMetricsTest, OpenMetrics) {
  ExpectFile("weir.openmetrics", Text({}, ExpositionFormat::kOpenMetrics));
}
TEST_F(FigureMetricsTest, Istio) {
  ExpectFile("istio.openmetrics", Text({.view = View::kIstio}, ExpositionFormat::kOpenMetrics));
}

TEST_F(FigureMetricsTest, BothAreOneAfterTheOther) {
  const std::string text = Text({.view = View::kBoth, .reporter = Reporter::kSource});
  EXPECT_NE(text.find("\nweir_connections_opened_total{"), std::string::npos);
  EXPECT_NE(text.find("\nistio_requests_total{reporter=\"source\","), std::string::npos);
  EXPECT_EQ(text.find("reporter=\"destination\""), std::string::npos);
}

TEST_F(FigureMetricsTest, ExactBuckets) {
  const std::string text = Text({.buckets = HttpBuckets::kExact});
  EXPECT_NE(text.find("code=\"200\",le=\"0.001953125\"} 0\n"), std::string::npos) << text;
  EXPECT_NE(text.find("code=\"200\",le=\"0.00390625\"} 80\n"), std::string::npos);
}

TEST_F(FigureMetricsTest, ASplitForOneNamespaceIsToldFromThatForAll) {
  datapath::Frontend own = MakeSplit("checkout", 2);
  own.key.consumers = 7;
  own.consumer_ns = "lab";
  book_.Applied({.upserts = {own}});
  datapath_.counts.push_back({own.key, {{"v1", 1, 3}, {"v2", 1, 4}}});
  const std::string text = Text({});
  EXPECT_NE(text.find(R"(protocol="tcp",consumer_namespace="lab"} 3)"), std::string::npos) << text;
  EXPECT_NE(text.find(R"(protocol="tcp",consumer_namespace=""} 8)"), std::string::npos) << text;
}

TEST_F(FigureMetricsTest, WhatIsBeyondTheBoundIsSaid) {
  const std::string text = Text({.max_series = 3});
  EXPECT_NE(text.find("\nweir_agent_series 3\n"), std::string::npos) << text;
  // 5 revisions and 8 status codes, 4 variants of splits: 3 and 3 are shown.
  EXPECT_NE(text.find("\nweir_agent_series_dropped 11\n"), std::string::npos) << text;
}

TEST_F(FigureMetricsTest, WithoutARoleIstiosNamesAreNotKnown) {
  book_.Applied({.full = true});
  const std::string text = Text({.view = View::kBoth});
  EXPECT_EQ(text.find("istio_"), std::string::npos);
  EXPECT_NE(text.find("variant=\"none\"} 10\n"), std::string::npos);
  EXPECT_EQ(text.find("weir_split_"), std::string::npos);
}

TEST_F(FigureMetricsTest, IstiosNameOutlivesTheSplit) {
  FigureMetrics figures(datapath_, book_, metrics_, {.view = View::kIstio});
  const std::string before = MetricsText({}, {&figures});
  book_.Applied({.full = true});
  datapath_.counts.clear();
  const std::string after = MetricsText({}, {&figures});
  const auto requests = [](const std::string& text) {
    const size_t begin = text.find("istio_requests_total{");
    return text.substr(begin, text.find("# HELP istio_request_duration") - begin);
  };
  EXPECT_FALSE(requests(before).empty());
  EXPECT_EQ(requests(before), requests(after));
}

TEST_F(FigureMetricsTest, UnreadableFiguresAreLeftOutAndCounted) {
  datapath_.read_error = Error(absl::StatusCode::kInternal, "map gone");
  EXPECT_EQ(Text({}), "");
  EXPECT_NE(MetricsText({&metrics_}).find("\nweir_agent_figures_errors_total 1\n"), std::string::npos);
}

}  // namespace
}  // namespace weir::metrics
