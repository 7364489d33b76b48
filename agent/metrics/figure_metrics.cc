#include "agent/metrics/figure_metrics.h"

#include <utility>

#include "common/log.h"

namespace weir::metrics {

using prometheus::MetricType;

FigureMetrics::FigureMetrics(datapath::Datapath& datapath, const stream::SplitBook& book,
                             stream::Observer& observer, const FigureOptions& options)
    : datapath_(datapath),
      book_(book),
      observer_(observer),
      options_(options),
      http_buckets_(options.buckets == HttpBuckets::kExact ? ExactBuckets() : OtelBuckets()),
      registry_(options.max_series) {}

void FigureMetrics::Write(ExpositionWriter& writer) {
  const auto figures = datapath_.ReadFigures();
  const bool failed_before = std::exchange(failing_, !figures.ok());
  if (figures.ok()) return WriteFigures(writer, *figures);
  observer_.FiguresUnreadable();
  if (!failed_before) LogWarn("cannot read the figures", {{"error", figures.status()}});
}

void FigureMetrics::WriteFigures(ExpositionWriter& writer, const datapath::Figures& figures) {
  const auto& shown = registry_.Select(figures, book_);
  if (options_.view != View::kIstio) WriteWeirView(writer, shown, http_buckets_);
  if (options_.view != View::kWeir) {
    WriteIstioView(writer, shown, options_.reporter == Reporter::kSource ? "source" : "destination");
  }
  const size_t dropped = registry_.dropped() + WriteCounts(writer);
  writer.Family("weir_agent_series", MetricType::Gauge, "Revisions and status codes shown.");
  writer.Add({}, uint64_t{registry_.shown()});
  writer.Family("weir_agent_series_dropped", MetricType::Gauge,
                "Revisions, status codes and variants left out: more than --max-metrics-series.");
  writer.Add({}, uint64_t{dropped});
}

size_t FigureMetrics::WriteCounts(ExpositionWriter& writer) {
  const auto counts = datapath_.ReadCounts();
  // The stream reads them each second and says what is wrong.
  return counts.ok() ? WriteSplits(writer, *counts, book_, options_.max_series) : 0;
}

}  // namespace weir::metrics
