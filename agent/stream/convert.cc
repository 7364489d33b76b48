#include "agent/stream/convert.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace weir::stream {
namespace {

Result<SocketAddress> ToSocketAddress(std::string_view bytes, uint32_t port) {
  const auto address = IpAddress::FromBytes(bytes);
  if (!address) return InvalidArgument("address: found {} bytes, expected 4 or 16", bytes.size());
  if (address->is_unspecified() || address->is_multicast()) {
    return InvalidArgument("address: found {}, expected one that can be connected to", address->ToString());
  }
  if (port == 0 || port > 65535) return InvalidArgument("port: found {}, expected 1..65535", port);
  return SocketAddress{*address, static_cast<uint16_t>(port)};
}

Result<datapath::OnEmpty> ToOnEmpty(v1::OnEmpty value) {
  switch (value) {
    case v1::ON_EMPTY_UNSPECIFIED:
    case v1::ON_EMPTY_PASS:
      return datapath::OnEmpty::kPass;
    case v1::ON_EMPTY_REFUSE:
      return datapath::OnEmpty::kRefuse;
    case v1::ON_EMPTY_REFUSE_SHARE:
      return datapath::OnEmpty::kRefuseShare;
    default:
      return InvalidArgument("on_empty: found {}, which this agent does not know; upgrade it",
                             static_cast<int>(value));
  }
}

/// A role that this agent does not know is none: it changes nothing in the kernel.
datapath::Role ToRole(v1::Role role) {
  switch (role) {
    case v1::ROLE_STABLE:
      return datapath::Role::kStable;
    case v1::ROLE_CANARY:
      return datapath::Role::kCanary;
    case v1::ROLE_BACKEND:
      return datapath::Role::kBackend;
    case v1::ROLE_ACTIVE:
      return datapath::Role::kActive;
    case v1::ROLE_PREVIEW:
      return datapath::Role::kPreview;
    case v1::ROLE_PREVIOUS:
      return datapath::Role::kPrevious;
    default:
      return datapath::Role::kNone;
  }
}

Result<datapath::Variant> ToVariant(const v1::Variant& wire, const SocketAddress& frontend) {
  if (wire.weight() > kMaxWeight) {
    return InvalidArgument("weight: found {}, expected 0..{}", wire.weight(), kMaxWeight);
  }
  datapath::Variant variant;
  variant.revision = wire.revision();
  variant.weight = wire.weight();
  variant.role = ToRole(wire.role());
  variant.endpoints.reserve(static_cast<size_t>(wire.endpoints_size()));
  for (int i = 0; i < wire.endpoints_size(); ++i) {
    const auto endpoint = ToSocketAddress(wire.endpoints(i).address(), wire.endpoints(i).port());
    if (!endpoint.ok()) return Annotate(endpoint.status(), fmt::format("endpoints[{}]", i));
    if (endpoint->address.family() != frontend.address.family()) {
      return InvalidArgument("endpoints[{}]: found {}, expected the frontend's address family", i,
                             ToString(*endpoint));
    }
    if (*endpoint == frontend) {
      return InvalidArgument("endpoints[{}]: found {}, the frontend's own address: a loop", i,
                             ToString(*endpoint));
    }
    variant.endpoints.push_back(*endpoint);
  }
  return variant;
}

v1::Histogram FromHistogram(const datapath::Histogram& histogram) {
  v1::Histogram wire;
  wire.set_sum_ns(histogram.sum_ns);
  const auto kept = histogram.buckets.kept();
  if (kept.empty()) return wire;
  wire.set_first(static_cast<uint32_t>(histogram.buckets.first()));
  wire.mutable_counts()->Add(kept.begin(), kept.end());
  return wire;
}

void FromFailures(const std::vector<datapath::Series::Failure>& failures,
                  google::protobuf::Map<std::string, uint64_t>& wire) {
  for (const datapath::Series::Failure& failure : failures) {
    if (failure.count != 0) wire[failure.reason] = failure.count;
  }
}

}  // namespace

