// Questions to a Prometheus, or what speaks its HTTP API (Thanos, Mimir, VictoriaMetrics), and its answers as
// values that conditions can be asked about.
#pragma once

#include <boost/json/value.hpp>
#include <functional>
#include <string_view>

#include "common/http_client.h"
#include "controller/analysis/template.h"

namespace weir::prometheus {

/// The call for a query at `now`: instant, or a range. INVALID_ARGUMENT names the field.
Result<HttpCall> MakeCall(const analysis::PrometheusQuery& query, analysis::TimePoint now);

/// As Argo has it: a scalar is a number, a vector the list of its samples' values, a matrix the list of all
/// values of all series, NaN and +-Inf among them. UNAVAILABLE with Prometheus' own words for an error, a
/// status that is none of success, or what is no such answer.
Result<boost::json::value> ReadAnswer(const HttpAnswer& answer);

/// MakeCall, the call, ReadAnswer. `done` is called once, on the io_context's thread, never from within.
void Query(HttpClient& client, const analysis::PrometheusQuery& query, analysis::TimePoint now,
           std::function<void(Result<boost::json::value>)> done);

}  // namespace weir::prometheus
