// What the agent exports is what the list says, with types and labels, in both directions: rules, alerts and
// dashboard are checked against the list.
#include "tests/integration/metrics_list.h"

#include <gtest/gtest.h>

#include "agent/datapath/fake_datapath.h"
#include "agent/datapath/fake_ending.h"
#include "agent/metrics/agent_metrics.h"
#include "agent/metrics/ending_metrics.h"
#include "agent/metrics/figure_metrics.h"
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
  datapath::FakeEnding kernel;
  boost::asio::io_context context;
  ending::Orders orders(context, datapath, kernel);
  v1::EndOrders some;
  some.add_orders()->set_id("a");
  orders.OnEndOrders(some);
  kernel.FinishSweep();
  context.run();
  const EndingMetrics ending(orders);
  EXPECT_EQ(ExposedMetrics(MetricsText({&agent, &ending}, {&figures})),
            ListedMetrics(WEIR_METRICS_LIST, "agent"));
}

}  // namespace
}  // namespace weir::metrics
