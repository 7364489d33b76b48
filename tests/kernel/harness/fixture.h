// The fixture of every kernel test: skips, with the reason, where kernel tests cannot run.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <memory>
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
    Prepare();
  }
  /// What a test needs; not called where kernel tests cannot run.
  virtual void Prepare() {}
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

/// Inside a ClientFunction: ends the client with an error that names the line when the condition does not
/// hold.
#define CLIENT_CHECK(condition)                                                                \
  do {                                                                                         \
    if (!(condition))                                                                          \
      return Error(absl::StatusCode::kInternal, "line {}: {}; errno {}", __LINE__, #condition, \
                   std::strerror(errno));                                                      \
  } while (false)

/// A node whose datapath is open, and servers.
class NodeTest : public KernelTest {
 protected:
  void Prepare() override;
  /// Connections one after the other from inside the node, each of which must be answered.
  void Dial(const SocketAddress& to, int times);

  Servers servers_;
  std::unique_ptr<TestNode> node_;
};

/// Nothing is left in the maps but one frontend.
void ExpectOneFrontendAndNoLeaks(datapath::KernelDatapath& datapath);

/// How the ids of a sequence, as bytes, are shown in a failure: "0 1 0 0".
std::string ShowIds(const std::string& ids);

/// Checks after every prefix of the ids that each variant's count is less than 1 away from its share.
/// `variant_of` tells the variant by endpoint id.
testing::AssertionResult IsExactAtEveryPrefix(const std::string& ids, const std::vector<uint32_t>& weights,
                                              const std::vector<int>& variant_of);

/// The same for final counts alone.
testing::AssertionResult IsExact(const std::vector<uint64_t>& counts, const std::vector<uint32_t>& weights);

}  // namespace weir::kernel_test
