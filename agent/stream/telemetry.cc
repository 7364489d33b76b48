#include "agent/stream/telemetry.h"

#include <algorithm>
#include <utility>

namespace weir::stream {
namespace {

/// 64 bits of everything that is sent: an accidental match delays one report by `idle` at most.
class Hash {
 public:
  void Mix(uint64_t value) {
    hash_ ^= value;
    hash_ *= 0x9e3779b97f4a7c15ULL;
    hash_ ^= hash_ >> 29;
  }
  void Mix(const datapath::Histogram& histogram) {
    Mix(histogram.sum_ns);
    Mix(histogram.buckets.first());
    for (const uint64_t count : histogram.buckets.kept()) Mix(count);
  }
  void Mix(const std::vector<datapath::Series::Failure>& failures) {
    for (const datapath::Series::Failure& failure : failures) Mix(failure.count);
  }
  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 0xcbf29ce484222325ULL;
};

uint64_t HashOf(const std::vector<datapath::SplitCount>& counts) {
  Hash hash;
  for (const datapath::SplitCount& count : counts) {
    hash.Mix(std::hash<IpAddress>{}(count.key.address.address));
    hash.Mix(count.key.address.port | (static_cast<uint64_t>(count.key.protocol) << 16) |
             (count.variants.size() << 32));
    for (const datapath::SplitCount::Entry& entry : count.variants) {
      hash.Mix(std::hash<std::string>{}(entry.revision));
      hash.Mix(entry.weight);
      hash.Mix(entry.connections);
    }
  }
  return hash.value();
}

uint64_t HashOf(const datapath::Series& series) {
  Hash hash;
  hash.Mix(series.in_force ? 1 : 0);
  for (const uint64_t value :
       {series.opened, series.closed, series.bytes_sent, series.bytes_received, series.retransmits,
        series.resets_received, series.udp_datagrams_sent, series.udp_datagrams_received,
        series.udp_bytes_sent, series.udp_bytes_received}) {
    hash.Mix(value);
  }
  hash.Mix(series.failed);
  hash.Mix(series.connect);
  hash.Mix(series.srtt);
  if (!series.http) return hash.value();
  for (const uint64_t value : {uint64_t{1}, series.http_requests, series.http_no_response,
                               series.http_connections, series.http_error_connections}) {
    hash.Mix(value);
  }
  hash.Mix(series.http_opaque);
  for (const auto& [code, latency] : series.http_responses) {
    hash.Mix(code);
    hash.Mix(latency);
  }
  return hash.value();
}

}  // namespace

bool TelemetryPacer::ShouldSend(const std::vector<datapath::SplitCount>& counts, MonotonicTime now) {
  const uint64_t hash = HashOf(counts);
  if (sent_at_ && hash == sent_hash_ && now - *sent_at_ < idle_) return false;
  sent_at_ = now;
  sent_hash_ = hash;
  return true;
}

SeriesPacer::Report SeriesPacer::Next(const datapath::Figures& figures, const AtWork& at_work,
                                      MonotonicTime now) {
  if (figures.epoch != epoch_) {
    sent_.clear();
    epoch_ = figures.epoch;
    round_at_.reset();
    looked_at_.reset();
  }
  const bool round = RoundIsDue(now);
  // A series that is new was not there at the last look at all, or at the last round.
  const auto before_round = round_at_, before = std::exchange(looked_at_, now);
  if (round) round_at_ = now;
  ++calls_;

  Report report;
  for (const datapath::Series& series : figures.series) {
    SeriesKey key{series.ns, series.service, series.revision};
    auto known = sent_.find(key);
    if (known != sent_.end()) known->second.seen = calls_;
    const bool works = at_work(series.ns, series.service);
    if (!round && !works) continue;
    const uint64_t hash = HashOf(series);
    const auto& unknown_since = works ? before : before_round;
    const MonotonicTime since = known != sent_.end() ? known->second.looked_at : unknown_since.value_or(now);
    if (known != sent_.end()) known->second.looked_at = now;
    if (known != sent_.end() && known->second.hash == hash) continue;
    sent_[std::move(key)] = {hash, calls_, now};
    report.changed.push_back({&series, now - since});
  }
  std::stable_sort(report.changed.begin(), report.changed.end(),
                   [](const Changed& a, const Changed& b) { return a.covers > b.covers; });
  std::erase_if(sent_, [&](const auto& entry) {
    if (entry.second.seen == calls_) return false;
    report.forgotten.push_back(entry.first);
    return true;
  });
  return report;
}

void SeriesPacer::Reset() {
  round_at_.reset();
  looked_at_.reset();
  epoch_.clear();
  sent_.clear();
}

}  // namespace weir::stream
