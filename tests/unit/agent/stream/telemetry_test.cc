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

/// The series of a few services with one revision each, and what the pacer says of them.
class SeriesPacerTest : public testing::Test {
 protected:
  void SetUp() override {
    figures_.epoch = "e1";
    for (const char* service : {"busy", "calm"}) {
      figures_.series.push_back({.ns = "shop", .service = service, .revision = "v1", .in_force = true});
    }
  }
  datapath::Series& busy() { return figures_.series[0]; }
  datapath::Series& calm() { return figures_.series[1]; }

  /// One interval: "busy calm -gone", or "unread".
  std::string Tick() {
    const MonotonicTime now = clock_.Now();
    clock_.Advance(1s);
    if (!pacer_.ShouldRead(!at_work_.empty(), now)) return "unread";
    const auto report = pacer_.Next(
        figures_, [this](std::string_view, std::string_view service) { return service == at_work_; }, now);
    std::string said;
    const auto add = [&](const std::string& word) { said += (said.empty() ? "" : " ") + word; };
    covers_.clear();
    for (const auto& [series, covers] : report.changed) {
      add(series->service);
      covers_.push_back(covers);
    }
    for (const SeriesKey& key : report.forgotten) add("-" + key.service);
    return said;
  }

  FakeClock clock_;
  SeriesPacer pacer_{15s};
  datapath::Figures figures_;
  std::string at_work_;
  std::vector<std::chrono::nanoseconds> covers_;  // of what was said last
};

using Times = std::vector<std::chrono::nanoseconds>;

TEST_F(SeriesPacerTest, TheTimeSinceItWasLookedAtBefore) {
  at_work_ = "busy";
  EXPECT_EQ(Tick(), "busy calm");  // second 0
  EXPECT_EQ(covers_, Times({0s, 0s})) << "a new stream";
  ++busy().opened;
  EXPECT_EQ(Tick(), "busy");
  EXPECT_EQ(covers_, Times({1s}));
  for (int second = 2; second < 14; ++second) EXPECT_EQ(Tick(), "") << second;
  clock_.Advance(500ms);
  ++busy().opened;
  EXPECT_EQ(Tick(), "busy");  // second 14.5
  EXPECT_EQ(covers_, Times({1500ms})) << "that there was nothing to say was a look too";
  ++busy().opened;
  ++calm().opened;
  EXPECT_EQ(Tick(), "calm busy");  // second 15.5
  EXPECT_EQ(covers_, Times({15500ms, 1s}));
}

TEST_F(SeriesPacerTest, ASeriesThatIsNewCoversTheTimeSinceItWasNotThere) {
  at_work_ = "busy";
  EXPECT_EQ(Tick(), "busy calm");
  EXPECT_EQ(Tick(), "");
  figures_.series.insert(figures_.series.begin() + 1, {.ns = "shop", .service = "busy", .revision = "v2"});
  EXPECT_EQ(Tick(), "busy");
  EXPECT_EQ(covers_, Times({1s}));
  figures_.series.push_back({.ns = "shop", .service = "late", .revision = "v1"});
  for (int second = 3; second < 15; ++second) EXPECT_EQ(Tick(), "") << second;
  EXPECT_EQ(Tick(), "late");
  EXPECT_EQ(covers_, Times({15s}));
}

TEST_F(SeriesPacerTest, WhatComesToWorkWasLookedAtInTheRound) {
  EXPECT_EQ(Tick(), "busy calm");
  at_work_ = "calm";
  for (int second = 1; second < 5; ++second) EXPECT_EQ(Tick(), "") << second;
  ++busy().opened;
  at_work_ = "busy";
  EXPECT_EQ(Tick(), "busy");
  EXPECT_EQ(covers_, Times({5s}));
}

TEST_F(SeriesPacerTest, TheFirstReportSaysAllAndLaterOnesWhatChanged) {
  at_work_ = "busy";
  EXPECT_EQ(Tick(), "busy calm");
  EXPECT_EQ(Tick(), "");
  ++busy().opened;
  EXPECT_EQ(Tick(), "busy");
  EXPECT_EQ(Tick(), "");
}

