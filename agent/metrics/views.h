// The families in which the figures of revisions are shown: Weir's own names and, if asked, Istio's.
// README.md lists them. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/datapath/datapath.h"
#include "agent/metrics/buckets.h"
#include "agent/metrics/series_registry.h"
#include "agent/stream/split_book.h"
#include "common/exposition.h"

namespace weir::metrics {

/// Bounds of OpenTelemetry's semantic convention for http.client.request.duration, 5 ms to 10 s.
Buckets OtelBuckets();
/// Powers of two from 2^-13 s (122 us) to 32 s: finer, and every count exact.
Buckets ExactBuckets();

/// Weir's families. `http`: for http_client_request_duration_seconds.
void WriteWeirView(ExpositionWriter& writer, const std::vector<SeriesRegistry::Shown>& shown,
                   const Buckets& http);

/// Splits with two variants and more, as observed on this node; frontends that the book does not know are
/// left out. At most `max` variants; returns how many more there were.
size_t WriteSplits(ExpositionWriter& writer, const std::vector<datapath::SplitCount>& counts,
                   const stream::SplitBook& book, size_t max);

/// Istio's families. `reporter`: "source" or "destination". Series whose role was never known are left out,
/// as it decides what they are called.
void WriteIstioView(ExpositionWriter& writer, const std::vector<SeriesRegistry::Shown>& shown,
                    std::string_view reporter);

}  // namespace weir::metrics
