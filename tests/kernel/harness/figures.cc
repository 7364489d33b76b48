#include "tests/kernel/harness/figures.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace weir::kernel_test {
namespace {

std::optional<datapath::Series> Find(TestNode& node, const std::string& service,
                                     const std::string& revision) {
  const auto figures = node.datapath().ReadFigures();
  EXPECT_TRUE(figures.ok()) << Message(figures.status());
  if (!figures.ok()) return std::nullopt;
  for (const datapath::Series& series : figures->series) {
    if (series.ns == "shop" && series.service == service && series.revision == revision) return series;
  }
  return std::nullopt;
}

}  // namespace

datapath::Frontend Named(datapath::Frontend frontend, const std::string& service) {
  frontend.ns = "shop";
  frontend.service = service;
  return frontend;
}

datapath::Series ReadSeries(TestNode& node, const std::string& service, const std::string& revision) {
  auto found = Find(node, service, revision);
  if (found) return *std::move(found);
  ADD_FAILURE() << "no series of " << service << " " << revision;
  return {};
}

bool HasSeries(TestNode& node, const std::string& service, const std::string& revision) {
  return Find(node, service, revision).has_value();
}

uint64_t Failed(const datapath::Series& series, const std::string& reason) {
  for (const auto& failure : series.failed) {
    if (failure.reason == reason) return failure.count;
  }
  ADD_FAILURE() << "no reason is called " << reason;
  return 0;
}

uint64_t Failed(const datapath::Series& series) {
  uint64_t sum = 0;
  for (const auto& failure : series.failed) sum += failure.count;
  return sum;
}

}  // namespace weir::kernel_test
