// What the kernel counted of connections, against what their two ends know.
#include "tests/kernel/harness/figures.h"

#include <poll.h>

#include <cerrno>
#include <iostream>
#include <random>

#include "tests/kernel/harness/fixture.h"

namespace weir::kernel_test {
namespace {

using datapath::Series;

class FiguresTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) return;
    node_ = std::make_unique<TestNode>();
    ASSERT_OK(node_->Open());
    for (int v = 0; v < 3; ++v) servers_.AddTcp(Endpoint(v), v);
    ASSERT_OK(node_->Apply(Split(20)));
  }

  static SocketAddress Endpoint(int variant) { return Address(fmt::format("127.1.{}.1", variant), 8080); }
  Frontend Split(uint32_t canary) {
    return Named(MakeFrontend(vip_, {100 - canary, canary}, {{Endpoint(0)}, {Endpoint(1)}}));
  }
  Series Read(const std::string& revision) { return ReadSeries(*node_, "checkout", revision); }

  const SocketAddress vip_ = Address("127.96.0.1", 80);
  Servers servers_;
  std::unique_ptr<TestNode> node_;
};

TEST_F(FiguresTest, ShortConnectionsAreOpenedAndClosed) {
  ASSERT_OK(node_->Run([&] { return FetchMany(vip_, 100); }));
  const Series stable = Read("v0");
  const Series canary = Read("v1");
  EXPECT_EQ(stable.opened, 80U);
  EXPECT_EQ(stable.closed, 80U);
  EXPECT_EQ(canary.opened, 20U);
  EXPECT_EQ(canary.closed, 20U);
  EXPECT_EQ(stable.connect.count(), 80U);
  EXPECT_EQ(stable.bytes_received, 80U) << "each server sends its id";
  EXPECT_EQ(stable.bytes_sent, 0U);
  EXPECT_TRUE(stable.in_force);
  for (const auto& failure : stable.failed) EXPECT_EQ(failure.count, 0U) << failure.reason;
}

}  // namespace
}  // namespace weir::kernel_test
