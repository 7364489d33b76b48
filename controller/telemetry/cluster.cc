#include "controller/telemetry/cluster.h"

#include <algorithm>

namespace weir::telemetry {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr seconds kLeastPatience{3};                 // with a node that is late
constexpr seconds kMostPatience{30};                 //
constexpr seconds kUsualInterval{15};                // of a node that has not reported twice
constexpr std::chrono::milliseconds kLeastGap{500};  // between two reports
constexpr Second kSweepEvery = 10;
// Reports of one series in a row that lie behind what is known. A stream keeps its order, so these are no
// stragglers: the counter went back, and what it says now is the new place to count from.
constexpr int kBehindForGood = 3;

std::string KeyText(const v1::SeriesKey& key) {
  std::string text;
  text.reserve(key.namespace_().size() + key.service().size() + key.revision().size() + 2);
  return text.append(key.namespace_())
      .append(1, '\0')
      .append(key.service())
      .append(1, '\0')
      .append(key.revision());
}

uint64_t Active(const Counts& counts) {
  // `closed` may have been read a moment after `opened`.
  const uint64_t opened = counts[Counter::kOpened], closed = counts[Counter::kClosed];
  return opened - closed < (uint64_t{1} << 63) ? opened - closed : 0;
}

/// The splits come with the last message of a report, and a stream's first report has them.
bool EndsFirstReport(const v1::Telemetry& telemetry) {
  return !telemetry.epoch().empty() && !telemetry.series_epoch().empty();
}

}  // namespace

Second SecondOf(MonotonicTime time) { return std::chrono::floor<seconds>(time.time_since_epoch()).count(); }
MonotonicTime BeginOf(Second second) { return MonotonicTime(seconds(second)); }

Cluster::Series* Cluster::FindExisting(const v1::SeriesKey& key) {
  const auto found = series_.find(KeyText(key));
  return found == series_.end() ? nullptr : &found->second;
}

Cluster::Series* Cluster::Find(const v1::SeriesKey& key, Second now) {
  std::string text = KeyText(key);
  if (const auto found = series_.find(text); found != series_.end()) return &found->second;
  if (series_.size() >= options_.max_series) return nullptr;
  Series& series = series_[std::move(text)];
  series.service = {key.namespace_(), key.service()};
  series.revision = key.revision();
  series.touched = now;
  services_[series.service][series.revision] = &series;
  return &series;
}

void Cluster::Drop(Node& node, std::unordered_map<Series*, Last>::iterator which) {
  Series& series = *which->first;
  if (!node.quiet) series.active -= which->second.active;
  --series.holders;
  node.series.erase(which);
}

void Cluster::DropAll(Node& node) {
  while (!node.series.empty()) Drop(node, node.series.begin());
}

void Cluster::SetQuiet(Node& node, bool quiet) {
  if (std::exchange(node.quiet, quiet) == quiet) return;
  for (auto& [series, last] : node.series) {
    if (quiet) {
      series->active -= last.active;
    } else {
      series->active += last.active;
    }
  }
}

