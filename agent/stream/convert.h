// Wire messages to datapath types and back. Pure functions; errors are INVALID_ARGUMENT and name the
// frontend, the field, what was found and what is expected.
#pragma once

#include "agent/datapath/datapath.h"
#include "agent/stream/telemetry.h"
#include "common/status.h"
#include "weir/v1/agent.pb.h"

namespace weir::stream {

inline constexpr int kMaxVariants = 16;
inline constexpr uint32_t kMaxWeight = 1'000'000;

Result<datapath::FrontendKey> ToKey(const v1::FrontendKey& key);

/// Refuses: an address of another length than 4 or 16, an unspecified or multicast one, port 0, an unknown
/// protocol, more than 16 variants, a weight above 1,000,000, two variants of one revision, an endpoint of
/// the other address family or equal to the frontend's own address (a loop).
Result<datapath::Frontend> ToFrontend(const v1::Frontend& frontend);

v1::FrontendKey FromKey(const datapath::FrontendKey& key);
v1::SplitCount FromSplitCount(const datapath::SplitCount& count);
v1::SeriesKey FromSeriesKey(const SeriesKey& key);
/// Reasons and buckets that are 0 are left out; HTTP is, where it was never looked at.
v1::Series FromSeries(const datapath::Series& series);

/// What one report says, in messages of at most about `max_bytes` (one series more, and the splits), and each
/// of series that were looked at at the same time before: that is what `covers_ms` says. `counts` null:
/// nothing of the splits; else they come with the last part. `series_epoch` empty: figures were not looked
/// at; where they were, and nothing in them is new, that is a message too. Empty when there is nothing to
/// say.
struct TelemetryReport {
  std::string epoch;  // of the counts
  const std::vector<datapath::SplitCount>* counts = nullptr;
  std::string series_epoch;
  SeriesPacer::Report series;
};
std::vector<v1::AgentMessage> FromReport(const TelemetryReport& report, size_t max_bytes);

}  // namespace weir::stream
