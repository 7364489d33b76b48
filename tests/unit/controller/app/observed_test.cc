#include "controller/app/observed.h"

#include <gtest/gtest.h>

namespace weir::app {
namespace {

using Counts = std::map<std::string, uint64_t>;

struct Count {
  const char* revision;
  uint32_t weight;
  uint64_t connections;
};

v1::Frontend MakeFrontend(uint32_t port, const std::map<std::string, uint32_t>& weights) {
  v1::Frontend frontend;
  frontend.mutable_key()->set_address(std::string("\x7f\x60\x00\x01", 4));
  frontend.mutable_key()->set_port(port);
  frontend.mutable_key()->set_protocol(v1::PROTOCOL_TCP);
  for (const auto& [revision, weight] : weights) {
    v1::Variant& variant = *frontend.add_variants();
    variant.set_revision(revision);
    variant.set_weight(weight);
  }
  return frontend;
}

void AddSplit(const v1::Frontend& frontend, const std::vector<Count>& counts, v1::Telemetry& telemetry) {
  v1::SplitCount& split = *telemetry.add_splits();
  *split.mutable_key() = frontend.key();
  for (const auto& [revision, weight, connections] : counts) {
    v1::VariantCount& count = *split.add_variants();
    count.set_revision(revision);
    count.set_weight(weight);
    count.set_connections(connections);
  }
}

v1::Telemetry Report(const v1::Frontend& frontend, const std::vector<Count>& counts) {
  v1::Telemetry telemetry;
  AddSplit(frontend, counts, telemetry);
  return telemetry;
}

const v1::Frontend kSplit = MakeFrontend(80, {{"v1", 80}, {"v2", 20}});

TEST(ObservedTest, AddsNodesUp) {
  Observed observed;
  observed.Report("a", Report(kSplit, {{"v1", 80, 8}, {"v2", 20, 2}}));
  observed.Report("b", Report(kSplit, {{"v2", 20, 1}, {"v1", 80, 4}}));
  EXPECT_EQ(observed.Sum(kSplit), (Counts{{"v1", 12}, {"v2", 3}}));
  const auto nodes = observed.Of(kSplit);
  ASSERT_EQ(nodes.size(), 2u);
  EXPECT_EQ(nodes.at("a")->at(0).connections(), 8u);
}

TEST(ObservedTest, TheNewestReportReplacesTheOneBefore) {
  Observed observed;
  observed.Report("a", Report(kSplit, {{"v1", 80, 8}, {"v2", 20, 2}}));
  observed.Report("a", Report(kSplit, {{"v1", 80, 16}, {"v2", 20, 4}}));
  EXPECT_EQ(observed.Sum(kSplit), (Counts{{"v1", 16}, {"v2", 4}}));
  observed.Report("a", {});
  EXPECT_TRUE(observed.Sum(kSplit).empty());
}

TEST(ObservedTest, CountsOfOtherWeightsAreLeftOut) {
  const std::vector<Count> others[] = {
      {{"v1", 50, 8}, {"v2", 50, 8}},                // of the step before
      {{"v1", 80, 8}},                               // of one variant
      {{"v1", 80, 8}, {"v2", 20, 2}, {"v3", 0, 0}},  // of one more
      {{"v1", 80, 8}, {"v3", 20, 2}},                // of another revision
  };
  for (const auto& counts : others) {
    Observed observed;
    observed.Report("a", Report(kSplit, {{"v1", 80, 4}, {"v2", 20, 1}}));
    observed.Report("b", Report(kSplit, counts));
    EXPECT_EQ(observed.Sum(kSplit), (Counts{{"v1", 4}, {"v2", 1}}));
  }
}

TEST(ObservedTest, FrontendsAreToldApart) {
  const v1::Frontend other = MakeFrontend(81, {{"v1", 80}, {"v2", 20}});
  v1::Telemetry telemetry = Report(kSplit, {{"v1", 80, 4}, {"v2", 20, 1}});
  AddSplit(other, {{"v1", 80, 40}, {"v2", 20, 10}}, telemetry);
  Observed observed;
  observed.Report("a", telemetry);
  EXPECT_EQ(observed.Sum(kSplit), (Counts{{"v1", 4}, {"v2", 1}}));
  EXPECT_EQ(observed.Sum(other), (Counts{{"v1", 40}, {"v2", 10}}));
}

TEST(ObservedTest, AForgottenNodeCountsNoMore) {
  Observed observed;
  observed.Report("a", Report(kSplit, {{"v1", 80, 8}, {"v2", 20, 2}}));
  observed.Forget("a");
  observed.Forget("never seen");
  EXPECT_TRUE(observed.Of(kSplit).empty());
}

}  // namespace
}  // namespace weir::app
