// What the controller pays for agents' counters: a message parsed and folded into the cluster's view.
#include <fmt/format.h>
#include <time.h>

#include <chrono>
#include <random>

#include "controller/telemetry/cluster.h"
#include "tests/bench/control_sections.h"
#include "tests/bench/stats.h"
#include "tests/bench/worker.h"

namespace weir::bench {
namespace {

/// CPU time of this thread: what else the machine does does not count.
std::chrono::nanoseconds CpuTime() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

constexpr int kServices = 2;  // of two revisions each: "a few series" of a node in a rollout

/// `count` durations, most within one doubling, a tail above.
void AddDurations(v1::Histogram& histogram, int count, std::mt19937& random) {
  constexpr uint32_t kFirst = 28, kRun = 36;  // 0.1 ms to 60 ms
  histogram.set_first(kFirst);
  while (histogram.counts_size() < static_cast<int>(kRun)) histogram.add_counts(0);
  std::geometric_distribution<int> tail(0.2);
  for (int i = 0; i < count; ++i) {
    const int bucket = std::min(static_cast<int>(kRun) - 1, 4 + tail(random));
    histogram.set_counts(bucket, histogram.counts(bucket) + 1);
    histogram.set_sum_ns(histogram.sum_ns() + 1'000'000);
  }
}

void AddTraffic(v1::Series& series, int requests, std::mt19937& random) {
  series.set_opened(series.opened() + static_cast<uint64_t>(requests));
  series.set_closed(series.opened());
  series.set_bytes_sent(series.bytes_sent() + 300 * static_cast<uint64_t>(requests));
  series.set_bytes_received(series.bytes_received() + 5000 * static_cast<uint64_t>(requests));
  (*series.mutable_failed())["refused"] += 1;
  AddDurations(*series.mutable_connect(), requests, random);
  AddDurations(*series.mutable_srtt(), requests, random);
  v1::HttpSeries& http = *series.mutable_http();
  http.set_requests(series.opened());
  if (http.responses_size() == 0) {
    for (const uint32_t code : {200, 404, 503}) http.add_responses()->set_code(code);
  }
  AddDurations(*http.mutable_responses(0)->mutable_latency(), requests - 2, random);
  for (int i : {1, 2}) AddDurations(*http.mutable_responses(i)->mutable_latency(), 1, random);
}

v1::Telemetry MakeMessage(int node) {
  v1::Telemetry telemetry;
  telemetry.set_epoch("1");
  telemetry.set_series_epoch(fmt::format("epoch-{}", node));
  telemetry.set_covers_ms(1000);
  for (int service = 0; service < kServices; ++service) {
    for (const char* revision : {"7d4b9c6f5d", "5f6c8b7d9c"}) {
      v1::Series& series = *telemetry.add_series();
      series.mutable_key()->set_namespace_("shop");
      series.mutable_key()->set_service(fmt::format("service-{}", service));
      series.mutable_key()->set_revision(revision);
    }
  }
  return telemetry;
}

}  // namespace

void BenchTelemetry(const ControlSettings& settings) {
  std::vector<std::vector<std::string>> rows;
  for (const uint32_t nodes : settings.agents()) {
    const int rounds = settings.quick ? 5 : 20;
    std::mt19937 random(1);
    std::vector<v1::Telemetry> messages;
    for (uint32_t node = 0; node < nodes; ++node) messages.push_back(MakeMessage(static_cast<int>(node)));
    telemetry::Cluster cluster;
    std::vector<double> parse_us, fold_us, both_ms;
    size_t bytes = 0;
    for (int round = 0; round <= rounds; ++round) {
      std::vector<std::string> wire;
      for (v1::Telemetry& message : messages) {
        for (v1::Series& series : *message.mutable_series()) AddTraffic(series, 20, random);
        wire.push_back(message.SerializeAsString());
        bytes = wire.back().size();
      }
      // As they come: parsed, folded, gone.
      std::chrono::nanoseconds parsing{}, folding{};
      for (uint32_t node = 0; node < nodes; ++node) {
        const auto begin = CpuTime();
        v1::Telemetry telemetry;
        if (!telemetry.ParseFromString(wire[node])) Die("a message of the bench's own does not parse");
        const auto parsed = CpuTime();
        const auto offset = std::chrono::milliseconds(node * 1000ULL / nodes);
        cluster.Report(fmt::format("node-{}", node), telemetry::BeginOf(1000), telemetry,
                       telemetry::BeginOf(1001 + round) + offset);
        parsing += parsed - begin;
        folding += CpuTime() - parsed;
      }
      if (round == 0) continue;  // baselines
      const double messages_sent = nodes;
      parse_us.push_back(std::chrono::duration<double, std::micro>(parsing).count() / messages_sent);
      fold_us.push_back(std::chrono::duration<double, std::micro>(folding).count() / messages_sent);
      both_ms.push_back(std::chrono::duration<double, std::milli>(parsing + folding).count());
    }
    const uint64_t requests =
        cluster.Totals({"shop", "service-0"})["7d4b9c6f5d"].counts[telemetry::Counter::kRequests];
    errno = 0;
    if (requests != 20ULL * nodes * static_cast<uint64_t>(rounds))
      Die(fmt::format("{} requests counted", requests));
    rows.push_back({std::to_string(nodes), std::to_string(bytes), Number(Median(parse_us)),
                    Range(SpreadOf(parse_us)), Number(Median(fold_us)), Range(SpreadOf(fold_us)),
                    Number(Median(both_ms) / 10, 1),
                    Number(static_cast<double>(cluster.bytes()) / 1048576, 1)});
  }
  PrintHeading(
      "Agents' counters in the controller",
      "One message a second of every node, four series each (two services of two revisions, HTTP with three "
      "status codes, 20 requests a series and second). Microseconds of CPU time per message; the share of "
      "one core "
      "that all nodes together cost, streams not included.");
  PrintTable({"nodes", "bytes", "parse us", "p10 - p90", "fold us", "p10 - p90", "% of a core", "kept MiB"},
             rows);
}

}  // namespace weir::bench