TEST_F(SeriesPacerTest, WhatIsNotAtWorkWaitsForTheRound) {
  at_work_ = "busy";
  EXPECT_EQ(Tick(), "busy calm");  // second 0
  for (int second = 1; second < 15; ++second) {
    ++busy().opened;
    ++calm().opened;
    EXPECT_EQ(Tick(), "busy") << second;
  }
  EXPECT_EQ(Tick(), "calm");  // busy did not change
  ++calm().opened;
  EXPECT_EQ(Tick(), "");
}

TEST_F(SeriesPacerTest, WithNothingAtWorkNothingIsReadBetweenRounds) {
  EXPECT_EQ(Tick(), "busy calm");
  ++busy().opened;
  for (int second = 1; second < 15; ++second) EXPECT_EQ(Tick(), "unread") << second;
  EXPECT_EQ(Tick(), "busy");
}

TEST_F(SeriesPacerTest, ARolloutThatBeginsIsToldAtTheNextInterval) {
  EXPECT_EQ(Tick(), "busy calm");
  ++busy().opened;
  EXPECT_EQ(Tick(), "unread");
  at_work_ = "busy";
  EXPECT_EQ(Tick(), "busy");
}

TEST_F(SeriesPacerTest, WhatVanishesIsForgottenOnceAndMayComeBack) {
  at_work_ = "busy";
  EXPECT_EQ(Tick(), "busy calm");
  const datapath::Series gone = calm();
  figures_.series.pop_back();
  EXPECT_EQ(Tick(), "-calm");
  EXPECT_EQ(Tick(), "");
  figures_.series.push_back(gone);
  for (int second = 3; second < 15; ++second) EXPECT_EQ(Tick(), "") << second;
  EXPECT_EQ(Tick(), "calm");  // the same figures, and still news
}

TEST_F(SeriesPacerTest, WhatWasNeverToldIsNotForgotten) {
  at_work_ = "busy";
  EXPECT_EQ(Tick(), "busy calm");
  figures_.series.push_back({.ns = "shop", .service = "late", .revision = "v1"});
  EXPECT_EQ(Tick(), "");
  figures_.series.pop_back();
  EXPECT_EQ(Tick(), "");
}

TEST_F(SeriesPacerTest, AnotherEpochStartsAnew) {
  at_work_ = "busy";
  EXPECT_EQ(Tick(), "busy calm");
  figures_.series.pop_back();
  figures_.epoch = "e2";
  EXPECT_EQ(Tick(), "busy");  // unchanged but for the epoch; calm is not forgotten: the epoch says it
}

TEST_F(SeriesPacerTest, ANewStreamIsToldEverything) {
  EXPECT_EQ(Tick(), "busy calm");
  pacer_.Reset();
  EXPECT_EQ(Tick(), "busy calm");
  EXPECT_EQ(Tick(), "unread");
}

TEST_F(SeriesPacerTest, EveryFieldIsAChange) {
  at_work_ = "busy";
  EXPECT_EQ(Tick(), "busy calm");
  datapath::Series& s = busy();
  s.failed = {{"refused", 0}};
  s.http_opaque = {{"not_http", 0}};
  s.http = true;
  EXPECT_EQ(Tick(), "busy");
  const std::function<void()> changes[] = {
      [&] { s.in_force = false; },
      [&] { ++s.opened; },
      [&] { ++s.closed; },
      [&] { ++s.failed[0].count; },
      [&] { ++s.bytes_sent; },
      [&] { ++s.bytes_received; },
      [&] { ++s.retransmits; },
      [&] { ++s.resets_received; },
      [&] { ++s.udp_datagrams_sent; },
      [&] { ++s.udp_datagrams_received; },
      [&] { ++s.udp_bytes_sent; },
      [&] { ++s.udp_bytes_received; },
      [&] { ++s.connect.buckets[109]; },
      [&] { ++s.srtt.sum_ns; },
      [&] { ++s.http_requests; },
      [&] { ++s.http_no_response; },
      [&] { ++s.http_opaque[0].count; },
      [&] { ++s.http_connections; },
      [&] { ++s.http_error_connections; },
      [&] { s.http_responses[200]; },
      [&] { ++s.http_responses[200].buckets[0]; },
  };
  for (size_t i = 0; i < std::size(changes); ++i) {
    changes[i]();
    EXPECT_EQ(Tick().substr(0, 4), "busy") << i;
    const std::string again = Tick();
    EXPECT_TRUE(again.empty()) << i << ": " << again;
  }
}

}  // namespace
}  // namespace weir::stream
