// Prometheus metrics of this process: a registry, its text form, and the process_* basics. Target weir_http.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/registry.h>

#include <string>
#include <vector>

#include "common/exposition.h"
#include "common/http.h"

namespace weir {

/// The exposition of everything that the collectables and the sources give, in this order; `buffer`: as
/// ExpositionWriter takes it. A family's name must come from one of them only. The collectables' and the
/// sources' thread.
std::string MetricsText(const std::vector<prometheus::Collectable*>& collectables,
                        const std::vector<MetricsSource*>& sources = {},
                        ExpositionFormat format = ExpositionFormat::kText, std::string buffer = {});

/// A handler for /metrics, which answers in the format that the Accept header prefers. Everything must
/// outlive it. It keeps the memory of the longest answer that came back through HttpResponse::sent, for the
/// next one.
HttpHandler MetricsHandler(std::vector<prometheus::Collectable*> collectables,
                           std::vector<MetricsSource*> sources = {});

/// process_resident_memory_bytes, process_cpu_seconds_total, process_start_time_seconds, process_open_fds,
/// read from /proc/self at each collection; one that cannot be read is left out.
class ProcessMetrics final : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

/// A family of one metric without labels, for Collectables that compute their values when asked.
prometheus::MetricFamily GaugeFamily(std::string name, std::string help, double value);
prometheus::MetricFamily CounterFamily(std::string name, std::string help, double value);

}  // namespace weir
