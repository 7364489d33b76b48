#include "controller/telemetry/cluster.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/unit/controller/telemetry/node_counts.h"

namespace weir::telemetry {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const ServiceKey kCheckout{"shop", "checkout"};
constexpr Second kEver = std::numeric_limits<Second>::max() / 2;

class ClusterTest : public ::testing::Test {
 protected:
  MonotonicTime At(double second) const {
    return BeginOf(1000) +
           std::chrono::duration_cast<MonotonicTime::duration>(std::chrono::duration<double>(second));
  }
  /// `node` reports at `second`, on a stream that began at `stream`.
  void Report(const std::string& node, NodeCounts& counts, double second, double stream = 0,
              uint64_t covers_ms = 0) {
    cluster_.Report(node, At(stream), counts.Message(covers_ms), At(second));
  }
  uint64_t Total(const std::string& revision, Counter counter = Counter::kRequests) {
    return cluster_.Totals(kCheckout)[revision].counts[counter];
  }
  /// Within [first, end), counted from the test's own begin.
  uint64_t Within(const std::string& revision, Second first, Second end,
                  Counter counter = Counter::kRequests) {
    return cluster_.Sum(kCheckout, 1000 + first, 1000 + end)[revision].counts[counter];
  }
  uint64_t Active(const std::string& revision) { return cluster_.Totals(kCheckout)[revision].active; }

