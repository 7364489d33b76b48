#include "tests/kernel/harness/fixture.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace weir::kernel_test {

void NodeTest::Prepare() {
  node_ = std::make_unique<TestNode>();
  ASSERT_OK(node_->Open());
}

void NodeTest::Dial(const SocketAddress& to, int times) {
  ASSERT_OK(node_->Run([&] { return FetchMany(to, times); }));
}

void ExpectOneFrontendAndNoLeaks(datapath::KernelDatapath& datapath) {
  const auto stats = datapath.ReadStats();
  ASSERT_OK(stats);
  EXPECT_EQ(stats->frontends, 1U);
  for (const auto& fill : stats->fill) EXPECT_LE(fill.used, 2U) << fill.map;
}

std::string ShowIds(const std::string& ids) {
  std::string out;
  for (const char id : ids.substr(0, 200)) out += std::to_string(static_cast<uint8_t>(id)) + " ";
  return out;
}

testing::AssertionResult IsExact(const std::vector<uint64_t>& counts, const std::vector<uint32_t>& weights) {
  const int64_t n = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  const int64_t total = std::accumulate(weights.begin(), weights.end(), int64_t{0});
  for (size_t v = 0; v < weights.size(); ++v) {
    // |count - n w / W| < 1, in integers
    const int64_t deviation = static_cast<int64_t>(counts[v]) * total - n * weights[v];
    if (std::abs(deviation) >= total)
      return testing::AssertionFailure() << "after " << n << " connections variant " << v << " of weight "
                                         << weights[v] << "/" << total << " has " << counts[v] << ": off by "
                                         << static_cast<double>(deviation) / static_cast<double>(total);
  }
  return testing::AssertionSuccess();
}

testing::AssertionResult IsExactAtEveryPrefix(const std::string& ids, const std::vector<uint32_t>& weights,
                                              const std::vector<int>& variant_of) {
  std::vector<uint64_t> counts(weights.size());
  for (const char id : ids) {
    ++counts.at(variant_of.at(static_cast<uint8_t>(id)));
    if (auto exact = IsExact(counts, weights); !exact) return exact << "; first ids: " << ShowIds(ids);
  }
  return testing::AssertionSuccess();
}

}  // namespace weir::kernel_test
