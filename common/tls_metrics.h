// Of the certificates in force: target weir_http.
#pragma once

#include <prometheus/collectable.h>

#include <memory>
#include <vector>

#include "common/tls_files.h"

namespace weir {

/// weir_tls_certificate_expiration_timestamp_seconds, weir_tls_reloads_total, weir_tls_reload_errors_total;
/// nothing where no file is named, or `files` is null. Any thread.
class TlsMetrics final : public prometheus::Collectable {
 public:
  explicit TlsMetrics(std::shared_ptr<const TlsFiles> files) : files_(std::move(files)) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  std::shared_ptr<const TlsFiles> files_;
};

}  // namespace weir
