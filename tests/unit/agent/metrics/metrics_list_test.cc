// What the agent exports is what the list says, with types and labels, in both directions: rules, alerts and
// dashboard are checked against the list.
#include "tests/integration/metrics_list.h"

#include <gtest/gtest.h>

#include "agent/datapath/fake_datapath.h"
#include "agent/datapath/fake_ending.h"
#include "agent/metrics/agent_metrics.h"
#include "agent/metrics/consumer_metrics.h"
#include "agent/metrics/ending_metrics.h"
#include "agent/metrics/figure_metrics.h"
#include "agent/metrics/guard_metrics.h"
#include "common/metrics.h"
#include "tests/unit/agent/metrics/figures_builder.h"

namespace weir::metrics {
namespace {

TEST(MetricsList, IsWhatTheAgentExports) {
  datapath::FakeDatapath datapath;
  stream::SplitBook book;
  const datapath::Frontend split = MakeSplit("checkout", 1);
  book.Applied({.upserts = {split}});
  datapath.figures.series = {MakeSeries("checkout", "v1", 100, 0), MakeSeries("checkout", "v2", 100, 5)};
  datapath.figures.series[0].udp_datagrams_sent = 1;
  datapath.counters = {{"selected", 1, false}, {"series_full", 0, true}};
  datapath.counts = {{split.key, {{"v1", 80, 8}, {"v2", 20, 2}}}};
  AgentMetrics agent("node-1", datapath);
  agent.Reconnecting(stream::reason::kClosed);
  FigureMetrics figures(datapath, book, agent, {});
  // A canary that tripped, and an endpoint that fails.
  FakeClock clock;
  guard::Guard guard(datapath, clock, [] { return std::chrono::seconds(1); });
  datapath::Frontend exposed = split;
  exposed.variants[0].endpoints = {{split.key.address.address, 1}, {split.key.address.address, 2}};
  exposed.fail_safe = {.stable = exposed.variants[0].revision, .trip_after = 1};
  exposed.health = {.consecutive_failures = 1};
  ASSERT_TRUE(guard.Apply({.generation = 1, .upserts = {exposed}}).ok());
  const SocketAddress dead = exposed.variants[0].endpoints[1];
  datapath.tripped.insert(split.key);
  datapath.failures[{split.key, dead}] = {.key = split.key, .endpoint = dead, .in_row = 1};
  guard.Poll();
  GuardMetrics safety(guard);
  datapath::FakeEnding kernel;
  boost::asio::io_context context;
  ending::Orders orders(context, clock, datapath, kernel);
  v1::EndOrders some;
  some.add_orders()->set_id("a");
  orders.OnEndOrders(some);
  kernel.FinishSweep();
  context.run();
  EndingMetrics ending(orders);
  consumers::Consumers pods(context, datapath, "/nowhere");
  ConsumerMetrics consumers(pods);
  EXPECT_EQ(ExposedMetrics(MetricsText({&agent, &safety, &ending, &consumers}, {&figures})),
            ListedMetrics(WEIR_METRICS_LIST, "agent"));
}

}  // namespace
}  // namespace weir::metrics
