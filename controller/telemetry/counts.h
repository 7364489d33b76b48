// What one revision of a service did: counters and latencies, of one node or of all, since a beginning or
// over a time.
//
// Pure; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "controller/telemetry/histogram.h"
#include "weir/v1/agent.pb.h"

namespace weir::telemetry {

enum class Counter : size_t {
  kOpened,             // TCP connections
  kClosed,             //
  kFailed,             // connects, for whatever reason
  kBytesSent,          // TCP payload
  kBytesReceived,      //
  kRetransmits,        //
  kResetsReceived,     //
  kDatagramsSent,      // UDP
  kDatagramsReceived,  //
  kUdpBytesSent,       //
  kUdpBytesReceived,   //
  kRequests,           // HTTP, begun
  kResponses,          // HTTP, begun: as many as `latency` counts
  kServerErrors,       // of these, with a 5xx
  kNoResponse,         // requests whose connection ended first
  kOpaque,             // connections of an HTTP service that were not read to their end
  kHttpConnections,    // with at least one response
  kErrorConnections,   // of these, with at least one 5xx
  kCanceled,           // of the failed connects, those that the client itself gave up
};
constexpr size_t kCounters = 19;

struct Counts {
  std::array<uint64_t, kCounters> counters{};
  Histogram connect;  // durations of successful connects
  Histogram latency;  // first byte of the request to first byte of the response, whatever the status

  bool operator==(const Counts&) const = default;

  uint64_t& operator[](Counter counter) { return counters[static_cast<size_t>(counter)]; }
  uint64_t operator[](Counter counter) const { return counters[static_cast<size_t>(counter)]; }
  void Add(const Counts& other);
};

/// Reasons of failure, of opacity and status codes are added up: the sums grow when their parts do.
Counts FromMessage(const v1::Series& series);

/// What was counted between two reports, `before` being the older. Counters wrap at 2^64. nullopt where one
/// of them went back, by which a report from before `before` is known.
std::optional<Counts> Difference(const Counts& before, const Counts& now);

/// A tenth of the size: most buckets are empty, most numbers small. Unpack(Pack(c)) == c.
std::string Pack(const Counts& counts);
Counts Unpack(const std::string& packed);

}  // namespace weir::telemetry
