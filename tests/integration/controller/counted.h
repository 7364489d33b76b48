// What a node counted of shop/checkout, as its agent would report it: cumulative, sent by simulated agents.
#pragma once

#include <cstdint>
#include <string>

#include "tests/integration/sim_agent.h"

namespace weir::testing {

class Counted {
 public:
  Counted() {
    telemetry_.set_epoch("1");
    telemetry_.set_series_epoch("1");
    telemetry_.set_covers_ms(1000);
  }
  /// So many requests more, each on a connection of its own, `errors` of them answered with a 500.
  void Serve(const std::string& revision, uint64_t requests, uint64_t errors,
             const std::string& service = "checkout") {
    v1::Series& series = Of(service, revision);
    series.set_opened(series.opened() + requests);
    series.set_closed(series.opened() - 1);  // one stays open
    v1::HttpSeries& http = *series.mutable_http();
    http.set_requests(http.requests() + requests);
    http.set_connections(http.connections() + requests);
    http.set_error_connections(http.error_connections() + errors);
    if (http.responses().empty()) {
      for (uint32_t code : {200, 500}) {
        http.add_responses()->set_code(code);
        http.mutable_responses()->rbegin()->mutable_latency()->set_first(44);  // up to 2 ms
        http.mutable_responses()->rbegin()->mutable_latency()->add_counts(0);
      }
    }
    Respond(*http.mutable_responses(0), requests - errors);
    Respond(*http.mutable_responses(1), errors);
  }
  void Fail(const std::string& revision, const std::string& reason, uint64_t times) {
    (*Of("checkout", revision).mutable_failed())[reason] += times;
  }
  void SendBy(SimAgent& agent) const { agent.Send(telemetry_); }

 private:
  v1::Series& Of(const std::string& service, const std::string& revision) {
    for (auto& series : *telemetry_.mutable_series()) {
      if (series.key().revision() == revision && series.key().service() == service) return series;
    }
    v1::Series& series = *telemetry_.add_series();
    series.mutable_key()->set_namespace_("shop");
    series.mutable_key()->set_service(service);
    series.mutable_key()->set_revision(revision);
    return series;
  }
  static void Respond(v1::HttpResponses& responses, uint64_t times) {
    responses.mutable_latency()->set_counts(0, responses.latency().counts(0) + times);
  }

  v1::Telemetry telemetry_;
};

}  // namespace weir::testing
