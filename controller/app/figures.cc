#include "controller/app/figures.h"

#include <algorithm>

#include "controller/model/manifest.h"

namespace weir::app {
namespace {

using telemetry::Counter;
using telemetry::Counts;
using telemetry::Second;

constexpr uint32_t kUsualWindow = 10;
constexpr double kMillisecond = 1000;

/// The seconds figures are taken over.
struct Span {
  Second first = 0, end = 0;
  double seconds() const { return static_cast<double>(end - first); }
};

double Ratio(uint64_t part, uint64_t whole) {
  return whole == 0 ? -1 : static_cast<double>(part) / static_cast<double>(whole);
}

double QuantileMs(const telemetry::Histogram& histogram, double quantile) {
  const double seconds = histogram.Quantile(quantile);
  return seconds < 0 ? -1 : seconds * kMillisecond;
}

void FillRates(const Counts& counts, double seconds, v1::Figures& figures) {
  const auto rate = [&](Counter counter) {
    return seconds > 0 ? static_cast<double>(counts[counter]) / seconds : 0;
  };
  figures.set_connections_per_second(rate(Counter::kOpened));
  figures.set_failed_per_second(rate(Counter::kFailed));
  figures.set_failed_ratio(
      Ratio(counts[Counter::kFailed], counts[Counter::kFailed] + counts[Counter::kOpened]));
  figures.set_requests_per_second(rate(Counter::kRequests));
  figures.set_server_errors_per_second(rate(Counter::kServerErrors));
  figures.set_server_error_ratio(Ratio(counts[Counter::kServerErrors], counts[Counter::kResponses]));
  figures.set_no_response_per_second(rate(Counter::kNoResponse));
  figures.set_opaque_per_second(rate(Counter::kOpaque));
  figures.set_latency_p50_ms(QuantileMs(counts.latency, 0.5));
  figures.set_latency_p99_ms(QuantileMs(counts.latency, 0.99));
  figures.set_connect_p50_ms(QuantileMs(counts.connect, 0.5));
  figures.set_connect_p99_ms(QuantileMs(counts.connect, 0.99));
  figures.set_bytes_sent_per_second(rate(Counter::kBytesSent));
  figures.set_bytes_received_per_second(rate(Counter::kBytesReceived));
  figures.set_retransmits_per_second(rate(Counter::kRetransmits));
  figures.set_resets_received_per_second(rate(Counter::kResetsReceived));
  figures.set_udp_datagrams_sent_per_second(rate(Counter::kDatagramsSent));
  figures.set_udp_datagrams_received_per_second(rate(Counter::kDatagramsReceived));
}

/// A revision that is in no split any more is shown while there is something to see.
bool HasLife(const telemetry::Revision& revision) {
  static const Counts kNothing;
  return revision.active > 0 || !(revision.counts == kNothing);
}

void AddService(const Facts& facts, const telemetry::Cluster& cluster, const ObjectKey& service,
                const Span& span, v1::FiguresResponse& response) {
  auto counted = cluster.Sum({service.ns, service.name}, span.first, span.end);
  auto shares = SharesOf(facts, service);
  uint64_t weights = 0, connections = 0;
  for (const auto& share : shares) {
    weights += share.weight;
    connections += share.connections;
  }
  for (const auto& [name, revision] : counted) {
    const bool present = std::any_of(shares.begin(), shares.end(), [&, &wanted = name](const auto& share) {
      return share.revision == wanted;
    });
    if (!present && HasLife(revision)) shares.push_back({.revision = name});
  }
  for (const auto& share : shares) {
    v1::Figures& figures = *response.add_figures();
    figures.set_namespace_(service.ns);
    figures.set_service(service.name);
    figures.set_revision(share.revision);
    figures.set_role(share.role);
    figures.set_weight(share.weight);
    figures.set_weight_sum(static_cast<uint32_t>(weights));
    figures.set_connections_observed(share.connections);
    figures.set_share_observed(Ratio(share.connections, connections));
    const telemetry::Revision& revision = counted[share.revision];
    figures.set_connections_active(revision.active);
    FillRates(revision.counts, span.seconds(), figures);
  }
}

}  // namespace

std::vector<VariantShare> SharesOf(const Facts& facts, const ObjectKey& service) {
  std::vector<VariantShare> shares;
  const auto frontends = facts.core.frontends().find(service);
  if (frontends == facts.core.frontends().end()) return shares;
  for (const auto& [id, frontend] : frontends->second) {
    const auto sum = facts.observed.Sum(frontend);
    for (const auto& variant : frontend.variants()) {
      auto share = std::find_if(shares.begin(), shares.end(),
                                [&](const auto& known) { return known.revision == variant.revision(); });
      if (share == shares.end()) {
        share = shares.insert(
            share, {.revision = variant.revision(), .role = variant.role(), .weight = variant.weight()});
      }
      if (const auto found = sum.find(variant.revision()); found != sum.end())
        share->connections += found->second;
    }
  }
  return shares;
}

Result<v1::FiguresResponse> FiguresOf(const Facts& facts, telemetry::Cluster& cluster,
                                      const v1::FiguresRequest& request, MonotonicTime now) {
  const uint32_t window = request.window_seconds() == 0 ? kUsualWindow : request.window_seconds();
  if (window > telemetry::Ring::kSeconds) {
    return InvalidArgument("window_seconds: found {}, expected 1 to {}", window, telemetry::Ring::kSeconds);
  }
  Span span;
  span.end = cluster.Settled(now);
  span.first = std::min(std::max(span.end - window, cluster.Begin(now)), span.end);
  v1::FiguresResponse response;
  response.set_window_ms(static_cast<uint32_t>((span.end - span.first) * 1000));
  bool found = false;
  for (const auto& [key, frontends] : facts.core.frontends()) {
    if (!request.namespace_().empty() && request.namespace_() != key.ns) continue;
    if (!request.service().empty() && request.service() != key.name) continue;
    found = true;
    AddService(facts, cluster, key, span, response);
  }
  if (!found && !request.service().empty()) {
    return NotFound(
        "no service {} {}", request.service(),
        request.namespace_().empty() ? "in any namespace" : "in namespace " + request.namespace_());
  }
  return response;
}

}  // namespace weir::app
