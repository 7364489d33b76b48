#include "agent/metrics/agent_metrics.h"

#include <gtest/gtest.h>

#include "agent/datapath/fake_datapath.h"
#include "common/metrics.h"

namespace weir::metrics {
namespace {

using namespace std::chrono_literals;

class AgentMetricsTest : public testing::Test {
 protected:
  /// Fails when a line is not there, whole.
  void ExpectLines(std::initializer_list<std::string> lines) {
    const std::string text = "\n" + MetricsText({&metrics_});
    for (const std::string& line : lines) {
      EXPECT_NE(text.find("\n" + line + "\n"), std::string::npos) << line << " is missing in\n" << text;
    }
  }

  datapath::FakeDatapath datapath_;
  AgentMetrics metrics_{"node-1", datapath_};
};

TEST_F(AgentMetricsTest, AllIsThereFromTheStart) {
  ExpectLines({"weir_agent_info{node=\"node-1\",version=\"" WEIR_VERSION "\"} 1", "weir_agent_frontends 0",
               "weir_agent_generation 0", "weir_agent_connected 0", "weir_agent_nacks_total 0",
               "weir_agent_reconnects_total{reason=\"connect\"} 0",
               "weir_agent_reconnects_total{reason=\"resync\"} 0",
               "weir_agent_apply_duration_seconds_count 0", "# TYPE weir_agent_reconnects_total counter",
               "# TYPE weir_agent_generation gauge", "# TYPE weir_agent_apply_duration_seconds histogram"});
}

TEST_F(AgentMetricsTest, WhatTheDatapathSays) {
  ASSERT_TRUE(datapath_.Apply({.generation = 17, .upserts = {datapath::Frontend{}}}).ok());
  datapath_.counters = {{"selected", 12, false}, {"set_retval", 3, true}};
  ExpectLines({"weir_agent_frontends 1", "weir_agent_generation 17",
               "weir_agent_map_used{map=\"weir_services\"} 1",
               "weir_agent_map_capacity{map=\"weir_services\"} 1000",
               "weir_agent_datapath_events_total{event=\"selected\"} 12",
               "weir_agent_helper_errors_total{helper=\"set_retval\"} 3"});
}

TEST_F(AgentMetricsTest, WhatTheStreamSays) {
  metrics_.Connected(true);
  metrics_.Reconnecting(stream::reason::kSilence);
  metrics_.Reconnecting(stream::reason::kSilence);
  metrics_.Nacked();
  metrics_.Applied(3ms, OkStatus());
  metrics_.Applied(1s, InvalidArgument("bad"));  // not in force: not in the histogram
  ExpectLines({"weir_agent_connected 1", "weir_agent_reconnects_total{reason=\"silence\"} 2",
               "weir_agent_nacks_total 1", "weir_agent_apply_duration_seconds_count 1",
               "weir_agent_apply_duration_seconds_bucket{le=\"0.0025\"} 0",
               "weir_agent_apply_duration_seconds_bucket{le=\"0.005\"} 1"});
}

TEST_F(AgentMetricsTest, FiguresThatCannotBeReadAreLeftOutAndCounted) {
  datapath_.read_error = Error(absl::StatusCode::kInternal, "map gone");
  ExpectLines({"weir_agent_stats_errors_total 1", "weir_agent_connected 0"});
  EXPECT_EQ(MetricsText({&metrics_}).find("weir_agent_generation"), std::string::npos);
}

}  // namespace
}  // namespace weir::metrics
