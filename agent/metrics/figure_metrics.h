// What every revision did, read from the datapath when asked.
#pragma once

#include <cstddef>

#include "agent/datapath/datapath.h"
#include "agent/metrics/series_registry.h"
#include "agent/metrics/views.h"
#include "agent/stream/client.h"
#include "agent/stream/split_book.h"
#include "common/exposition.h"

namespace weir::metrics {

enum class View { kWeir, kIstio, kBoth };
enum class Reporter { kDestination, kSource };
enum class HttpBuckets { kOtel, kExact };

struct FigureOptions {
  View view = View::kWeir;
  Reporter reporter = Reporter::kDestination;
  HttpBuckets buckets = HttpBuckets::kOtel;
  size_t max_series = 20000;  // of revisions and their status codes; and so many variants of splits besides
};

/// One thread (the io_context's). Figures that cannot be read are left out, counted by the observer and said
/// once.
class FigureMetrics final : public MetricsSource {
 public:
  /// The references must outlive it.
  FigureMetrics(datapath::Datapath& datapath, const stream::SplitBook& book, stream::Observer& observer,
                const FigureOptions& options);
  void Write(ExpositionWriter& writer) override;

 private:
  void WriteFigures(ExpositionWriter& writer, const datapath::Figures& figures);
  size_t WriteCounts(ExpositionWriter& writer);

  datapath::Datapath& datapath_;
  const stream::SplitBook& book_;
  stream::Observer& observer_;
  FigureOptions options_;
  Buckets http_buckets_;
  SeriesRegistry registry_;
  bool failing_ = false;
};

}  // namespace weir::metrics