  Cluster cluster_;
};

TEST_F(ClusterTest, TheFirstReportOfANodeIsWhereCountingBegins) {
  NodeCounts a("a1");
  a.Serve("v1", 1'000'000);
  a.Open("v1", 7);
  Report("a", a, 1);
  EXPECT_EQ(Total("v1"), 0);
  EXPECT_EQ(Active("v1"), 7) << "what is open is open, whoever counted it";
  a.Serve("v1", 5, 2);
  Report("a", a, 2);
  EXPECT_EQ(Total("v1"), 5);
  EXPECT_EQ(Within("v1", 2, 3), 5);
  EXPECT_EQ(Within("v1", 2, 3, Counter::kServerErrors), 2);
}

/// A report in two messages, as agents cut it: v1 in the first, all else and the splits in the second.
std::pair<v1::Telemetry, v1::Telemetry> InTwo(const v1::Telemetry& whole) {
  v1::Telemetry first = whole, second = whole;
  first.clear_epoch();
  first.clear_series();
  second.clear_series();
  for (const auto& series : whole.series()) {
    *(series.key().revision() == "v1" ? first : second).add_series() = series;
  }
  return {first, second};
}

TEST_F(ClusterTest, AFirstReportInPartsIsABaselineWhole) {
  NodeCounts a("a1");
  a.Serve("v1", 1'000'000);
  a.Serve("v2", 2'000'000);
  const auto [first, second] = InTwo(a.Message());
  cluster_.Report("a", At(0), first, At(1));
  cluster_.Report("a", At(0), second, At(1));
  EXPECT_EQ(Total("v1"), 0);
  EXPECT_EQ(Total("v2"), 0);
  a.Serve("v1", 3);
  a.Serve("v2", 4);
  a.Serve("v3", 5);
  Report("a", a, 2);
  EXPECT_EQ(Total("v1"), 3) << "the second part did not take it for forgotten";
  EXPECT_EQ(Total("v2"), 4);
  EXPECT_EQ(Total("v3"), 5) << "new after the baseline";
}

TEST_F(ClusterTest, AFirstReportThatWasCutOffIsABaselineStill) {
  NodeCounts a("a1");
  a.Serve("v1", 1'000'000);
  a.Serve("v2", 2'000'000);
  cluster_.Report("a", At(0), InTwo(a.Message()).first, At(1));
  const auto [first, second] = InTwo(a.Message());
  cluster_.Report("a", At(5), first, At(6));
  cluster_.Report("a", At(5), second, At(6));
  EXPECT_EQ(Total("v2"), 0);
  a.Serve("v2", 4);
  Report("a", a, 7, 5);
  EXPECT_EQ(Total("v2"), 4);
}

TEST_F(ClusterTest, AReconnectInPartsForgetsNothing) {
  NodeCounts a("a1");
  a.Serve("v1", 10);
  a.Serve("v2", 10);
  Report("a", a, 1);
  a.Serve("v1", 3);
  a.Serve("v2", 4);
  const auto [first, second] = InTwo(a.Message());
  cluster_.Report("a", At(5), first, At(6));
  cluster_.Report("a", At(5), second, At(6));
  EXPECT_EQ(Total("v1"), 3);
  EXPECT_EQ(Total("v2"), 4);
}

TEST_F(ClusterTest, NodesAndRevisionsAddUp) {
  NodeCounts a("a1"), b("b1");
  Report("a", a, 1.0);
  Report("b", b, 1.5);
  a.Serve("v1", 8);
  a.Serve("v2", 2);  // new since the first report: counts from 0
  b.Serve("v1", 4, 1);
  b.Open("v2", 3);
  Report("a", a, 2.0);
  Report("b", b, 2.5);
  EXPECT_EQ(Within("v1", 2, 3), 12);
  EXPECT_EQ(Within("v2", 2, 3), 2);
  EXPECT_EQ(Active("v2"), 3);
  const auto windows = cluster_.Windows(kCheckout, 0, kEver);
  ASSERT_EQ(windows.size(), 1);
  EXPECT_EQ(windows[0].second, 1002);
  EXPECT_EQ(windows[0].start, At(2));
  EXPECT_EQ(windows[0].revisions.at("v1")[Counter::kServerErrors], 1);
  EXPECT_EQ(windows[0].revisions.at("v1").latency.Count(), 12);
  EXPECT_EQ(windows[0].revisions.at("v2")[Counter::kOpened], 5);
}

TEST_F(ClusterTest, ANewEpochCountsFromZero) {
  NodeCounts a("a1");
  Report("a", a, 1);
  a.Serve("v1", 100);
  a.Open("v1", 5);
  Report("a", a, 2);
  a.Restart("a2");
  a.Serve("v1", 30);
  a.Open("v1", 1);
  Report("a", a, 3, /*stream=*/2.5);
  EXPECT_EQ(Total("v1"), 130);
  EXPECT_EQ(Within("v1", 3, 4), 30);
  EXPECT_EQ(Active("v1"), 1);
  EXPECT_EQ(cluster_.statistics().epochs, 1);
}

TEST_F(ClusterTest, TheSameEpochAfterAReconnectGoesOn) {
  NodeCounts a("a1");
  Report("a", a, 1);
  a.Serve("v1", 100);
  Report("a", a, 2);
  a.Serve("v1", 40);
  Report("a", a, 6, /*stream=*/5.5);
  EXPECT_EQ(Total("v1"), 140);
  for (Second second = 3; second <= 6; ++second) EXPECT_EQ(Within("v1", second, second + 1), 10) << second;
}

TEST_F(ClusterTest, AnHourAwayIsNoJump) {
  NodeCounts a("a1");
  Report("a", a, 1);
  a.Serve("v1", 10);
  Report("a", a, 2);
  a.Serve("v1", 17'980);  // 10 a second for 1,798 s
  Report("a", a, 1800, /*stream=*/1799.5);
  EXPECT_EQ(Total("v1"), 17'990);
  EXPECT_EQ(Within("v1", 1800, 1801), 10);
  EXPECT_EQ(Within("v1", 0, 2000), 600);
}

TEST_F(ClusterTest, AnOlderStreamIsNotHeard) {
  NodeCounts a("a1");
  Report("a", a, 1, 0);
  a.Serve("v1", 5);
  Report("a", a, 2, /*stream=*/1.5);
  NodeCounts old("a0");
  old.Serve("v1", 1000);
  Report("a", old, 3, /*stream=*/0);
  EXPECT_EQ(Total("v1"), 5);
  a.Serve("v1", 1);
  Report("a", a, 4, 1.5);
  EXPECT_EQ(Total("v1"), 6);
  EXPECT_EQ(cluster_.statistics().stale, 1);
}

TEST_F(ClusterTest, DuplicatesAndStragglersAddNothing) {
  NodeCounts a("a1");
  Report("a", a, 1);
  a.Serve("v1", 5);
  const v1::Telemetry old = a.Message();
  a.Serve("v1", 5);
  const v1::Telemetry newest = a.Message();
  for (const auto* message : {&newest, &newest, &old, &newest}) cluster_.Report("a", At(0), *message, At(2));
  EXPECT_EQ(Total("v1"), 10);
  a.Serve("v1", 1);
  Report("a", a, 3);
  EXPECT_EQ(Total("v1"), 11);
}

TEST_F(ClusterTest, ACounterThatWentBackForGoodIsCountedFromThere) {
  NodeCounts a("a1");
  Report("a", a, 1);
  a.Serve("v1", 1000);
  Report("a", a, 2);
  a.Restart("a1");  // against the contract: the same epoch
  for (int second = 3; second <= 8; ++second) {
    a.Serve("v1", 10);
    Report("a", a, second);
  }
  EXPECT_EQ(Total("v1"), 1000 + 30) << "after three reports that lay behind";
}

TEST_F(ClusterTest, CountersWrap) {
  NodeCounts a("a1");
  a.Of("v1").set_bytes_sent(std::numeric_limits<uint64_t>::max() - 99);
  Report("a", a, 1);
  a.Of("v1").set_bytes_sent(100);
  Report("a", a, 2);
  EXPECT_EQ(Total("v1", Counter::kBytesSent), 200);
}

TEST_F(ClusterTest, AForgottenRevisionThatComesBackCountsFromZero) {
  NodeCounts a("a1");
  a.Serve("v1", 50);
  Report("a", a, 1);
  a.Serve("v1", 50);
  a.Open("v1", 1);
  Report("a", a, 2);
  a.Forget("v1");
  Report("a", a, 3);
  EXPECT_EQ(Total("v1"), 50) << "it keeps what it contributed";
  EXPECT_EQ(Active("v1"), 0);
  a.Serve("v1", 60);
  Report("a", a, 4);
  EXPECT_EQ(Total("v1"), 110);
  // Gone and back between two reports.
  a.Forget("v1");
  a.Serve("v1", 70);
  Report("a", a, 5);
  EXPECT_EQ(Total("v1"), 180);
}

TEST_F(ClusterTest, WhatAStreamsFirstReportLacksWasForgottenOnTheWay) {
  NodeCounts a("a1");
  Report("a", a, 1);
  a.Serve("v1", 50);
  a.Serve("v2", 50);
  Report("a", a, 2);
  NodeCounts after("a1");
  after.Serve("v1", 55);
  Report("a", after, 3, /*stream=*/2.5);
  after.Serve("v2", 60);
  Report("a", after, 4, 2.5);
  EXPECT_EQ(Total("v1"), 55);
  EXPECT_EQ(Total("v2"), 110);
}

TEST_F(ClusterTest, UnchangedSeriesMayBeLeftOut) {
  NodeCounts a("a1");
  Report("a", a, 1);
  a.Serve("v1", 5);
  a.Open("v1", 2);
  Report("a", a, 2);
  NodeCounts partial("a1");
  partial.Serve("v2", 1);
  Report("a", partial, 3);
  EXPECT_EQ(Active("v1"), 2);
  a.Serve("v1", 5);
  Report("a", a, 4);
  EXPECT_EQ(Total("v1"), 10);
}

TEST_F(ClusterTest, ANodeThatGoesAwayKeepsWhatItContributed) {
  NodeCounts a("a1"), b("b1");
  Report("a", a, 1);
  Report("b", b, 1);
  a.Serve("v1", 5);
  a.Open("v1", 3);
  b.Serve("v1", 7);
  Report("a", a, 2);
  Report("b", b, 2);
  cluster_.Forget("a");
  EXPECT_EQ(Total("v1"), 12);
  EXPECT_EQ(Within("v1", 2, 3), 12);
  EXPECT_EQ(Active("v1"), 0);
  a.Serve("v1", 100);
  Report("a", a, 3, 2.5);
  EXPECT_EQ(Total("v1"), 12) << "a node of that name is a new one";
}

TEST_F(ClusterTest, ASilentNodesOpenConnectionsAreNotShownForever) {
  NodeCounts a("a1"), b("b1");
  a.Open("v1", 3);
  Report("a", a, 1);
  for (double second = 1; second < 80; second += 1) Report("b", b, second);
  EXPECT_EQ(Active("v1"), 0);
  a.Open("v1", 1);
  Report("a", a, 81, 80.5);
  EXPECT_EQ(Active("v1"), 4);
}

TEST_F(ClusterTest, AControllersRestartIsNoJump) {
  NodeCounts a("a1");
  Report("a", a, 1);
  a.Serve("v1", 1000);
  Report("a", a, 2);
  cluster_ = Cluster();
  a.Serve("v1", 10);
  Report("a", a, 4, 3.5);
  EXPECT_EQ(Total("v1"), 0);
  a.Serve("v1", 10);
  Report("a", a, 5, 3.5);
  EXPECT_EQ(Total("v1"), 10);
  EXPECT_EQ(cluster_.Begin(At(5)), 1005);
}

TEST_F(ClusterTest, TwoAgentsOfOneNameMakeNoJump) {
  NodeCounts a("a1"), b("b1");
  a.Serve("v1", 1000);
  Report("n", a, 1, 0);
  b.Serve("v1", 20);
  Report("n", b, 2, /*stream=*/1.5);
  EXPECT_EQ(Total("v1"), 20);
  a.Serve("v1", 5);
  Report("n", a, 3, /*stream=*/2.5);
  EXPECT_EQ(Total("v1"), 20) << "what a1 did meanwhile is not known";
  a.Serve("v1", 5);
  Report("n", a, 4, 2.5);
  EXPECT_EQ(Total("v1"), 25);
}

TEST_F(ClusterTest, FifteenSecondReportsAreARate) {
  NodeCounts a("a1");
  Report("a", a, 1);
  a.Serve("v1", 150);
  Report("a", a, 16, 0, /*covers_ms=*/15'000);
  for (Second second = 2; second <= 16; ++second) EXPECT_EQ(Within("v1", second, second + 1), 10) << second;
}

// One report in two messages: of the services looked at seldom, and of those at work.
TEST_F(ClusterTest, WhatIsLookedAtSeldomIsSpreadThoughTheNodeSpokeMeanwhile) {
  NodeCounts a("a1");
  Report("a", a, 1);
  Report("a", a, 15.5, 0, /*covers_ms=*/1'000);
  a.Serve("v1", 150);
  Report("a", a, 16, 0, /*covers_ms=*/15'000);
  for (Second second = 2; second <= 16; ++second) EXPECT_EQ(Within("v1", second, second + 1), 10) << second;
}

TEST_F(ClusterTest, ANodeThatHadNothingToSayIsNotSmeared) {
  NodeCounts a("a1");
  Report("a", a, 1);
  a.Serve("v1", 150);
  Report("a", a, 16, 0, /*covers_ms=*/1'000);
  EXPECT_EQ(Within("v1", 16, 17), 150);
}

TEST_F(ClusterTest, SettledWaitsForEveryNodeThatIsInTime) {
  NodeCounts a("a1"), b("b1");
  for (int second = 1; second <= 10; ++second) {
    Report("a", a, second + 0.2, 0, 1000);
    Report("b", b, second + 0.7, 0, 1000);
  }
  EXPECT_EQ(cluster_.Settled(At(10.9)), 1010);
  Report("a", a, 11.2, 0, 1000);
  EXPECT_EQ(cluster_.Settled(At(11.3)), 1010) << "b may still add to second 10";
  Report("a", a, 12.2, 0, 1000);
  Report("a", a, 13.2, 0, 1000);
  EXPECT_EQ(cluster_.Settled(At(13.3)), 1010);
  EXPECT_EQ(cluster_.Settled(At(13.8)), 1013) << "three intervals are enough";
  Report("b", b, 14.0, 0, 1000);
  EXPECT_EQ(cluster_.Settled(At(14.0)), 1013) << "never back";
}

TEST_F(ClusterTest, SettledWaitsNoLongerForANodeWhoseLastReportWasOfWhatIsLookedAtSeldom) {
  NodeCounts a("a1"), b("b1");
  for (int second = 1; second <= 15; ++second) {
    Report("a", a, second + 0.2, 0, 1000);
    Report("b", b, second + 0.7, 0, 1000);
  }
  Report("a", a, 16.2, 0, 1000);
  Report("b", b, 16.7, 0, 15'000);  // of idle services alone; then it is silent
  for (int second = 17; second <= 20; ++second) Report("a", a, second + 0.2, 0, 1000);
  EXPECT_EQ(cluster_.Settled(At(19.6)), 1016);
  EXPECT_EQ(cluster_.Settled(At(20.3)), 1020) << "it spoke every second: three of them are enough";
}

TEST_F(ClusterTest, SettledWaitsForANodeThatSpeaksSeldomInSeveralMessages) {
  NodeCounts a("a1"), b("b1");
  for (int second = 1; second <= 40; ++second) {
    Report("a", a, second, 0, 1000);
    if (second % 15 != 1) continue;
    Report("b", b, second + 0.1, 0, 15'000);
    Report("b", b, second + 0.101, 0, 14'000);
  }
  EXPECT_EQ(cluster_.Settled(At(40.5)), 1031);
}

TEST_F(ClusterTest, SettledIsNowWithoutNodes) { EXPECT_EQ(cluster_.Settled(At(5)), 1005); }

TEST_F(ClusterTest, LimitsHoldAndWhatComesInLaterIsNoJump) {
  cluster_ = Cluster({.max_series = 2});
  NodeCounts a("a1");
  Report("a", a, 1);
  for (const char* revision : {"v1", "v2", "v3"}) a.Serve(revision, 100);
  Report("a", a, 2);
  EXPECT_EQ(cluster_.series(), 2);
  EXPECT_EQ(cluster_.statistics().refused, 1);
  // v1 goes; after ten minutes there is room.
  a.Forget("v1");
  for (double second = 3; second < 620; second += 15) {
    a.Serve("v3", 10);
    Report("a", a, second);
  }
  a.Serve("v3", 10);
  Report("a", a, 640);
  const uint64_t counted = Total("v3");
  a.Serve("v3", 10);
  Report("a", a, 641);
  EXPECT_EQ(Total("v3"), counted + 10);
  EXPECT_LT(counted, 100) << "what was counted while there was no room is not made good at once";
}

TEST_F(ClusterTest, RemovedRevisionsAreRemoved) {
  NodeCounts a("a1");
  Report("a", a, 1);
  a.Serve("v1", 1);
  Report("a", a, 2);
  a.Forget("v1");
  Report("a", a, 3);
  EXPECT_EQ(cluster_.Services().size(), 1);
  Report("a", a, 700);
  EXPECT_TRUE(cluster_.Services().empty());
  EXPECT_EQ(cluster_.series(), 0);
}

TEST_F(ClusterTest, AnAgentThatCountsNothingIsNotWaitedFor) {
  v1::Telemetry telemetry;
  telemetry.set_epoch("only splits");
  cluster_.Report("old", At(0), telemetry, At(1));
  EXPECT_EQ(cluster_.nodes(), 0);
  EXPECT_EQ(cluster_.Settled(At(3)), 1003);
}

}  // namespace
}  // namespace weir::telemetry
