#include "agent/stream/telemetry.h"

#include <gtest/gtest.h>

namespace weir::stream {
namespace {

using namespace std::chrono_literals;

std::vector<datapath::SplitCount> Counts(uint64_t stable, uint64_t canary, uint32_t weight = 20) {
  return {{{{*IpAddress::Parse("127.96.0.1"), 80}, Protocol::kTcp},
           {{"v1", 80, stable}, {"v2", weight, canary}}}};
}

TEST(TelemetryPacer, SendsWhileCountsChangeAndSeldomOtherwise) {
  FakeClock clock;
  TelemetryPacer pacer(15s);
  const auto ask = [&](const std::vector<datapath::SplitCount>& counts) {
    const bool send = pacer.ShouldSend(counts, clock.Now());
    clock.Advance(1s);
    return send;
  };
  EXPECT_TRUE(ask(Counts(0, 0)));  // the first
  EXPECT_FALSE(ask(Counts(0, 0)));
  EXPECT_TRUE(ask(Counts(1, 0)));
  EXPECT_TRUE(ask(Counts(1, 1)));
  EXPECT_TRUE(ask(Counts(0, 0, 50)));  // new weights
  int sent = 0;
  for (int second = 1; second <= 30; ++second) sent += ask(Counts(0, 0, 50)) ? 1 : 0;
  EXPECT_EQ(sent, 2);
  EXPECT_TRUE(ask({}));
}

TEST(TelemetryPacer, ANewStreamIsToldAtOnce) {
  FakeClock clock;
  TelemetryPacer pacer(15s);
  EXPECT_TRUE(pacer.ShouldSend(Counts(5, 5), clock.Now()));
  EXPECT_FALSE(pacer.ShouldSend(Counts(5, 5), clock.Now()));
  pacer.Reset();
  EXPECT_TRUE(pacer.ShouldSend(Counts(5, 5), clock.Now()));
}

}  // namespace
}  // namespace weir::stream
