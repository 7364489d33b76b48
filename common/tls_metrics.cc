#include "common/tls_metrics.h"

#include "common/metrics.h"

namespace weir {
namespace {

void Add(prometheus::MetricFamily& family, const char* file, const std::optional<WallTime>& not_after) {
  if (!not_after) return;
  prometheus::ClientMetric metric;
  metric.label = {{"file", file}};
  metric.gauge.value =
      std::chrono::duration_cast<std::chrono::duration<double>>(not_after->time_since_epoch()).count();
  family.metric.push_back(std::move(metric));
}

}  // namespace

std::vector<prometheus::MetricFamily> TlsMetrics::Collect() const {
  if (files_ == nullptr || !files_->flags().client_tls()) return {};
  const auto contents = files_->contents();
  prometheus::MetricFamily expiration{"weir_tls_certificate_expiration_timestamp_seconds",
                                      "When the certificate in force ends; of a bundle of CAs, the last.",
                                      prometheus::MetricType::Gauge,
                                      {}};
  Add(expiration, "cert", contents->cert_not_after);
  Add(expiration, "ca", contents->ca_not_after);
  return {std::move(expiration),
          CounterFamily("weir_tls_reloads_total", "Times the TLS files had changed and were taken.",
                        static_cast<double>(files_->reloads())),
          CounterFamily("weir_tls_reload_errors_total",
                        "Looks at TLS files that could not be used; those read before stay in force.",
                        static_cast<double>(files_->reload_errors()))};
}

}  // namespace weir
