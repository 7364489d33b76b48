#include "controller/app/providers.h"

#include <utility>

#include "controller/analysis/web/web.h"
#include "controller/prometheus/prometheus.h"

namespace weir::app {

void HttpProviders::Ask(const analysis::Provider& provider, analysis::TimePoint now, Done done) {
  if (const auto* query = std::get_if<analysis::PrometheusQuery>(&provider)) {
    prometheus::Query(client_, *query, now, std::move(done));
  } else {
    analysis::AskWeb(client_, std::get<analysis::WebRequest>(provider), std::move(done));
  }
}

}  // namespace weir::app
