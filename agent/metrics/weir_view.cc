#include <algorithm>
#include <cmath>
#include <span>

#include "agent/metrics/views.h"

namespace weir::metrics {
namespace {

using datapath::Series;
using prometheus::MetricType;
using Shown = SeriesRegistry::Shown;

struct CounterField {
  const char* name;
  const char* help;
  uint64_t Series::*value;
};

constexpr CounterField kTcp[] = {
    {"weir_connections_opened_total", "TCP connections established.", &Series::opened},
    {"weir_connections_closed_total", "TCP connections that were established and are over.", &Series::closed},
    {"weir_bytes_sent_total", "TCP payload sent by clients, each byte once.", &Series::bytes_sent},
    {"weir_bytes_received_total", "TCP payload received by clients, each byte once.",
     &Series::bytes_received},
    {"weir_retransmits_total", "TCP segments that clients sent again.", &Series::retransmits},
    {"weir_resets_received_total", "RST segments that clients received.", &Series::resets_received},
};
constexpr CounterField kUdp[] = {
    {"weir_udp_datagrams_sent_total", "UDP datagrams sent by clients.", &Series::udp_datagrams_sent},
    {"weir_udp_datagrams_received_total", "UDP datagrams received by clients.",
     &Series::udp_datagrams_received},
    {"weir_udp_bytes_sent_total", "UDP payload sent by clients.", &Series::udp_bytes_sent},
    {"weir_udp_bytes_received_total", "UDP payload received by clients.", &Series::udp_bytes_received},
};
constexpr CounterField kHttp[] = {
    {"weir_http_requests_total", "HTTP/1.x requests.", &Series::http_requests},
    {"weir_http_requests_without_response_total", "HTTP/1.x requests whose connection ended first.",
     &Series::http_no_response},
    {"weir_http_connections_total", "Connections with at least one HTTP/1.x response.",
     &Series::http_connections},
    {"weir_http_error_connections_total", "Connections with at least one 5xx response.",
     &Series::http_error_connections},
};

bool Always(const Series&) { return true; }
bool HasHttp(const Series& series) { return series.http; }
bool HasUdp(const Series& series) {
  return series.udp_datagrams_sent != 0 || series.udp_datagrams_received != 0;
}

void WriteCounters(ExpositionWriter& writer, const std::vector<Shown>& shown,
                   std::span<const CounterField> fields, bool (*wanted)(const Series&)) {
  for (const CounterField& field : fields) {
    writer.Family(field.name, MetricType::Counter, field.help);
    for (const Shown& one : shown) {
      if (wanted(*one.series)) writer.Add(one.labels->weir, one.series->*field.value);
    }
  }
}

void WriteReasons(ExpositionWriter& writer, const std::vector<Shown>& shown,
                  std::vector<Series::Failure> Series::*reasons, bool (*wanted)(const Series&)) {
  std::string labels;
  for (const Shown& one : shown) {
    if (!wanted(*one.series)) continue;
    for (const Series::Failure& failure : one.series->*reasons) {
      labels = one.labels->weir;
      AppendLabel(labels, "reason", failure.reason);
      writer.Add(labels, failure.count);
    }
  }
}

/// One that never observed anything is left out.
void WriteDurations(ExpositionWriter& writer, const std::vector<Shown>& shown,
                    datapath::Histogram Series::*histogram, const Buckets& buckets) {
  for (const Shown& one : shown) {
    if ((one.series->*histogram).count() != 0)
      buckets.Write(writer, one.labels->weir, one.series->*histogram);
  }
}

/// Powers of two from 2^-16 s (15 us) to 16 s, every second one: what connecting and round trips take.
const Buckets& NetworkBuckets() {
  static const Buckets buckets([] {
    std::vector<double> bounds;
    for (int exponent = -16; exponent <= 4; exponent += 2) bounds.push_back(std::exp2(exponent));
    return bounds;
  }());
  return buckets;
}

void WriteResponses(ExpositionWriter& writer, const std::vector<Shown>& shown, const Buckets& buckets) {
  writer.Family("http_client_request_duration_seconds", MetricType::Histogram,
                "First byte of an HTTP/1.x request to first byte of its response, by status code.");
  std::string labels;
  for (const Shown& one : shown) {
    for (const auto& [code, latency] : one.responses) {
      labels = one.labels->weir;
      AppendLabel(labels, "http_response_status_code", std::to_string(code));
      buckets.Write(writer, labels, *latency);
    }
  }
}

}  // namespace

Buckets OtelBuckets() {
  return Buckets({0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10});
}

Buckets ExactBuckets() {
  std::vector<double> bounds;
  for (int exponent = -13; exponent <= 5; ++exponent) bounds.push_back(std::exp2(exponent));
  return Buckets(bounds);
}

void WriteWeirView(ExpositionWriter& writer, const std::vector<Shown>& shown, const Buckets& http) {
  WriteCounters(writer, shown, kTcp, Always);
  writer.Family("weir_connections_active", MetricType::Gauge, "TCP connections open now.");
  for (const Shown& one : shown) {
    const Series& series = *one.series;  // read while the kernel counts on: closed may be a moment ahead
    writer.Add(one.labels->weir, series.opened - std::min(series.opened, series.closed));
  }
  writer.Family("weir_connections_failed_total", MetricType::Counter,
                "TCP connects that came to nothing, by reason.");
  WriteReasons(writer, shown, &Series::failed, Always);
  writer.Family("weir_connect_duration_seconds", MetricType::Histogram, "SYN to established.");
  WriteDurations(writer, shown, &Series::connect, NetworkBuckets());
  writer.Family("weir_tcp_rtt_seconds", MetricType::Histogram,
                "Smoothed round trip time, once per connection, as it closes.");
  WriteDurations(writer, shown, &Series::srtt, NetworkBuckets());
  WriteCounters(writer, shown, kUdp, HasUdp);
  WriteCounters(writer, shown, kHttp, HasHttp);
  writer.Family("weir_http_opaque_connections_total", MetricType::Counter,
                "Connections whose HTTP could not be followed (any further), by reason.");
  WriteReasons(writer, shown, &Series::http_opaque, HasHttp);
  WriteResponses(writer, shown, http);
}

size_t WriteSplits(ExpositionWriter& writer, const std::vector<datapath::SplitCount>& counts,
                   const stream::SplitBook& book, size_t max) {
  struct Line {
    std::string labels;
    const datapath::SplitCount::Entry* entry;
  };
  std::vector<Line> lines;
  size_t dropped = 0;
  for (const datapath::SplitCount& count : counts) {
    const stream::SplitBook::Split* split = book.Find(count.key);
    if (split == nullptr || count.variants.size() < 2) continue;
    for (const datapath::SplitCount::Entry& entry : count.variants) {
      if (lines.size() >= max) {
        ++dropped;
        continue;
      }
      std::string& labels = lines.emplace_back(Line{{}, &entry}).labels;
      AppendLabel(labels, "namespace", split->ns);
      AppendLabel(labels, "service", split->service);
      AppendLabel(labels, "revision", entry.revision);
      AppendLabel(labels, "variant", VariantLabel(book.RoleOf(split->ns, split->service, entry.revision)));
      AppendLabel(labels, "address", count.key.address.address.ToString());
      AppendLabel(labels, "port", std::to_string(count.key.address.port));
      AppendLabel(labels, "protocol", count.key.protocol == Protocol::kTcp ? "tcp" : "udp");
      AppendLabel(labels, "consumer_namespace", split->consumer_ns);
    }
  }
  writer.Family("weir_split_connections_total", MetricType::Counter,
                "Connections and flows given to the variant since the split's present weights began.");
  for (const Line& line : lines) writer.Add(line.labels, line.entry->connections);
  writer.Family("weir_split_weight", MetricType::Gauge, "The variant's weight, of the sum of its split's.");
  for (const Line& line : lines) writer.Add(line.labels, uint64_t{line.entry->weight});
  return dropped;
}

}  // namespace weir::metrics
