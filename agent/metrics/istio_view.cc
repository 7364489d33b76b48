// Istio's standard metrics (https://istio.io/latest/docs/reference/config/metrics/), as far as a client's
// kernel knows them, so that what queries Istio's can query ours.
#include "agent/metrics/views.h"

namespace weir::metrics {
namespace {

using datapath::Role;
using datapath::Series;
using prometheus::MetricType;
using Shown = SeriesRegistry::Shown;

/// What Envoy reports to a client whose upstream closed the connection without a response: 503, upstream
/// connection termination.
constexpr std::string_view kNoResponseCode = "503";
constexpr std::string_view kNoResponseFlags = "UC";

constexpr std::string_view kCanarySuffix = "-canary";

/// The workload behind a revision. A TrafficSplit's backends are Services, and only their names are known:
/// Flagger calls those of a Deployment X `X-primary`, which is the primary Deployment's name too, and
/// `X-canary`, in front of the Deployment X itself. A Rollout has one workload, which goes by the service's
/// name.
std::string Workload(const Series& series, Role role) {
  if (role != Role::kBackend) return series.service;
  const bool flaggers_canary = series.revision == series.service + std::string(kCanarySuffix);
  return flaggers_canary ? series.service : series.revision;
}

std::string DestinationLabels(const Series& series, Role role, std::string_view reporter) {
  const std::string& service = role == Role::kBackend ? series.revision : series.service;
  std::string labels;
  AppendLabel(labels, "reporter", reporter);
  AppendLabel(labels, "source_workload", "unknown");
  AppendLabel(labels, "source_workload_namespace", "unknown");
  AppendLabel(labels, "destination_workload", Workload(series, role));
  AppendLabel(labels, "destination_workload_namespace", series.ns);
  AppendLabel(labels, "destination_service", service + "." + series.ns + ".svc.cluster.local");
  AppendLabel(labels, "destination_service_name", service);
  AppendLabel(labels, "destination_service_namespace", series.ns);
  AppendLabel(labels, "destination_version", series.revision);
  AppendLabel(labels, "connection_security_policy", "none");
  return labels;
}

/// Interim responses precede the one that counts; 101 ends its request.
bool IsFinal(uint16_t code) { return code >= 200 || code == 101; }

/// Envoy's default bounds, in milliseconds, as far as the kernel's histogram reaches.
const Buckets& EnvoyBuckets() {
  static const Buckets buckets({0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000},
                               0.001);
  return buckets;
}

struct Destination {
  const Shown* shown;
  std::string labels;
};

std::string RequestLabels(const Destination& destination, std::string_view code, std::string_view flags) {
  std::string labels = destination.labels;
  AppendLabel(labels, "request_protocol", "http");
  AppendLabel(labels, "response_code", code);
  AppendLabel(labels, "response_flags", flags);
  return labels;
}

void WriteRequests(ExpositionWriter& writer, const std::vector<Destination>& destinations) {
  writer.Family("istio_requests_total", MetricType::Counter, "Requests.");
  for (const Destination& destination : destinations) {
    for (const auto& [code, latency] : destination.shown->responses) {
      if (!IsFinal(code)) continue;
      writer.Add(RequestLabels(destination, std::to_string(code), "-"), latency->count());
    }
    const Series& series = *destination.shown->series;
    if (series.http_no_response != 0) {
      writer.Add(RequestLabels(destination, kNoResponseCode, kNoResponseFlags), series.http_no_response);
    }
  }
  writer.Family("istio_request_duration_milliseconds", MetricType::Histogram,
                "First byte of a request to first byte of its response.");
  for (const Destination& destination : destinations) {
    for (const auto& [code, latency] : destination.shown->responses) {
      if (IsFinal(code)) {
        EnvoyBuckets().Write(writer, RequestLabels(destination, std::to_string(code), "-"), *latency);
      }
    }
  }
}

void WriteTcp(ExpositionWriter& writer, std::vector<Destination>& destinations) {
  // Istio counts at the proxy: sent is what goes back to the client, received what comes from it.
  const struct {
    const char* name;
    const char* help;
    uint64_t Series::*value;
  } fields[] = {
      {"istio_tcp_connections_opened_total", "TCP connections opened.", &Series::opened},
      {"istio_tcp_connections_closed_total", "TCP connections closed.", &Series::closed},
      {"istio_tcp_sent_bytes_total", "Bytes sent to clients.", &Series::bytes_received},
      {"istio_tcp_received_bytes_total", "Bytes received from clients.", &Series::bytes_sent},
  };
  for (Destination& destination : destinations) {
    AppendLabel(destination.labels, "request_protocol", "tcp");
    AppendLabel(destination.labels, "response_flags", "-");
  }
  for (const auto& field : fields) {
    writer.Family(field.name, MetricType::Counter, field.help);
    for (const Destination& destination : destinations) {
      writer.Add(destination.labels, destination.shown->series->*field.value);
    }
  }
}

}  // namespace

void WriteIstioView(ExpositionWriter& writer, const std::vector<Shown>& shown, std::string_view reporter) {
  std::vector<Destination> destinations;
  for (const Shown& one : shown) {
    const Role role = one.labels->last_role;
    if (role == Role::kNone) continue;
    destinations.push_back({&one, DestinationLabels(*one.series, role, reporter)});
  }
  WriteRequests(writer, destinations);
  WriteTcp(writer, destinations);
}

}  // namespace weir::metrics
