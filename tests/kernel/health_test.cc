// Passive health in the kernel: an endpoint that refuses is left out, for a time that grows, and what remains
// is divided exactly. The clock is the test's; judged by what the servers counted.
#include "agent/guard/guard.h"
#include "tests/kernel/harness/fixture.h"

namespace weir::kernel_test {
namespace {

using std::chrono::seconds;

class HealthTest : public NodeTest {
 protected:
  void Prepare() override {
    ASSERT_NO_FATAL_FAILURE(NodeTest::Prepare());
    // Server ids: 0 and 1 are stable's, 2 and 3 the canary's.
    for (int i = 0; i < 4; ++i) servers_.AddTcp(At(i), i);
    guard_.emplace(node_->datapath(), clock_);
    Frontend frontend = MakeFrontend(vip_, {80, 20}, {{At(0), At(1)}, {At(2), At(3)}});
    frontend.health = datapath::PassiveHealth{.consecutive_failures = 3};
    ASSERT_OK(guard_->Apply({.generation = 1, .upserts = {frontend}}));
  }
  static SocketAddress At(int id) { return Endpoint(id / 2, id % 2); }

  /// Connects one after the other, and how many failed; the guard looks after each.
  int Try(int times) {
    int failed = 0;
    for (int i = 0; i < times; ++i) {
      failed += node_->Run([&] { return FetchMany(vip_, 1); }).ok() ? 0 : 1;
      guard_->Poll();
    }
    return failed;
  }
  void Pass(std::chrono::milliseconds time) {
    clock_.Advance(time);
    guard_->Poll();
  }

  const SocketAddress vip_ = Address("127.96.0.1", 80);
  FakeClock clock_;
  std::optional<guard::Guard> guard_;
};

TEST_F(HealthTest, TheRestIsDividedExactlyAndTheCursorGoesOn) {
  EXPECT_EQ(Try(7), 0);
  servers_.Remove(At(1));
  // Ids in the order of the connections, failed ones as their endpoint would have said: the split goes on
  // through all of it.
  EXPECT_EQ(Try(10), 3) << "three in a row, then it is left out";
  ASSERT_EQ(guard_->health().left_out().size(), 1U);
  servers_.Forget();
  EXPECT_EQ(Try(83), 0);
  const std::string ids = servers_.Log();
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 1), 0);
  // The cursor stood at 17 of 100 when the count began.
  EXPECT_EQ(servers_.Count(0), 83U - servers_.Count(2) - servers_.Count(3));
  EXPECT_NEAR(static_cast<double>(servers_.Count(2) + servers_.Count(3)), 83 * 0.2, 1.999)
      << "both ends of the stretch are off by less than one";
  EXPECT_LE(std::abs(static_cast<int>(servers_.Count(2)) - static_cast<int>(servers_.Count(3))), 1);
}

TEST_F(HealthTest, TheTimeGrowsAndASuccessEndsIt) {
  servers_.Remove(At(1));
  EXPECT_EQ(Try(12), 3);
  for (const int out : {1, 2, 4}) {
    Pass(seconds(out) - std::chrono::milliseconds(1));
    EXPECT_EQ(Try(6), 0) << out;
    Pass(std::chrono::milliseconds(1));
    EXPECT_EQ(Try(6), 1) << "tried once after " << out << " s, which is enough";
  }
  servers_.AddTcp(At(1), 1);
  Pass(seconds(8));
  servers_.Forget();
  EXPECT_EQ(Try(10), 0);
  EXPECT_EQ(servers_.Count(0), servers_.Count(1)) << "whole again";
  servers_.Remove(At(1));
  EXPECT_EQ(Try(12), 3) << "as at first";
  Pass(seconds(1));
  EXPECT_TRUE(guard_->health().left_out().empty()) << "for as long as at first";
}

TEST_F(HealthTest, NeverTheLastOneSoThatNoWeightMoves) {
  servers_.Remove(At(2));
  servers_.Remove(At(3));
  Try(100);
  EXPECT_EQ(guard_->health().left_out().size(), 1U);
  servers_.Forget();
  EXPECT_EQ(Try(50), 10) << "the canary's share, which nobody else is given";
  EXPECT_EQ(servers_.Count(0), 20U);
  EXPECT_EQ(servers_.Count(1), 20U);
}

}  // namespace
}  // namespace weir::kernel_test
