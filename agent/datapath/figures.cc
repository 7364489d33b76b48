#include "agent/datapath/figures.h"

#include <algorithm>
#include <tuple>

namespace weir::datapath {
namespace {

constexpr std::array<const char*, WEIR_FAIL_MAX> kFailures = {"refused",     "timeout",  "reset",
                                                              "unreachable", "canceled", "other"};
constexpr std::array<const char*, WEIR_OPAQUE_MAX> kOpaque = {"not_http", "upgraded", "pipelined",
                                                              "bad_response", "other"};
static_assert(Histogram::kBuckets == WEIR_HISTOGRAM_BUCKETS);

Histogram FromWire(const weir_histogram& wire) {
  Histogram histogram;
  std::copy(std::begin(wire.buckets), std::end(wire.buckets), histogram.buckets.begin());
  histogram.sum_ns = wire.sum_ns;
  return histogram;
}

template <size_t N>
std::vector<Series::Failure> Named(const std::array<const char*, N>& names, const __u64 (&counts)[N]) {
  std::vector<Series::Failure> out;
  out.reserve(N);
  for (size_t i = 0; i < N; ++i) out.push_back({names[i], counts[i]});
  return out;
}

void Fill(const weir_stats& stats, Series& series) {
  series.opened = stats.opened;
  // Read while connections come and go: a closed one has been opened, whichever counter was copied first.
  series.closed = std::min(stats.closed, stats.opened);
  series.failed = Named(kFailures, stats.failed);
  series.bytes_sent = stats.bytes_sent;
  series.bytes_received = stats.bytes_received;
  series.retransmits = stats.retransmits;
  series.resets_received = stats.resets_received;
  series.udp_datagrams_sent = stats.udp_datagrams_sent;
  series.udp_datagrams_received = stats.udp_datagrams_received;
  series.udp_bytes_sent = stats.udp_bytes_sent;
  series.udp_bytes_received = stats.udp_bytes_received;
  series.connect = FromWire(stats.connect);
  series.srtt = FromWire(stats.srtt);
  series.http_requests = stats.http_requests;
  series.http_no_response = stats.http_no_response;
  series.http_opaque = Named(kOpaque, stats.http_opaque);
  series.http_connections = stats.http_connections;
  series.http_error_connections = stats.http_error_connections;
}

}  // namespace

Result<RawFigures> ReadRawFigures(const Maps& maps) {
  RawFigures raw;
  RETURN_IF_ERROR(
      maps.ForEachStats([&](uint32_t series, const weir_stats& stats) { raw.stats.emplace(series, stats); }));
  RETURN_IF_ERROR(maps.ForEachHttp([&](const weir_http_key& key, const weir_histogram& responses) {
    raw.http[key.series].emplace(static_cast<uint16_t>(key.code), responses);
  }));
  return raw;
}

Figures MakeFigures(const SeriesTable& table, const RawFigures& raw, std::string epoch) {
  static constexpr weir_stats kNone{};
  Figures figures;
  figures.epoch = std::move(epoch);
  figures.series.reserve(table.entries().size());
  for (const auto& [id, entry] : table.entries()) {
    Series& series = figures.series.emplace_back();
    series.ns = entry.ns;
    series.service = entry.service;
    series.revision = entry.revision;
    series.in_force = entry.uses > 0;
    const auto stats = raw.stats.find(id);
    Fill(stats == raw.stats.end() ? kNone : stats->second, series);
    if (const auto http = raw.http.find(id); http != raw.http.end()) {
      for (const auto& [code, responses] : http->second) series.http_responses[code] = FromWire(responses);
    }
    series.http = entry.http || series.http_connections > 0 || series.http_requests > 0 ||
                  std::any_of(series.http_opaque.begin(), series.http_opaque.end(),
                              [](const Series::Failure& reason) { return reason.count > 0; });
  }
  std::sort(figures.series.begin(), figures.series.end(), [](const Series& a, const Series& b) {
    return std::tie(a.ns, a.service, a.revision) < std::tie(b.ns, b.service, b.revision);
  });
  return figures;
}

std::optional<uint64_t> ActivityOf(const RawFigures& raw, uint32_t series) {
  const auto found = raw.stats.find(series);
  if (found == raw.stats.end()) return 0;
  const weir_stats& stats = found->second;
  if (stats.opened != stats.closed) return std::nullopt;
  uint64_t sum = stats.opened + stats.udp_datagrams_sent + stats.udp_datagrams_received;
  for (const uint64_t failed : stats.failed) sum += failed;
  return sum;
}

}  // namespace weir::datapath
