#include "controller/app/observed.h"

#include <gtest/gtest.h>

namespace weir::app {
namespace {

using Weights = std::vector<std::pair<std::string, uint32_t>>;
using Counts = std::map<std::string, uint64_t>;

v1::Frontend Frontend(uint32_t port, const Weights& weights) {
  v1::Frontend frontend;
  frontend.mutable_key()->set_address(std::string("\x7f\x60\x00\x01", 4));
  frontend.mutable_key()->set_port(port);
  frontend.mutable_key()->set_protocol(v1::PROTOCOL_TCP);
  for (const auto& [revision, weight] : weights) {
    frontend.add_variants()->set_revision(revision);
    frontend.mutable_variants()->rbegin()->set_weight(weight);
  }
  return frontend;
}

void AddSplit(v1::Telemetry& telemetry, const v1::Frontend& frontend,
              const std::vector<uint64_t>& connections) {
  v1::SplitCount& split = *telemetry.add_splits();
  *split.mutable_key() = frontend.key();
  for (int i = 0; i < frontend.variants_size(); ++i) {
    v1::VariantCount& count = *split.add_variants();
    count.set_revision(frontend.variants(i).revision());
    count.set_weight(frontend.variants(i).weight());
    count.set_connections(connections[static_cast<size_t>(i)]);
  }
}

v1::Telemetry Message(const v1::Frontend& frontend, const std::vector<uint64_t>& connections) {
  v1::Telemetry telemetry;
  telemetry.set_epoch("one");
  AddSplit(telemetry, frontend, connections);
  return telemetry;
}

const v1::Frontend kTwenty = Frontend(80, {{"v1", 80}, {"v2", 20}});
const v1::Frontend kFifty = Frontend(80, {{"v1", 50}, {"v2", 50}});

TEST(ObservedTest, NodesAddUpAndANewReportReplacesTheOneBefore) {
  Observed observed;
  EXPECT_EQ(observed.Sum(kTwenty), Counts());
  observed.Report("a", Message(kTwenty, {8, 2}));
  observed.Report("b", Message(kTwenty, {4, 1}));
  EXPECT_EQ(observed.Sum(kTwenty), (Counts{{"v1", 12}, {"v2", 3}}));
  observed.Report("a", Message(kTwenty, {16, 4}));
  EXPECT_EQ(observed.Sum(kTwenty), (Counts{{"v1", 20}, {"v2", 5}}));
  EXPECT_EQ(observed.Of(kTwenty).size(), 2);
}

TEST(ObservedTest, CountsOfOtherWeightsSayNothing) {
  Observed observed;
  observed.Report("a", Message(kTwenty, {8, 2}));
  observed.Report("b", Message(kFifty, {3, 3}));
  EXPECT_EQ(observed.Sum(kFifty), (Counts{{"v1", 3}, {"v2", 3}}));
  EXPECT_EQ(observed.Of(kFifty).count("a"), 0);
  observed.Report("a", Message(kFifty, {1, 0}));
  EXPECT_EQ(observed.Sum(kTwenty), Counts());
  EXPECT_EQ(observed.Sum(kFifty), (Counts{{"v1", 4}, {"v2", 3}}));
}

TEST(ObservedTest, TheOrderOfVariantsDoesNotMatter) {
  Observed observed;
  observed.Report("a", Message(Frontend(80, {{"v2", 20}, {"v1", 80}}), {2, 8}));
  EXPECT_EQ(observed.Sum(kTwenty), (Counts{{"v1", 8}, {"v2", 2}}));
  // Not the same: weights that trade places.
  EXPECT_EQ(observed.Sum(Frontend(80, {{"v1", 20}, {"v2", 80}})), Counts());
}

TEST(ObservedTest, WhatIsNotReportedAnyMoreIsGone) {
  Observed observed;
  const v1::Frontend other = Frontend(81, {{"v1", 1}});
  v1::Telemetry both = Message(kTwenty, {8, 2});
  AddSplit(both, other, {5});
  observed.Report("a", both);
  EXPECT_EQ(observed.Sum(other), (Counts{{"v1", 5}}));
  observed.Report("a", Message(kTwenty, {8, 2}));
  EXPECT_EQ(observed.Sum(other), Counts());
  observed.Forget("a");
  observed.Forget("never seen");
  EXPECT_EQ(observed.Sum(kTwenty), Counts());
  EXPECT_TRUE(observed.Of(kTwenty).empty());
}

TEST(ObservedTest, AMessageThatSaysNothingOfTheSplitsChangesNothing) {
  Observed observed;
  observed.Report("a", Message(kTwenty, {8, 2}));
  v1::Telemetry series_only;
  series_only.set_series_epoch("one");
  observed.Report("a", series_only);
  EXPECT_EQ(observed.Sum(kTwenty), (Counts{{"v1", 8}, {"v2", 2}}));
}

}  // namespace
}  // namespace weir::app
