// One scrape of an agent's /metrics, figures from a FakeDatapath (whose copying is part of it): 1,000
// services of two revisions each, two thirds of whose time goes into HTTP histograms. bench_scrape [services]
// [runs]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "agent/datapath/fake_datapath.h"
#include "agent/metrics/agent_metrics.h"
#include "agent/metrics/figure_metrics.h"
#include "common/metrics.h"
#include "tests/bench/stats.h"
#include "tests/unit/agent/metrics/figures_builder.h"

namespace weir {
namespace {

datapath::Series BusySeries(const std::string& service, const std::string& revision) {
  datapath::Series series = MakeSeries(service, revision, 1'234'567, 1'234);
  for (const uint16_t code : {200, 404, 503}) {
    for (size_t bucket = 20; bucket < 80; ++bucket)
      series.http_responses[code].buckets[bucket] += 1000 + bucket;
  }
  return series;
}

std::vector<std::string> Measure(const char* name, int services, int runs,
                                 const metrics::FigureOptions& options) {
  datapath::FakeDatapath datapath;
  stream::SplitBook book;
  metrics::AgentMetrics agent("node-1", datapath);
  datapath::Change change;
  for (int i = 0; i < services; ++i) {
    const std::string service = "service-" + std::to_string(100000 + i);
    datapath::Frontend frontend = MakeSplit(service, 1);
    frontend.key.address.port = static_cast<uint16_t>(i + 1);
    datapath.counts.push_back({frontend.key, {{"v1", 80, 800}, {"v2", 20, 200}}});
    change.upserts.push_back(frontend);
    for (const char* revision : {"v1", "v2"})
      datapath.figures.series.push_back(BusySeries(service, revision));
  }
  book.Applied(change);
  metrics::FigureMetrics figures(datapath, book, agent, options);
  const HttpHandler page = MetricsHandler({&agent}, {&figures});
  std::vector<double> milliseconds;
  size_t bytes = 0, lines = 0;
  for (int run = 0; run < runs; ++run) {
    const auto start = std::chrono::steady_clock::now();
    HttpResponse response = page({.accept = "application/openmetrics-text;version=1.0.0"});
    milliseconds.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    bytes = response.body.size();
    if (run == 0) lines = static_cast<size_t>(std::count(response.body.begin(), response.body.end(), '\n'));
    response.sent(std::move(response.body));  // as the server does
  }
  const bench::Spread spread = {bench::Median(milliseconds), bench::Percentile(milliseconds, 10),
                                bench::Percentile(milliseconds, 90)};
  return {name,
          std::to_string(services),
          bench::Number(spread.median, 1),
          bench::Range(spread, 1),
          std::to_string(lines),
          bench::Number(static_cast<double>(bytes) / 1e6, 1)};
}

}  // namespace
}  // namespace weir

int main(int argc, char** argv) {
  const int services = argc > 1 ? std::atoi(argv[1]) : 1000;
  const int runs = argc > 2 ? std::atoi(argv[2]) : 51;
  if (services < 1 || services > 60000 || runs < 1) {
    std::fprintf(stderr, "bench_scrape [services 1..60000] [runs]\n");
    return 2;
  }
  using weir::metrics::View;
  weir::bench::PrintHeading("A scrape",
                            "An agent's /metrics in OpenMetrics, two revisions a service, with HTTP. " +
                                std::to_string(runs) + " runs each.");
  weir::bench::PrintTable({"view", "services", "median ms", "p10 - p90", "lines", "MB"},
                          {weir::Measure("weir", services, runs, {.view = View::kWeir}),
                           weir::Measure("both", services, runs, {.view = View::kBoth})});
  return 0;
}
