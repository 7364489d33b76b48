// The fixture of every kernel test: skips, with the reason, where kernel tests cannot run.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/kernel/harness/client.h"
#include "tests/kernel/harness/node.h"
#include "tests/kernel/harness/sandbox.h"
#include "tests/kernel/harness/servers.h"
#include "tests/kernel/harness/sockets.h"

namespace weir::kernel_test {

using datapath::Frontend;
using datapath::FrontendKey;
using datapath::OnEmpty;

class KernelTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!TheSandbox().skip_reason.empty()) GTEST_SKIP() << TheSandbox().skip_reason;
  }
};

#define ASSERT_OK(expression)                                                  \
  do {                                                                         \
    const auto weir_test_status_ = ::weir::kernel_test::ToStatus(expression);  \
    ASSERT_TRUE(weir_test_status_.ok()) << ::weir::Message(weir_test_status_); \
  } while (false)
#define EXPECT_OK(expression)                                                  \
  do {                                                                         \
    const auto weir_test_status_ = ::weir::kernel_test::ToStatus(expression);  \
    EXPECT_TRUE(weir_test_status_.ok()) << ::weir::Message(weir_test_status_); \
  } while (false)

inline Status ToStatus(const Status& status) { return status; }
template <typename T>
Status ToStatus(const Result<T>& result) {
  return result.status();
}

/// How the ids of a sequence, as bytes, are shown in a failure: "0 1 0 0".
std::string ShowIds(const std::string& ids);

/// Checks after every prefix of the ids that each variant's count is less than 1 away from its share.
/// `variant_of` tells the variant by endpoint id.
testing::AssertionResult IsExactAtEveryPrefix(const std::string& ids, const std::vector<uint32_t>& weights,
                                              const std::vector<int>& variant_of);

/// The same for final counts alone.
testing::AssertionResult IsExact(const std::vector<uint64_t>& counts, const std::vector<uint32_t>& weights);

}  // namespace weir::kernel_test
