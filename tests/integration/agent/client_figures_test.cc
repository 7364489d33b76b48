// The stream's client over real gRPC: what the controller is told of what the kernel counted.
#include "tests/integration/agent/client_fixture.h"

namespace weir::stream {
namespace {

/// What a controller knows after the messages so far.
struct Known {
  std::string epoch;
  std::map<std::string, uint64_t> opened;  // revision -> connections

  void Hear(const v1::Telemetry& telemetry) {
    if (telemetry.series_epoch().empty()) return;  // says nothing of the figures
    if (telemetry.series_epoch() != epoch) opened.clear();
    epoch = telemetry.series_epoch();
    for (const v1::SeriesKey& key : telemetry.forgotten()) opened.erase(key.revision());
    for (const v1::Series& series : telemetry.series()) opened[series.key().revision()] = series.opened();
  }
  bool operator==(const Known&) const = default;
};

class FiguresTest : public ClientTest {
 protected:
  FiguresTest() { options_.telemetry_idle = 24h; }

  /// Revision -> connections opened, of shop/checkout.
  void Set(const std::string& epoch, const std::map<std::string, uint64_t>& opened) {
    datapath::Figures figures{.epoch = epoch};
    for (const auto& [revision, count] : opened) {
      datapath::Series series{.ns = "shop", .service = "checkout", .revision = revision, .in_force = true};
      series.opened = count;
      figures.series.push_back(series);
    }
    if (!thread_.joinable()) {
      datapath_.figures = std::move(figures);
      return;
    }
    On([&] {
      datapath_.figures = std::move(figures);
      return 0;
    });
  }
  /// Hears what comes until it knows `want`.
  static bool Learn(AgentStream& stream, Known& known, const Known& want) {
    while (known != want) {
      const auto message = stream.Next(v1::AgentMessage::kTelemetry);
      if (!message) return false;
      known.Hear(message->telemetry());
    }
    return true;
  }
  /// A split of shop/checkout at work: a rollout's.
  static v1::Update AtWork(uint64_t generation) {
    v1::Update update = Full(generation, {1});
    v1::Frontend& frontend = *update.mutable_upserts(0);
    frontend.set_namespace_("shop");
    frontend.set_service("checkout");
    frontend.mutable_variants(0)->set_role(v1::ROLE_STABLE);
    frontend.add_variants()->set_revision("v2");
    frontend.mutable_variants(1)->set_role(v1::ROLE_CANARY);
    return update;
  }
};

TEST_F(FiguresTest, ChangesAreToldAndWhatIsForgotten) {
  Set("e1", {{"v1", 10}, {"v2", 0}});
  const auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  stream->Send(AtWork(6));
  ASSERT_EQ(stream->Answer(), "ack 6");
  Known known;
  Set("e1", {{"v1", 12}, {"v2", 3}});
  EXPECT_TRUE(Learn(*stream, known, {"e1", {{"v1", 12}, {"v2", 3}}}));
  Set("e1", {{"v2", 4}});
  EXPECT_TRUE(Learn(*stream, known, {"e1", {{"v2", 4}}}));
  Set("e2", {{"v2", 1}});  // the maps were made anew
  EXPECT_TRUE(Learn(*stream, known, {"e2", {{"v2", 1}}}));
}

TEST_F(FiguresTest, ANewStreamIsToldEverything) {
  Set("e1", {{"v1", 10}, {"v2", 7}});
  Start();
  auto stream = controller_->NextAgent();
  ASSERT_NE(stream, nullptr);
  stream->Welcome();
  Known known;
  EXPECT_TRUE(Learn(*stream, known, {"e1", {{"v1", 10}, {"v2", 7}}}));
  stream->End();
  stream = controller_->NextAgent();
  ASSERT_NE(stream, nullptr);
  stream->Welcome();
  Known fresh;  // nothing is at work, nothing has changed and the idle time is long: all the same
  EXPECT_TRUE(Learn(*stream, fresh, known));
}

TEST_F(FiguresTest, AReportIsCutIntoMessages) {
  options_.telemetry_bytes = 1;  // one series a message
  std::map<std::string, uint64_t> many;
  for (uint64_t i = 0; i < 500; ++i) many["v" + std::to_string(i)] = i + 1;
  Set("e1", many);
  Start();
  const auto stream = controller_->NextAgent();
  ASSERT_NE(stream, nullptr);
  stream->Welcome();
  Known known;
  int messages = 0;
  while (known.opened != many) {
    const auto message = stream->Next(v1::AgentMessage::kTelemetry);
    ASSERT_TRUE(message) << known.opened.size();
    EXPECT_LE(message->telemetry().series_size(), 1);
    messages += message->telemetry().series_size();
    known.Hear(message->telemetry());
  }
  EXPECT_EQ(messages, 500);
}

TEST_F(FiguresTest, UnreadableFiguresAreCountedAndComeLater) {
  datapath_.read_error = Error(absl::StatusCode::kInternal, "map gone");
  const auto stream = StartSynced();
  ASSERT_NE(stream, nullptr);
  stream->Send(AtWork(6));
  ASSERT_EQ(stream->Answer(), "ack 6");
  while (On([this] { return reports_.unreadable; }) == 0) std::this_thread::yield();
  Set("e1", {{"v1", 10}});
  On([this] {
    datapath_.read_error = OkStatus();
    return 0;
  });
  Known known;
  EXPECT_TRUE(Learn(*stream, known, {"e1", {{"v1", 10}}}));
}

}  // namespace
}  // namespace weir::stream