Cluster::Reading Cluster::Prepare(Node& node, bool known, MonotonicTime stream,
                                  const v1::Telemetry& telemetry, MonotonicTime now) {
  Reading reading;
  reading.last = SecondOf(now);
  reading.first = reading.last;
  if (!known) {
    // What of it was before this view began, or was in the one before it, cannot be told.
    ++statistics_.baselines;
    if (telemetry.series_epoch() != node.epoch) DropAll(node);  // of a first report that was cut off
    node.epoch = telemetry.series_epoch();
    node.interval = kUsualInterval;
    if (telemetry.covers_ms() > 0) node.interval = std::chrono::milliseconds(telemetry.covers_ms());
    node.gap = node.interval;
    return reading;
  }
  reading.from_zero = !node.refused;
  const nanoseconds elapsed = now - node.heard;
  nanoseconds covers = elapsed;
  // A new stream brings all that happened in between. More than since the message before: a report came in
  // several, by the time they cover.
  if (stream == node.stream && telemetry.covers_ms() > 0)
    covers = std::min<nanoseconds>(now - stream, std::chrono::milliseconds(telemetry.covers_ms()));
  reading.first = std::min(SecondOf(now - covers) + 1, reading.last);
  // The pace at which the node speaks. What it looks at seldom covers more time than that, and a message that
  // follows at once is of the same report.
  if (elapsed >= kLeastGap) node.gap = elapsed;
  node.interval = std::min(covers, node.gap);
  if (telemetry.series_epoch() != node.epoch) {
    ++statistics_.epochs;
    DropAll(node);
    // Two agents under one name take turns: what the one did while the other was heard is not known.
    if (telemetry.series_epoch() == node.previous_epoch) {
      reading.from_zero = false;
      ++statistics_.baselines;
    } else {
      reading.from_zero = true;
      node.refused = false;
    }
    node.previous_epoch = std::exchange(node.epoch, telemetry.series_epoch());
  }
  return reading;
}

void Cluster::Report(const std::string& name, MonotonicTime stream, const v1::Telemetry& telemetry,
                     MonotonicTime now) {
  // An agent that counts nothing.
  if (telemetry.series_epoch().empty() && telemetry.series().empty()) return;
  Sweep(now);
  ++statistics_.reports;
  const auto [found, fresh] = nodes_.try_emplace(name);
  Node& node = found->second;
  if (!fresh && stream < node.stream) {
    ++statistics_.stale;  // from the stream that was replaced
    return;
  }
  SetQuiet(node, false);
  const bool new_stream = fresh || stream != node.stream;
  // A stream's first report may come in parts: all of them are taken as the first of them is.
  const bool goes_on = node.opening && !new_stream;
  const Reading reading = goes_on ? node.opening_as : Prepare(node, node.whole, stream, telemetry, now);
  if (!goes_on) ++node.reports;
  node.opening_as = reading;
  node.opening = (new_stream || goes_on) && !EndsFirstReport(telemetry);
  node.stream = stream;
  node.heard = now;
  if (begin_ == 0) begin_ = reading.last + 1;

  for (const auto& key : telemetry.forgotten()) {
    Series* series = FindExisting(key);
    if (auto which = node.series.find(series); which != node.series.end()) Drop(node, which);
  }
  for (const auto& series : telemetry.series()) Take(node, reading, series);
  if (node.opening || !(new_stream || goes_on)) return;
  node.whole = true;
  // Nothing is left out of a stream's first report: what is not in it was forgotten on the way.
  for (auto which = node.series.begin(); which != node.series.end();) {
    const auto present = which++;
    if (present->second.report != node.reports) Drop(node, present);
  }
}

void Cluster::Take(Node& node, const Reading& reading, const v1::Series& message) {
  Series* series = Find(message.key(), reading.last);
  auto which = series == nullptr ? node.series.end() : node.series.find(series);
  if (series == nullptr ||
      (which == node.series.end() && node.series.size() >= options_.max_series_of_node)) {
    ++statistics_.refused;
    node.refused = true;
    return;
  }
  const Counts counts = FromMessage(message);
  if (which == node.series.end()) {
    which = node.series.try_emplace(series).first;
    ++series->holders;
    if (reading.from_zero && !node.refused) AddTo(*series, counts, reading);
  } else {
    which->second.report = node.reports;
    if (const auto difference = Difference(Unpack(which->second.packed), counts)) {
      AddTo(*series, *difference, reading);
    } else {
      ++statistics_.stale;
      if (++which->second.behind < kBehindForGood) return;
    }
  }
  Last& last = which->second;
  const uint64_t active = Active(counts);
  series->active += active - last.active;
  last = {.packed = Pack(counts), .active = active, .report = node.reports, .behind = 0};
}

void Cluster::AddTo(Series& series, const Counts& counts, const Reading& reading) {
  static const Counts kNothing;
  if (counts == kNothing) return;
  series.total.Add(counts);
  series.ring.Add(counts, reading.first, reading.last);
  series.touched = reading.last;
}

