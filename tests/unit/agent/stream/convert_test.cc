#include "agent/stream/convert.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <set>

namespace weir::stream {
namespace {

using namespace std::chrono_literals;

std::string Bytes(const char* address) { return IpAddress::Parse(address)->ToBytes(); }

void AddEndpoint(v1::Variant* variant, const char* address, uint32_t port) {
  v1::Endpoint* endpoint = variant->add_endpoints();
  endpoint->set_address(Bytes(address));
  endpoint->set_port(port);
}

v1::Frontend GoodFrontend() {
  v1::Frontend frontend;
  frontend.mutable_key()->set_address(Bytes("127.96.0.1"));
  frontend.mutable_key()->set_port(80);
  frontend.mutable_key()->set_protocol(v1::PROTOCOL_TCP);
  frontend.set_namespace_("shop");
  frontend.set_service("checkout");
  frontend.set_affinity_timeout_seconds(10800);
  frontend.set_on_empty(v1::ON_EMPTY_REFUSE);
  v1::Variant* stable = frontend.add_variants();
  stable->set_revision("v1");
  stable->set_weight(1'000'000);
  AddEndpoint(stable, "127.0.1.1", 8081);
  AddEndpoint(stable, "127.0.1.2", 65535);
  v1::Variant* canary = frontend.add_variants();
  canary->set_revision("v2");
  stable->set_role(v1::ROLE_STABLE);
  canary->set_role(v1::ROLE_CANARY);
  return frontend;
}

TEST(ToFrontend, TakesEveryField) {
  const auto frontend = ToFrontend(GoodFrontend());
  ASSERT_TRUE(frontend.ok()) << frontend.status();
  const auto at = [](const char* address, uint16_t port) {
    return SocketAddress{*IpAddress::Parse(address), port};
  };
  const datapath::Frontend want{
      .key = {at("127.96.0.1", 80), Protocol::kTcp},
      .ns = "shop",
      .service = "checkout",
      .affinity_timeout_s = 10800,
      .on_empty = datapath::OnEmpty::kRefuse,
      .variants = {
          {"v1", 1'000'000, {at("127.0.1.1", 8081), at("127.0.1.2", 65535)}, datapath::Role::kStable},
          {"v2", 0, {}, datapath::Role::kCanary}}};
  EXPECT_EQ(*frontend, want);
}

TEST(ToFrontend, WhoseClientsItIsFor) {
  v1::Frontend wire = GoodFrontend();
  wire.set_has_consumers(true);
  EXPECT_TRUE(ToFrontend(wire)->has_consumers);
  EXPECT_EQ(ToFrontend(wire)->key.consumers, 0U);
  wire = GoodFrontend();
  wire.mutable_key()->set_consumers(0xc0ffee00);
  wire.set_consumer_namespace("lab");
  const auto own = ToFrontend(wire);
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_EQ(own->key.consumers, 0xc0ffee00U);
  EXPECT_EQ(own->consumer_ns, "lab");
  EXPECT_FALSE(own->has_consumers);
  EXPECT_EQ(FromKey(own->key).consumers(), 0xc0ffee00U);
  EXPECT_EQ(ToString(own->key), "TCP 127.96.0.1:80 for consumers c0ffee00");
  wire.mutable_key()->set_protocol(v1::PROTOCOL_UDP);
  EXPECT_NE(Message(ToFrontend(wire).status()).find("consumers: found 3237998080, expected 0 with UDP"),
            std::string::npos)
      << ToFrontend(wire).status();
}

TEST(ToFrontend, HttpIsForTcpAlone) {
  v1::Frontend wire = GoodFrontend();
  EXPECT_FALSE(ToFrontend(wire)->endpoints_known);
  wire.set_endpoints_known(true);
  v1::Endpoint& lingering = *wire.add_lingering();
  lingering.set_address(IpAddress::Parse("127.0.9.9")->ToBytes());
  lingering.set_port(8080);
  EXPECT_TRUE(ToFrontend(wire)->endpoints_known);
  EXPECT_EQ(ToFrontend(wire)->lingering,
            (std::vector<SocketAddress>{{*IpAddress::Parse("127.0.9.9"), 8080}}));
  wire.set_http(true);
  EXPECT_TRUE(ToFrontend(wire)->http);
  wire.mutable_key()->set_protocol(v1::PROTOCOL_UDP);
  EXPECT_FALSE(ToFrontend(wire)->http);
}

TEST(ToFrontend, WhatTheNodeDoesByItself) {
  v1::Frontend wire = GoodFrontend();
  EXPECT_FALSE(ToFrontend(wire)->fail_safe);
  EXPECT_FALSE(ToFrontend(wire)->health);
  wire.mutable_fail_safe()->set_stable_revision("v1");
  wire.mutable_fail_safe()->set_after_ms(30'000);
  wire.mutable_fail_safe()->set_trip_after(5);
  wire.mutable_fail_safe()->set_round(7);
  wire.mutable_passive_health()->set_consecutive_failures(3);
  wire.mutable_passive_health()->set_base_ms(1000);
  wire.mutable_passive_health()->set_max_ms(~uint64_t{0});
  const auto frontend = ToFrontend(wire);
  ASSERT_TRUE(frontend.ok()) << frontend.status();
  EXPECT_EQ(frontend->fail_safe,
            (datapath::FailSafe{.stable = "v1", .after = 30s, .trip_after = 5, .round = 7}));
  EXPECT_EQ(frontend->health->consecutive_failures, 3U);
  EXPECT_EQ(frontend->health->base, 1s);
  EXPECT_GT(frontend->health->max, 24h) << "bounded, not overflown";
  wire.mutable_key()->set_protocol(v1::PROTOCOL_UDP);
  EXPECT_FALSE(ToFrontend(wire)->health) << "datagrams have no connects";
}

TEST(ToFrontend, KeyRoundTrip) {
  for (const char* address : {"127.96.0.1", "fd00::1"}) {
    v1::FrontendKey wire;
    wire.set_address(Bytes(address));
    wire.set_port(53);
    wire.set_protocol(v1::PROTOCOL_UDP);
    const auto key = ToKey(wire);
    ASSERT_TRUE(key.ok());
    EXPECT_EQ(FromKey(*key).SerializeAsString(), wire.SerializeAsString());
  }
  // The datapath knows one form of an IPv4 address.
  v1::FrontendKey mapped;
  mapped.set_address(std::string("\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\x60\0\x01", 16));
  mapped.set_port(1);
  mapped.set_protocol(v1::PROTOCOL_TCP);
  EXPECT_EQ(ToString(*ToKey(mapped)), "TCP 127.96.0.1:1");
}

TEST(ToFrontend, SixteenVariantsAreTheMost) {
  v1::Frontend frontend = GoodFrontend();
  while (frontend.variants_size() < 16) {
    frontend.add_variants()->set_revision("r" + std::to_string(frontend.variants_size()));
  }
  EXPECT_TRUE(ToFrontend(frontend).ok());
  frontend.add_variants()->set_revision("one too many");
  EXPECT_EQ(Message(ToFrontend(frontend).status()),
            "frontend of shop/checkout (TCP 127.96.0.1:80): found 17 variants, expected at most 16");
}

TEST(ToFrontend, NamesFieldFoundAndExpected) {
  using Break = std::function<void(v1::Frontend&)>;
  const struct {
    Break break_it;
    const char* message;
  } rows[] = {
      {[](auto& f) { f.mutable_key()->set_address("abc"); }, "address: found 3 bytes, expected 4 or 16"},
      {[](auto& f) { f.clear_key(); }, "address: found 0 bytes, expected 4 or 16"},
      {[](auto& f) { f.mutable_key()->set_address(std::string(4, '\0')); }, "address: found 0.0.0.0"},
      {[](auto& f) { f.mutable_key()->set_address(Bytes("224.0.0.1")); }, "address: found 224.0.0.1"},
      {[](auto& f) { f.mutable_key()->set_port(0); }, "port: found 0, expected 1..65535"},
      {[](auto& f) { f.mutable_key()->set_port(65536); }, "port: found 65536, expected 1..65535"},
      {[](auto& f) { f.mutable_key()->set_protocol(static_cast<v1::Protocol>(132)); },
       "protocol: found 132, expected TCP (6) or UDP (17)"},
      {[](auto& f) { f.mutable_key()->clear_protocol(); }, "protocol: found 0"},
      {[](auto& f) { f.set_on_empty(static_cast<v1::OnEmpty>(9)); }, "on_empty: found 9"},
      {[](auto& f) { f.mutable_variants(0)->set_weight(1'000'001); },
       "(TCP 127.96.0.1:80), variant \"v1\": weight: found 1000001, expected 0..1000000"},
      {[](auto& f) { f.mutable_variants(1)->set_revision("v1"); }, "variant \"v1\": found twice"},
      {[](auto& f) { f.mutable_variants(0)->mutable_endpoints(1)->set_address(std::string(5, 'x')); },
       "variant \"v1\": endpoints[1]: address: found 5 bytes"},
      {[](auto& f) { f.mutable_variants(0)->mutable_endpoints(1)->set_port(0); },
       "variant \"v1\": endpoints[1]: port: found 0"},
      {[](auto& f) { f.mutable_variants(0)->mutable_endpoints(0)->set_address(Bytes("::1")); },
       "endpoints[0]: found [::1]:8081, expected the frontend's address family"},
      {[](auto& f) {
         f.mutable_variants(0)->mutable_endpoints(0)->set_address(Bytes("127.96.0.1"));
         f.mutable_variants(0)->mutable_endpoints(0)->set_port(80);
       },
       "endpoints[0]: found 127.96.0.1:80, the frontend's own address: a loop"},
  };
  for (const auto& row : rows) {
    v1::Frontend frontend = GoodFrontend();
    row.break_it(frontend);
    const auto converted = ToFrontend(frontend);
    ASSERT_FALSE(converted.ok()) << row.message;
    EXPECT_EQ(converted.status().code(), absl::StatusCode::kInvalidArgument);
    const std::string message = Message(converted.status());
    EXPECT_TRUE(message.starts_with("frontend of shop/checkout")) << message;
    EXPECT_NE(message.find(row.message), std::string::npos) << message;
  }
}

TEST(FromSplitCount, TakesEveryField) {
  const datapath::SplitCount count{{{*IpAddress::Parse("127.96.0.1"), 80}, Protocol::kTcp},
                                   {{"v1", 80, 8}, {"v2", 20, 2}}};
  const v1::SplitCount wire = FromSplitCount(count);
  EXPECT_EQ(ToString(*ToKey(wire.key())), "TCP 127.96.0.1:80");
  ASSERT_EQ(wire.variants_size(), 2);
  EXPECT_EQ(wire.variants(1).revision(), "v2");
  EXPECT_EQ(wire.variants(1).weight(), 20u);
  EXPECT_EQ(wire.variants(1).connections(), 2u);
}

TEST(ToFrontend, RolesOfBlueGreen) {
  for (const auto& [wire_role, role] : {std::pair{v1::ROLE_ACTIVE, datapath::Role::kActive},
                                        {v1::ROLE_PREVIEW, datapath::Role::kPreview},
                                        {v1::ROLE_PREVIOUS, datapath::Role::kPrevious}}) {
    v1::Frontend wire = GoodFrontend();
    wire.mutable_variants(0)->set_role(wire_role);
    EXPECT_EQ(ToFrontend(wire)->variants[0].role, role);
  }
}

TEST(ToFrontend, ARoleOfLaterReleasesIsNone) {
  v1::Frontend wire = GoodFrontend();
  wire.mutable_variants(0)->set_role(v1::ROLE_BACKEND);
  wire.mutable_variants(1)->set_role(static_cast<v1::Role>(77));
  const auto frontend = ToFrontend(wire);
  ASSERT_TRUE(frontend.ok()) << frontend.status();
  EXPECT_EQ(frontend->variants[0].role, datapath::Role::kBackend);
  EXPECT_EQ(frontend->variants[1].role, datapath::Role::kNone);
}

datapath::Series FullSeries() {
  datapath::Series series{.ns = "shop", .service = "checkout", .revision = "v2", .in_force = true};
  series.opened = 1;
  series.closed = 2;
  series.failed = {{"refused", 3}, {"timeout", 0}};
  series.bytes_sent = 4;
  series.bytes_received = 5;
  series.retransmits = 6;
  series.resets_received = 7;
  series.udp_datagrams_sent = 8;
  series.udp_datagrams_received = 9;
  series.udp_bytes_sent = 10;
  series.udp_bytes_received = 11;
  series.connect.sum_ns = 12;
  series.connect.buckets[3] = 13;
  series.connect.buckets[5] = 14;
  series.srtt.buckets[0] = 15;
  series.srtt.buckets[109] = 16;
  series.http = true;
  series.http_requests = 17;
  series.http_no_response = 18;
  series.http_opaque = {{"not_http", 0}, {"pipelined", 19}};
  series.http_connections = 20;
  series.http_error_connections = 21;
  series.http_responses[503].buckets[40] = 22;
  return series;
}

TEST(FromSeries, TakesEveryField) {
  const v1::Series wire = FromSeries(FullSeries());
  EXPECT_EQ(
      wire.ShortDebugString(),
      "key { namespace: \"shop\" service: \"checkout\" revision: \"v2\" } in_force: true opened: 1 closed: 2 "
      "failed { key: \"refused\" value: 3 } bytes_sent: 4 bytes_received: 5 retransmits: 6 resets_received: "
      "7 "
      "udp_datagrams_sent: 8 udp_datagrams_received: 9 udp_bytes_sent: 10 udp_bytes_received: 11 "
      "connect { sum_ns: 12 first: 3 counts: 13 counts: 0 counts: 14 } srtt { counts: 15 " +
          []() {
            std::string zeros;
            for (int i = 0; i < 108; ++i) zeros += "counts: 0 ";
            return zeros;
          }() +
          "counts: 16 } http { requests: 17 no_response: 18 opaque { key: \"pipelined\" value: 19 } "
          "connections: 20 error_connections: 21 responses { code: 503 latency { first: 40 counts: 22 } } }");
}

TEST(FromSeries, HttpIsAbsentWhereItWasNeverLookedAt) {
  datapath::Series series = FullSeries();
  series.http = false;
  EXPECT_FALSE(FromSeries(series).has_http());
  const v1::Series nothing = FromSeries({});
  EXPECT_EQ(nothing.connect().counts_size(), 0);
  EXPECT_EQ(nothing.failed_size(), 0);
}

TEST(FromReport, NothingToSayIsNoMessage) {
  EXPECT_TRUE(FromReport({.epoch = "a"}, 1000).empty());
  const auto looked = FromReport({.epoch = "a", .series_epoch = "b"}, 1000);
  ASSERT_EQ(looked.size(), 1U)
      << "figures that have nothing new are up to date, and the controller learns it";
  EXPECT_EQ(looked[0].telemetry().series_epoch(), "b");
  EXPECT_EQ(looked[0].telemetry().epoch(), "");
}

TEST(FromReport, CountsAloneSayNothingOfSeriesAndTheOtherWayRound) {
  const std::vector<datapath::SplitCount> counts(2,
                                                 {{{*IpAddress::Parse("127.96.0.1"), 80}}, {{"v1", 1, 8}}});
  const auto splits = FromReport({.epoch = "a", .counts = &counts}, 1000);
  ASSERT_EQ(splits.size(), 1u);
  EXPECT_EQ(splits[0].telemetry().epoch(), "a");
  EXPECT_EQ(splits[0].telemetry().splits_size(), 2);
  EXPECT_EQ(splits[0].telemetry().series_epoch(), "");
  const datapath::Series series = FullSeries();
  const auto figures =
      FromReport({.series_epoch = "b", .series = {{{&series, 1s}}, {{"shop", "gone", "v0"}}}}, 1000);
  ASSERT_EQ(figures.size(), 1u);
  EXPECT_EQ(figures[0].telemetry().epoch(), "");
  EXPECT_EQ(figures[0].telemetry().series_epoch(), "b");
  EXPECT_EQ(figures[0].telemetry().series(0).opened(), 1u);
  EXPECT_EQ(figures[0].telemetry().forgotten(0).service(), "gone");
  // Nothing to tell, and that too is worth a message: an empty list of splits.
  const std::vector<datapath::SplitCount> none;
  EXPECT_EQ(FromReport({.epoch = "a", .counts = &none}, 1000).size(), 1u);
}

TEST(FromReport, APartCoversOneTime) {
  const datapath::Series series = FullSeries();
  TelemetryReport report{.series_epoch = "b"};
  report.series.changed = {{&series, 15s}, {&series, 15s}, {&series, 999'000'001ns}, {&series, 0s}};
  const auto parts = FromReport(report, 100'000);
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0].telemetry().covers_ms(), 15'000u);
  EXPECT_EQ(parts[0].telemetry().series_size(), 2);
  EXPECT_EQ(parts[1].telemetry().covers_ms(), 1'000u);
  EXPECT_EQ(parts[2].telemetry().covers_ms(), 0u);
}

TEST(FromReport, PartsAreBoundedAndLoseNothing) {
  std::vector<datapath::Series> all(300, FullSeries());
  TelemetryReport report{.epoch = "a", .series_epoch = "b"};
  const std::vector<datapath::SplitCount> counts(1);
  report.counts = &counts;
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].revision = "v" + std::to_string(i);
    report.series.changed.push_back({&all[i], 0s});
    report.series.forgotten.push_back({"shop", "checkout", "w" + std::to_string(i)});
  }
  const size_t one = FromSeries(all[0]).ByteSizeLong();
  const auto parts = FromReport(report, 10'000);
  EXPECT_GT(parts.size(), 300 * one / 10'000);
  std::set<std::string> series, forgotten;
  for (size_t i = 0; i < parts.size(); ++i) {
    const v1::Telemetry& part = parts[i].telemetry();
    EXPECT_LT(part.ByteSizeLong(), 12'000u);
    EXPECT_EQ(part.series_epoch(), "b");
    EXPECT_EQ(part.epoch(), i + 1 == parts.size() ? "a" : "");
    for (const auto& entry : part.series()) series.insert(entry.key().revision());
    for (const auto& entry : part.forgotten()) forgotten.insert(entry.revision());
  }
  EXPECT_EQ(series.size(), 300u);
  EXPECT_EQ(forgotten.size(), 300u);
  // One that alone is larger than a message goes alone.
  EXPECT_EQ(FromReport(report, 1).size(), 600u);
}

}  // namespace
}  // namespace weir::stream
