// Figures for tests and the bench.
#pragma once

#include <string>

#include "agent/datapath/datapath.h"

namespace weir {

/// The bucket of 2^(i/4) * 2^-20 s in which so many milliseconds fall.
inline size_t BucketOf(double milliseconds) {
  double bound = 1.0 / (1 << 20);
  size_t bucket = 0;
  for (; bound < milliseconds / 1000; bound *= 1.189207115002721) ++bucket;
  return bucket;
}

inline void Observe(datapath::Histogram& histogram, double milliseconds, uint64_t count) {
  histogram.buckets[BucketOf(milliseconds)] += count;
  histogram.sum_ns += static_cast<uint64_t>(milliseconds * 1e6) * count;
}

/// A revision that has served `requests` answered 200 in 3 ms and `errors` answered 503 in 40 ms.
inline datapath::Series MakeSeries(const std::string& service, const std::string& revision, uint64_t requests,
                                   uint64_t errors) {
  datapath::Series series{.ns = "shop", .service = service, .revision = revision, .in_force = true};
  series.failed = {{"refused", errors / 2}, {"timeout", 0},  {"reset", 0},
                   {"unreachable", 0},      {"canceled", 0}, {"other", 0}};
  series.opened = requests / 10;
  series.closed = requests / 20;
  series.bytes_sent = requests * 100;
  series.bytes_received = requests * 1000;
  series.retransmits = errors;
  Observe(series.connect, 0.1, series.opened);
  Observe(series.srtt, 0.2, series.closed);
  series.http = true;
  series.http_requests = requests + errors;
  series.http_connections = series.opened;
  series.http_error_connections = errors;
  series.http_opaque = {
      {"not_http", 0}, {"upgraded", 1}, {"pipelined", 0}, {"bad_response", 0}, {"other", 0}};
  if (requests > 0) Observe(series.http_responses[200], 3, requests);
  if (errors > 0) Observe(series.http_responses[503], 40, errors);
  return series;
}

/// `service` is divided between a stable revision v1 and a canary v2; backends: between two Services of
/// Flagger's.
inline datapath::Frontend MakeSplit(const std::string& service, uint8_t number, bool backends = false) {
  using datapath::Role;
  datapath::Frontend frontend{
      .key = {{*IpAddress::Parse("127.96.0." + std::to_string(number)), 80}, Protocol::kTcp},
      .ns = "shop",
      .service = service};
  if (backends) {
    frontend.variants = {{service + "-canary", 10, {}, Role::kBackend},
                         {service + "-primary", 90, {}, Role::kBackend}};
  } else {
    frontend.variants = {{"v1", 80, {}, Role::kStable}, {"v2", 20, {}, Role::kCanary}};
  }
  return frontend;
}

}  // namespace weir
