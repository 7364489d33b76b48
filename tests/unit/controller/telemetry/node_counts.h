// A node's counters as its agent would tell them.
#pragma once

#include <map>
#include <string>

#include "controller/telemetry/cluster.h"

namespace weir::telemetry {

/// Cumulative counters of one node; revisions of service shop/checkout.
class NodeCounts {
 public:
  explicit NodeCounts(std::string epoch) : epoch_(std::move(epoch)) {}

  /// Connections that are opened and closed, with one request each, `errors` of them answered 503, in
  /// `bucket`.
  void Serve(const std::string& revision, uint64_t connections, uint64_t errors = 0, uint32_t bucket = 40) {
    v1::Series& series = Of(revision);
    series.set_opened(series.opened() + connections);
    series.set_closed(series.closed() + connections);
    series.set_bytes_sent(series.bytes_sent() + 100 * connections);
    v1::HttpSeries& http = *series.mutable_http();
    http.set_requests(http.requests() + connections);
    Respond(http, 200, connections - errors, bucket);
    Respond(http, 503, errors, bucket);
  }
  void Open(const std::string& revision, uint64_t connections) {
    Of(revision).set_opened(Of(revision).opened() + connections);
  }
  void Fail(const std::string& revision, const std::string& reason, uint64_t connects) {
    (*Of(revision).mutable_failed())[reason] += connects;
  }
  v1::Series& Of(const std::string& revision) {
    v1::Series& series = series_[revision];
    *series.mutable_key() = Key(revision);
    return series;
  }
  static v1::SeriesKey Key(const std::string& revision) {
    v1::SeriesKey key;
    key.set_namespace_("shop");
    key.set_service("checkout");
    key.set_revision(revision);
    return key;
  }
  /// The node reboots: all begins anew.
  void Restart(std::string epoch) {
    epoch_ = std::move(epoch);
    series_.clear();
  }
  /// The next message says that the revision is no more.
  void Forget(const std::string& revision) {
    series_.erase(revision);
    *forgotten_.add_forgotten() = Key(revision);
  }

  v1::Telemetry Message(uint64_t covers_ms = 0) {
    v1::Telemetry telemetry;
    telemetry.Swap(&forgotten_);
    telemetry.set_epoch("splits");
    telemetry.set_series_epoch(epoch_);
    telemetry.set_covers_ms(covers_ms);
    for (const auto& [revision, series] : series_) *telemetry.add_series() = series;
    return telemetry;
  }

 private:
  static void Respond(v1::HttpSeries& http, uint32_t code, uint64_t times, uint32_t bucket) {
    if (times == 0) return;
    v1::HttpResponses* responses = nullptr;
    for (auto& present : *http.mutable_responses()) {
      if (present.code() == code) responses = &present;
    }
    if (responses == nullptr) responses = http.add_responses();
    responses->set_code(code);
    v1::Histogram& latency = *responses->mutable_latency();
    while (latency.first() + static_cast<uint32_t>(latency.counts_size()) <= bucket) latency.add_counts(0);
    latency.set_counts(static_cast<int>(bucket - latency.first()),
                       latency.counts(static_cast<int>(bucket - latency.first())) + times);
    latency.set_sum_ns(latency.sum_ns() + times * 1000);
  }

  std::string epoch_;
  std::map<std::string, v1::Series> series_;
  v1::Telemetry forgotten_;
};

}  // namespace weir::telemetry