void Cluster::Forget(const std::string& name) {
  const auto found = nodes_.find(name);
  if (found == nodes_.end()) return;
  DropAll(found->second);
  nodes_.erase(found);
}

void Cluster::Sweep(MonotonicTime now) {
  const Second second = SecondOf(now);
  if (second < next_sweep_) return;
  next_sweep_ = second + kSweepEvery;
  for (auto at = nodes_.begin(); at != nodes_.end();) {
    const auto node = at++;
    const auto unheard = now - node->second.heard;
    if (unheard > options_.forget_node) {
      DropAll(node->second);
      nodes_.erase(node);
    } else if (unheard > options_.quiet) {
      SetQuiet(node->second, true);
    }
  }
  for (auto at = series_.begin(); at != series_.end();) {
    const auto entry = at++;
    Series& series = entry->second;
    series.ring.Age(second);
    if (series.holders > 0 || second - series.touched <= options_.forget_series.count()) continue;
    const auto service = services_.find(series.service);
    service->second.erase(series.revision);
    if (service->second.empty()) services_.erase(service);
    series_.erase(entry);
  }
}

Second Cluster::Settled(MonotonicTime now) {
  Second settled = SecondOf(now);
  for (const auto& [name, node] : nodes_) {
    const auto patience = std::clamp<nanoseconds>(3 * node.interval, kLeastPatience, kMostPatience);
    if (now - node.heard <= patience) settled = std::min(settled, SecondOf(node.heard));
  }
  settled_ = std::max(settled_, settled);
  return settled_;
}

Second Cluster::Begin(MonotonicTime now) { return begin_ == 0 ? Settled(now) : begin_; }

std::vector<Window> Cluster::Windows(const ServiceKey& service, Second first, Second end) const {
  std::vector<Window> windows;
  const auto found = services_.find(service);
  if (found == services_.end()) return windows;
  Second newest = 0;
  for (const auto& [revision, series] : found->second) newest = std::max(newest, series->ring.newest());
  for (Second second = std::max(first, newest - Ring::kSeconds + 1); second < std::min(end, newest + 1);
       ++second) {
    Window window{.second = second, .start = BeginOf(second), .revisions = {}};
    for (const auto& [revision, series] : found->second) {
      Counts counts;
      if (series->ring.Sum(second, second, counts)) window.revisions[revision] = counts;
    }
    if (!window.revisions.empty()) windows.push_back(std::move(window));
  }
  return windows;
}

std::map<std::string, Revision> Cluster::Sum(const ServiceKey& service, Second first, Second end) const {
  std::map<std::string, Revision> result;
  const auto found = services_.find(service);
  if (found == services_.end()) return result;
  for (const auto& [name, series] : found->second) {
    Revision revision{.counts = {}, .active = series->active};
    const bool any = series->ring.Sum(first, end - 1, revision.counts);
    if (any || series->holders > 0) result[name] = revision;
  }
  return result;
}

std::map<std::string, Revision> Cluster::Totals(const ServiceKey& service) const {
  std::map<std::string, Revision> result;
  const auto found = services_.find(service);
  if (found == services_.end()) return result;
  for (const auto& [name, series] : found->second)
    result[name] = {.counts = series->total, .active = series->active};
  return result;
}

std::vector<ServiceKey> Cluster::Services() const {
  std::vector<ServiceKey> keys;
  for (const auto& [key, revisions] : services_) keys.push_back(key);
  return keys;
}

size_t Cluster::bytes() const {
  size_t sum = series_.size() * sizeof(Series);
  for (const auto& [key, series] : series_) sum += series.ring.bytes();
  for (const auto& [name, node] : nodes_) {
    // A map's entry has two pointers more, and a bucket.
    sum += sizeof(Node) + node.series.size() * (sizeof(Last) + 4 * sizeof(void*));
    for (const auto& [series, last] : node.series) sum += last.packed.capacity();
  }
  return sum;
}

}  // namespace weir::telemetry
