#include "agent/metrics/series_registry.h"

#include <gtest/gtest.h>

#include "tests/unit/agent/metrics/figures_builder.h"

namespace weir::metrics {
namespace {

using datapath::Role;

class SeriesRegistryTest : public testing::Test {
 protected:
  /// "a:200,503 b:" of what is shown.
  std::string Select(SeriesRegistry& registry) {
    std::string text;
    for (const auto& shown : registry.Select(figures_, book_)) {
      text += (text.empty() ? "" : " ") + shown.series->service + ":";
      for (size_t i = 0; i < shown.responses.size(); ++i) {
        text += (i == 0 ? "" : ",") + std::to_string(shown.responses[i].first);
      }
    }
    return text;
  }
  void Set(std::vector<datapath::Series> series) { figures_.series = std::move(series); }

  datapath::Figures figures_;
  stream::SplitBook book_;
};

TEST_F(SeriesRegistryTest, WhatWasLetInStaysAndANewcomerTakesNobodysPlace) {
  SeriesRegistry registry(4);
  Set({MakeSeries("m", "v1", 100, 0), MakeSeries("n", "v1", 100, 0)});
  EXPECT_EQ(Select(registry), "m:200 n:200");
  EXPECT_EQ(registry.shown(), 4u);
  EXPECT_EQ(registry.dropped(), 0u);
  Set({MakeSeries("a", "v1", 100, 0), MakeSeries("m", "v1", 200, 1), MakeSeries("n", "v1", 100, 0)});
  EXPECT_EQ(Select(registry), "m:200 n:200");
  EXPECT_EQ(registry.shown(), 4u);
  EXPECT_EQ(registry.dropped(), 3u);                                    // a, its 200, and m's 503
  Set({MakeSeries("a", "v1", 100, 0), MakeSeries("m", "v1", 200, 1)});  // n is forgotten
  EXPECT_EQ(Select(registry), "a:200 m:200");
  EXPECT_EQ(registry.dropped(), 1u);
}

TEST_F(SeriesRegistryTest, RevisionsWithoutTrafficGiveWay) {
  SeriesRegistry registry(3);
  Set({MakeSeries("a", "v1", 0, 0), MakeSeries("b", "v1", 0, 0), MakeSeries("c", "v1", 100, 0),
       MakeSeries("d", "v1", 0, 0)});
  EXPECT_EQ(Select(registry), "a: c:200");
  EXPECT_EQ(registry.dropped(), 2u);
  figures_.series[3] = MakeSeries("d", "v1", 10, 0);
  EXPECT_EQ(Select(registry), "c:200 d:");
  EXPECT_EQ(registry.dropped(), 3u);  // a, b, d's 200
}

TEST_F(SeriesRegistryTest, StatusCodesAreBoundedPerRevision) {
  SeriesRegistry registry(10000);
  datapath::Series series = MakeSeries("a", "v1", 100, 0);
  for (uint16_t code = 201; code < 1000; ++code) series.http_responses[code].buckets[3] = 1;
  Set({series});
  EXPECT_EQ(registry.Select(figures_, book_).front().responses.size(), SeriesRegistry::kMaxCodes);
  EXPECT_EQ(registry.dropped(), 800 - SeriesRegistry::kMaxCodes);
  EXPECT_EQ(registry.shown(), 1 + SeriesRegistry::kMaxCodes);
}

TEST_F(SeriesRegistryTest, ThousandsOfServicesStayWithinTheBound) {
  SeriesRegistry registry(500);
  for (int round = 0; round < 3; ++round) {
    figures_.series.clear();
    for (int i = 0; i < 2000; ++i) {
      figures_.series.push_back(MakeSeries("s" + std::to_string(10000 * (round + 1) + i), "v1", 10, 5));
    }
    registry.Select(figures_, book_);
    EXPECT_EQ(registry.shown(), 500u);
    EXPECT_EQ(registry.dropped(), 5500u);
  }
}

TEST_F(SeriesRegistryTest, LabelsFollowTheRole) {
  SeriesRegistry registry(10);
  Set({MakeSeries("a\"b", "v2", 1, 0)});
  const auto labels = [&] { return *registry.Select(figures_, book_).front().labels; };
  const std::string rest = R"(namespace="shop",service="a\"b",revision="v2",variant=)";
  EXPECT_EQ(labels().weir, rest + "\"none\"");
  EXPECT_EQ(labels().last_role, Role::kNone);
  book_.Applied({.upserts = {MakeSplit("a\"b", 1)}});
  EXPECT_EQ(labels().weir, rest + "\"canary\"");
  book_.Applied({.full = true});
  EXPECT_EQ(labels().weir, rest + "\"none\"");
  EXPECT_EQ(labels().last_role, Role::kCanary);
}

TEST_F(SeriesRegistryTest, RolesOfBlueGreenAreLabelsOfTheirOwn) {
  for (const auto& [role, label] :
       {std::pair{Role::kActive, "active"}, {Role::kPreview, "preview"}, {Role::kPrevious, "previous"}}) {
    EXPECT_EQ(VariantLabel(role), label);
  }
}

}  // namespace
}  // namespace weir::metrics