Result<datapath::FrontendKey> ToKey(const v1::FrontendKey& key) {
  ASSIGN_OR_RETURN(const SocketAddress address, ToSocketAddress(key.address(), key.port()));
  switch (key.protocol()) {
    case v1::PROTOCOL_TCP:
      return datapath::FrontendKey{address, Protocol::kTcp, key.consumers()};
    case v1::PROTOCOL_UDP:
      if (key.consumers() != 0)
        return InvalidArgument("consumers: found {}, expected 0 with UDP", key.consumers());
      return datapath::FrontendKey{address, Protocol::kUdp};
    default:
      return InvalidArgument("protocol: found {}, expected TCP (6) or UDP (17)",
                             static_cast<int>(key.protocol()));
  }
}

namespace {

/// Longer than any agent runs, and far from an overflow.
constexpr uint64_t kLongestMs = uint64_t{1} << 31;

std::chrono::milliseconds ToDuration(uint64_t ms) {
  return std::chrono::milliseconds(static_cast<int64_t>(std::min(ms, kLongestMs)));
}

void AddSafety(const v1::Frontend& wire, datapath::Frontend& frontend) {
  if (wire.has_fail_safe()) {
    frontend.fail_safe = {.stable = wire.fail_safe().stable_revision(),
                          .after = ToDuration(wire.fail_safe().after_ms()),
                          .trip_after = wire.fail_safe().trip_after(),
                          .round = wire.fail_safe().round()};
  }
  const v1::PassiveHealth& health = wire.passive_health();
  if (health.consecutive_failures() == 0 || frontend.key.protocol != Protocol::kTcp) return;
  frontend.health = {.consecutive_failures = health.consecutive_failures(),
                     .base = ToDuration(health.base_ms()),
                     .max = ToDuration(health.max_ms())};
}

}  // namespace

Result<datapath::Frontend> ToFrontend(const v1::Frontend& wire) {
  const auto where = [&] { return fmt::format("frontend of {}/{}", wire.namespace_(), wire.service()); };
  const auto key = ToKey(wire.key());
  if (!key.ok()) return Annotate(key.status(), where());
  const auto on_empty = ToOnEmpty(wire.on_empty());
  if (!on_empty.ok()) return Annotate(on_empty.status(), where());
  if (wire.variants_size() > kMaxVariants) {
    return InvalidArgument("{} ({}): found {} variants, expected at most {}", where(), ToString(*key),
                           wire.variants_size(), kMaxVariants);
  }
  datapath::Frontend frontend;
  frontend.key = *key;
  frontend.ns = wire.namespace_();
  frontend.service = wire.service();
  frontend.consumer_ns = wire.consumer_namespace();
  frontend.has_consumers = wire.has_consumers();
  frontend.affinity_timeout_s = wire.affinity_timeout_seconds();
  frontend.on_empty = *on_empty;
  frontend.http = wire.http() && key->protocol == Protocol::kTcp;
  frontend.endpoints_known = wire.endpoints_known();
  for (int i = 0; i < wire.lingering_size(); ++i) {
    const auto endpoint = ToSocketAddress(wire.lingering(i).address(), wire.lingering(i).port());
    if (!endpoint.ok())
      return Annotate(endpoint.status(), fmt::format("{} ({}), lingering[{}]", where(), ToString(*key), i));
    frontend.lingering.push_back(*endpoint);
  }
  AddSafety(wire, frontend);
  std::set<std::string_view> revisions;
  for (const v1::Variant& variant : wire.variants()) {
    auto converted = ToVariant(variant, key->address);
    const auto context = [&] {
      return fmt::format("{} ({}), variant {:?}", where(), ToString(*key),
                         std::string_view(variant.revision()));
    };
    if (!converted.ok()) return Annotate(converted.status(), context());
    if (!revisions.insert(variant.revision()).second) {
      return InvalidArgument("{}: found twice, expected one variant per revision", context());
    }
    frontend.variants.push_back(*std::move(converted));
  }
  return frontend;
}

v1::FrontendKey FromKey(const datapath::FrontendKey& key) {
  v1::FrontendKey wire;
  wire.set_address(key.address.address.ToBytes());
  wire.set_port(key.address.port);
  wire.set_protocol(key.protocol == Protocol::kTcp ? v1::PROTOCOL_TCP : v1::PROTOCOL_UDP);
  wire.set_consumers(key.consumers);
  return wire;
}

