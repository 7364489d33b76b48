#include "common/clock.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

using namespace std::chrono_literals;

TEST(FakeClock, MovesOnlyWhenTold) {
  FakeClock clock;
  const auto now = clock.Now();
  const auto wall = clock.WallNow();
  EXPECT_EQ(clock.Now(), now);
  clock.Advance(1500ms);
  EXPECT_EQ(clock.Now() - now, 1500ms);
  EXPECT_EQ(clock.WallNow() - wall, 1500ms);
}

TEST(FakeClock, TheWallClockMayBeSetBack) {
  FakeClock clock;
  const auto now = clock.Now();
  clock.SetWall(WallTime(5s));
  EXPECT_EQ(clock.WallNow(), WallTime(5s));
  EXPECT_EQ(clock.Now(), now);
}

TEST(SystemClock, IntervalsDoNotGoBack) {
  const SystemClock clock;
  const auto first = clock.Now();
  EXPECT_GE(clock.Now(), first);
  EXPECT_GT(clock.WallNow(), WallTime(std::chrono::hours(24 * 365 * 50)));  // after 2019
}

}  // namespace
}  // namespace weir
