#include "common/backoff.h"

#include <gtest/gtest.h>

#include <set>

namespace weir {
namespace {

using std::chrono::milliseconds;
constexpr double kAlmostOne = 1.0 - 1e-9;

TEST(Backoff, BoundDoublesUpToTheMaximum) {
  Backoff backoff({.initial = milliseconds(100), .max = milliseconds(1000), .factor = 2},
                  [] { return kAlmostOne; });
  for (const int bound : {100, 200, 400, 800, 1000, 1000, 1000}) EXPECT_EQ(backoff.Next().count(), bound - 1);
  EXPECT_EQ(backoff.attempts(), 7);
}

TEST(Backoff, ResetStartsOver) {
  Backoff backoff({}, [] { return 0.5; });
  backoff.Next();
  backoff.Next();
  backoff.Reset();
  EXPECT_EQ(backoff.attempts(), 0);
  EXPECT_EQ(backoff.Next(), milliseconds(50));
}

TEST(Backoff, JitterIsFull) {
  double random = 0;
  Backoff backoff({.initial = milliseconds(1000), .max = milliseconds(1000)}, [&] { return random; });
  EXPECT_EQ(backoff.Next(), milliseconds(0));
  random = 0.25;
  EXPECT_EQ(backoff.Next(), milliseconds(250));
}

TEST(Backoff, InitialAboveMaximumIsCut) {
  Backoff backoff({.initial = milliseconds(500), .max = milliseconds(10)}, [] { return kAlmostOne; });
  EXPECT_EQ(backoff.Next().count(), 9);
}

TEST(SystemRandom, StaysInRangeAndVaries) {
  const RandomSource random = SystemRandom();
  std::set<double> seen;
  for (int i = 0; i < 100; ++i) {
    const double value = random();
    EXPECT_GE(value, 0.0);
    EXPECT_LT(value, 1.0);
    seen.insert(value);
  }
  EXPECT_GT(seen.size(), 90u);
}

}  // namespace
}  // namespace weir
