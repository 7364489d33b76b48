// Reading what the kernel measured: every second while a split is at work, and at every scrape.
#include <bpf/bpf.h>
#include <time.h>

#include <chrono>
#include <memory>

#include "tests/bench/node.h"
#include "tests/bench/scenario.h"
#include "tests/bench/settings.h"
#include "tests/bench/stats.h"
#include "tests/bench/worker.h"
#include "tests/kernel/harness/programs.h"
#include "weir/maps.h"

namespace weir::bench {
namespace {

/// As if every series had been busy: three status codes each.
void FillMaps(const std::string& bpffs, uint32_t series) {
  const auto open = [&](const char* name) {
    return UniqueFd(bpf_obj_get(kernel_test::FindPinnedMap(bpffs, name).c_str()));
  };
  const UniqueFd stats_map = open("weir_stats"), http_map = open("weir_http");
  if (!stats_map.valid() || !http_map.valid()) Die("open the figures' maps");
  const auto stats = std::make_unique<weir_stats>();
  weir_histogram delays{};
  for (uint32_t bucket = 20; bucket < 80; ++bucket) delays.buckets[bucket] = 1000 + bucket;
  stats->opened = stats->closed = stats->http_requests = 1'000'000;
  stats->connect = stats->srtt = delays;
  for (uint32_t number = 1; number <= series; ++number) {
    if (bpf_map_update_elem(stats_map.get(), &number, stats.get(), BPF_ANY) != 0) Die("fill weir_stats");
    for (const uint32_t code : {200U, 404U, 503U}) {
      const weir_http_key key{.series = number, .code = code};
      if (bpf_map_update_elem(http_map.get(), &key, &delays, BPF_ANY) != 0) Die("fill weir_http");
    }
  }
}

double ProcessorMs() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

}  // namespace

void BenchFigures(const Settings& settings) {
  std::vector<std::vector<std::string>> rows;
  for (const uint32_t services : {100U, 1000U}) {
    Node node("figures-" + std::to_string(services));
    datapath::Change change = MakeChange(1, services, {20, 80}, kEndpointsPerService);
    for (datapath::Frontend& frontend : change.upserts) frontend.http = true;
    node.Apply(change);
    FillMaps(node.bpffs(), 2 * services);
    std::vector<double> took, used;
    for (uint32_t round = 0; round < settings.rounds(); ++round) {
      const auto begin = std::chrono::steady_clock::now();
      const double before = ProcessorMs();
      const auto figures = node.datapath().ReadFigures();
      used.push_back(ProcessorMs() - before);
      took.push_back(
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
      if (!figures.ok() || figures->series.size() != 2 * size_t{services} ||
          figures->series.front().http_responses.size() != 3)
        Die("read the figures");
    }
    const Spread spread = SpreadOf(took), cpu = SpreadOf(used);
    rows.push_back({std::to_string(services), Number(spread.median, 1), Range(spread, 1),
                    Number(cpu.median, 1), Range(cpu, 1)});
  }
  PrintHeading("Figures of revisions",
               "Read from the kernel by one agent: two revisions a service, three status codes each.");
  PrintTable({"services", "ms", "p10 - p90", "CPU ms", "p10 - p90"}, rows);
}

}  // namespace weir::bench
