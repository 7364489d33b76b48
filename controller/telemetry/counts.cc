#include "controller/telemetry/counts.h"

namespace weir::telemetry {
namespace {

constexpr uint32_t kFirstServerError = 500;
constexpr uint32_t kBeyondServerErrors = 600;
constexpr uint64_t kHalf = uint64_t{1} << 63;

template <typename Map>
uint64_t Sum(const Map& map) {
  uint64_t sum = 0;
  for (const auto& [reason, count] : map) sum += count;
  return sum;
}

uint64_t Sum(const v1::Histogram& histogram) {
  uint64_t sum = 0;
  for (const uint64_t count : histogram.counts()) sum += count;
  return sum;
}

/// False where `now` is behind `before`: a step of more than half the numbers is one backwards.
bool Subtract(uint64_t before, uint64_t now, uint64_t& difference) {
  difference = now - before;
  return difference < kHalf;
}

bool Subtract(const Histogram& before, const Histogram& now, Histogram& difference) {
  if (!Subtract(before.sum_ns, now.sum_ns, difference.sum_ns)) return false;
  for (size_t i = 0; i < Histogram::kBuckets; ++i) {
    if (!Subtract(before.counts[i], now.counts[i], difference.counts[i])) return false;
  }
  return true;
}

// LEB128, as protobuf's varints.
void PutNumber(uint64_t number, std::string& out) {
  while (number >= 0x80) {
    out += static_cast<char>(number | 0x80);
    number >>= 7;
  }
  out += static_cast<char>(number);
}

uint64_t TakeNumber(const char*& place) {
  uint64_t number = 0;
  for (unsigned shift = 0;; shift += 7) {
    const auto byte = static_cast<uint8_t>(*place++);
    number |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return number;
  }
}

/// The run from the first to the last bucket that is not empty: sum, where it begins, how long it is, its
/// counts.
void PutHistogram(const Histogram& histogram, std::string& out) {
  size_t begin = 0, end = Histogram::kBuckets;
  while (end > 0 && histogram.counts[end - 1] == 0) --end;
  while (begin < end && histogram.counts[begin] == 0) ++begin;
  PutNumber(histogram.sum_ns, out);
  PutNumber(begin, out);
  PutNumber(end - begin, out);
  for (size_t i = begin; i < end; ++i) PutNumber(histogram.counts[i], out);
}

void TakeHistogram(const char*& place, Histogram& histogram) {
  histogram.sum_ns = TakeNumber(place);
  const size_t begin = TakeNumber(place);
  const size_t size = TakeNumber(place);
  for (size_t i = begin; i < begin + size; ++i) histogram.counts[i] = TakeNumber(place);
}

}  // namespace

void Counts::Add(const Counts& other) {
  for (size_t i = 0; i < kCounters; ++i) counters[i] += other.counters[i];
  connect.Add(other.connect);
  latency.Add(other.latency);
}

Counts FromMessage(const v1::Series& series) {
  Counts counts;
  counts[Counter::kOpened] = series.opened();
  counts[Counter::kClosed] = series.closed();
  counts[Counter::kFailed] = Sum(series.failed());
  if (const auto canceled = series.failed().find("canceled"); canceled != series.failed().end())
    counts[Counter::kCanceled] = canceled->second;
  counts[Counter::kBytesSent] = series.bytes_sent();
  counts[Counter::kBytesReceived] = series.bytes_received();
  counts[Counter::kRetransmits] = series.retransmits();
  counts[Counter::kResetsReceived] = series.resets_received();
  counts[Counter::kDatagramsSent] = series.udp_datagrams_sent();
  counts[Counter::kDatagramsReceived] = series.udp_datagrams_received();
  counts[Counter::kUdpBytesSent] = series.udp_bytes_sent();
  counts[Counter::kUdpBytesReceived] = series.udp_bytes_received();
  counts.connect.Add(series.connect());
  const v1::HttpSeries& http = series.http();
  counts[Counter::kRequests] = http.requests();
  counts[Counter::kNoResponse] = http.no_response();
  counts[Counter::kOpaque] = Sum(http.opaque());
  counts[Counter::kHttpConnections] = http.connections();
  counts[Counter::kErrorConnections] = http.error_connections();
  for (const auto& responses : http.responses()) {
    const uint64_t sum = Sum(responses.latency());
    counts[Counter::kResponses] += sum;
    if (responses.code() >= kFirstServerError && responses.code() < kBeyondServerErrors)
      counts[Counter::kServerErrors] += sum;
    counts.latency.Add(responses.latency());
  }
  return counts;
}

std::optional<Counts> Difference(const Counts& before, const Counts& now) {
  Counts difference;
  for (size_t i = 0; i < kCounters; ++i) {
    if (!Subtract(before.counters[i], now.counters[i], difference.counters[i])) return std::nullopt;
  }
  if (!Subtract(before.connect, now.connect, difference.connect) ||
      !Subtract(before.latency, now.latency, difference.latency)) {
    return std::nullopt;
  }
  return difference;
}

std::string Pack(const Counts& counts) {
  std::string packed;
  for (const uint64_t counter : counts.counters) PutNumber(counter, packed);
  PutHistogram(counts.connect, packed);
  PutHistogram(counts.latency, packed);
  packed.shrink_to_fit();
  return packed;
}

Counts Unpack(const std::string& packed) {
  Counts counts;
  const char* place = packed.data();
  for (uint64_t& counter : counts.counters) counter = TakeNumber(place);
  TakeHistogram(place, counts.connect);
  TakeHistogram(place, counts.latency);
  return counts;
}

}  // namespace weir::telemetry
