#include "agent/datapath/figures.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

namespace weir::datapath {
namespace {

constexpr std::array<const char*, WEIR_FAIL_MAX> kFailures = {"refused",     "timeout",  "reset",
                                                              "unreachable", "canceled", "other"};
constexpr std::array<const char*, WEIR_OPAQUE_MAX> kOpaque = {"not_http", "upgraded", "pipelined",
                                                              "bad_response", "other"};
static_assert(Histogram::kBuckets == WEIR_HISTOGRAM_BUCKETS);

void Fill(const weir_histogram& wire, Histogram& histogram) {
  std::array<uint64_t, Histogram::kBuckets> buckets{};  // __u64 may be another type of the same size
  std::copy(std::begin(wire.buckets), std::end(wire.buckets), buckets.begin());
  histogram.buckets.Assign(buckets);
  histogram.sum_ns = wire.sum_ns;
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
  Fill(stats.connect, series.connect);
  Fill(stats.srtt, series.srtt);
  series.http_requests = stats.http_requests;
  series.http_no_response = stats.http_no_response;
  series.http_opaque = Named(kOpaque, stats.http_opaque);
  series.http_connections = stats.http_connections;
  series.http_error_connections = stats.http_error_connections;
}

std::optional<uint64_t> Activity(const weir_stats& stats) {
  if (stats.opened != stats.closed) return std::nullopt;
  uint64_t sum = stats.opened + stats.udp_datagrams_sent + stats.udp_datagrams_received;
  for (const uint64_t failed : stats.failed) sum += failed;
  return sum;
}

bool SpokeHttp(const Series& series) {
  return series.http_connections > 0 || series.http_requests > 0 ||
         std::any_of(series.http_opaque.begin(), series.http_opaque.end(),
                     [](const Series::Failure& reason) { return reason.count > 0; });
}

}  // namespace

FiguresReading::FiguresReading(const SeriesTable& table) {
  static constexpr weir_stats kNone{};
  using Entry = std::pair<const uint32_t, SeriesTable::Entry>;
  const size_t size = table.entries().size();
  std::vector<std::pair<const Entry*, size_t>> sorted;  // and its place by number
  sorted.reserve(size);
  numbers_.reserve(size);
  for (const Entry& entry : table.entries()) {
    sorted.emplace_back(&entry, numbers_.size());
    numbers_.push_back(entry.first);
  }
  const auto name = [](const auto& one) {
    const SeriesTable::Entry& entry = one.first->second;
    return std::tie(entry.ns, entry.service, entry.revision);
  };
  // Names, not figures, of which each takes half a kilobyte.
  std::sort(sorted.begin(), sorted.end(), [&](const auto& a, const auto& b) { return name(a) < name(b); });
  places_.resize(size);
  figures_.reserve(size);
  for (const auto& [named, by_number] : sorted) {
    const SeriesTable::Entry& entry = named->second;
    places_[by_number] = figures_.size();
    Series& series = figures_.emplace_back();
    series.ns = entry.ns;
    series.service = entry.service;
    series.revision = entry.revision;
    series.in_force = entry.uses > 0;
    series.http = entry.http;
    series.failed = Named(kFailures, kNone.failed);
    series.http_opaque = Named(kOpaque, kNone.http_opaque);
  }
  activity_.assign(size, 0);
}

Result<FiguresReading> FiguresReading::Read(const Maps& maps, const SeriesTable& table) {
  FiguresReading reading(table);
  RETURN_IF_ERROR(
      maps.ForEachStats([&](uint32_t series, const weir_stats& stats) { reading.Add(series, stats); }));
  RETURN_IF_ERROR(maps.ForEachHttp(
      [&](const weir_http_key& key, const weir_histogram& responses) { reading.Add(key, responses); }));
  return reading;
}

size_t FiguresReading::PlaceOf(uint32_t series) const {
  const auto found = std::lower_bound(numbers_.begin(), numbers_.end(), series);
  if (found == numbers_.end() || *found != series) return kNowhere;
  return places_[static_cast<size_t>(found - numbers_.begin())];
}

void FiguresReading::Add(uint32_t series, const weir_stats& stats) {
  const size_t place = PlaceOf(series);
  if (place == kNowhere) return strange_stats_.push_back(series);
  Fill(stats, figures_[place]);
  figures_[place].http |= SpokeHttp(figures_[place]);
  activity_[place] = Activity(stats);
}

void FiguresReading::Add(const weir_http_key& key, const weir_histogram& responses) {
  const size_t place = PlaceOf(key.series);
  if (place == kNowhere) return strange_http_.push_back(key);
  Fill(responses, figures_[place].http_responses[static_cast<uint16_t>(key.code)]);
}

std::optional<uint64_t> FiguresReading::ActivityOf(uint32_t series) const {
  const size_t place = PlaceOf(series);
  return place == kNowhere ? 0 : activity_[place];
}

Status FiguresReading::Delete(const Maps& maps, const std::vector<uint32_t>& series) const {
  for (const uint32_t number : strange_stats_) RETURN_IF_ERROR(maps.DeleteStats(number));
  for (const weir_http_key& key : strange_http_) RETURN_IF_ERROR(maps.DeleteHttp(key));
  for (const uint32_t number : series) {
    RETURN_IF_ERROR(maps.DeleteStats(number));
    const size_t place = PlaceOf(number);
    if (place == kNowhere) continue;
    for (const auto& [code, responses] : figures_[place].http_responses)
      RETURN_IF_ERROR(maps.DeleteHttp({.series = number, .code = code}));
  }
  return OkStatus();
}

Figures FiguresReading::Take(const std::vector<uint32_t>& without, std::string epoch) && {
  Figures figures{.epoch = std::move(epoch), .series = std::move(figures_)};
  std::vector<bool> gone(figures.series.size());
  for (const uint32_t number : without) {
    if (const size_t place = PlaceOf(number); place != kNowhere) gone[place] = true;
  }
  if (without.empty()) return figures;
  size_t kept = 0;
  for (size_t place = 0; place < gone.size(); ++place) {
    if (gone[place]) continue;
    if (kept != place) figures.series[kept] = std::move(figures.series[place]);
    ++kept;
  }
  figures.series.erase(figures.series.begin() + static_cast<ptrdiff_t>(kept), figures.series.end());
  return figures;
}

}  // namespace weir::datapath