v1::SplitCount FromSplitCount(const datapath::SplitCount& count) {
  v1::SplitCount wire;
  *wire.mutable_key() = FromKey(count.key);
  for (const datapath::SplitCount::Entry& entry : count.variants) {
    v1::VariantCount* variant = wire.add_variants();
    variant->set_revision(entry.revision);
    variant->set_weight(entry.weight);
    variant->set_connections(entry.connections);
  }
  return wire;
}

v1::SeriesKey FromSeriesKey(const SeriesKey& key) {
  v1::SeriesKey wire;
  wire.set_namespace_(key.ns);
  wire.set_service(key.service);
  wire.set_revision(key.revision);
  return wire;
}

v1::Series FromSeries(const datapath::Series& series) {
  v1::Series wire;
  *wire.mutable_key() = FromSeriesKey({series.ns, series.service, series.revision});
  wire.set_in_force(series.in_force);
  wire.set_opened(series.opened);
  wire.set_closed(series.closed);
  FromFailures(series.failed, *wire.mutable_failed());
  wire.set_bytes_sent(series.bytes_sent);
  wire.set_bytes_received(series.bytes_received);
  wire.set_retransmits(series.retransmits);
  wire.set_resets_received(series.resets_received);
  wire.set_udp_datagrams_sent(series.udp_datagrams_sent);
  wire.set_udp_datagrams_received(series.udp_datagrams_received);
  wire.set_udp_bytes_sent(series.udp_bytes_sent);
  wire.set_udp_bytes_received(series.udp_bytes_received);
  *wire.mutable_connect() = FromHistogram(series.connect);
  *wire.mutable_srtt() = FromHistogram(series.srtt);
  if (!series.http) return wire;
  v1::HttpSeries& http = *wire.mutable_http();
  http.set_requests(series.http_requests);
  http.set_no_response(series.http_no_response);
  FromFailures(series.http_opaque, *http.mutable_opaque());
  http.set_connections(series.http_connections);
  http.set_error_connections(series.http_error_connections);
  for (const auto& [code, latency] : series.http_responses) {
    v1::HttpResponses& responses = *http.add_responses();
    responses.set_code(code);
    *responses.mutable_latency() = FromHistogram(latency);
  }
  return wire;
}

std::vector<v1::AgentMessage> FromReport(const TelemetryReport& report, size_t max_bytes) {
  std::vector<v1::AgentMessage> parts;
  // Figures that were looked at and had nothing new are told too: the controller waits for no node longer
  // than it must, as what it decides depends on the latest second of all.
  if (report.counts == nullptr && report.series.empty() && report.series_epoch.empty()) return parts;
  size_t bytes = 0;
  std::chrono::milliseconds covers{0};  // of the present part
  const auto begin = [&]() -> v1::Telemetry& {
    bytes = 0;
    v1::Telemetry& part = *parts.emplace_back().mutable_telemetry();
    part.set_series_epoch(report.series_epoch);
    part.set_covers_ms(static_cast<uint64_t>(covers.count()));
    return part;
  };
  v1::Telemetry* part = &begin();
  const auto make_room = [&](size_t wanted) {
    if (bytes != 0 && bytes + wanted > max_bytes) part = &begin();
    bytes += wanted;
  };
  for (const SeriesKey& key : report.series.forgotten) {
    v1::SeriesKey wire = FromSeriesKey(key);
    make_room(wire.ByteSizeLong());
    *part->add_forgotten() = std::move(wire);
  }
  for (const auto& [series, since] : report.series.changed) {
    v1::Series wire = FromSeries(*series);
    const auto wanted = std::chrono::ceil<std::chrono::milliseconds>(since);
    if (wanted != std::exchange(covers, wanted)) {
      if (part->series_size() > 0) part = &begin();
      part->set_covers_ms(static_cast<uint64_t>(covers.count()));
    }
    make_room(wire.ByteSizeLong());
    *part->add_series() = std::move(wire);
  }
  if (report.counts == nullptr) return parts;
  part->set_epoch(report.epoch);
  for (const datapath::SplitCount& count : *report.counts) *part->add_splits() = FromSplitCount(count);
  return parts;
}

}  // namespace weir::stream
