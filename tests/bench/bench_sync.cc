// The first full snapshot: 10,000 services, 100,000 endpoints.
#include <fmt/format.h>

#include <chrono>

#include "tests/bench/memory.h"
#include "tests/bench/node.h"
#include "tests/bench/scenario.h"
#include "tests/bench/settings.h"
#include "tests/bench/stats.h"

namespace weir::bench {

void BenchSync(const Settings& settings) {
  std::vector<double> times;
  double map_mib = 0;
  const datapath::Change change = MakeChange(1, 10000, {20, 80}, 10);
  for (int repetition = 0; repetition < (settings.quick ? 3 : 9); ++repetition) {
    Node node(fmt::format("sync-{}", repetition));
    const auto begin = std::chrono::steady_clock::now();
    node.Apply(change);
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
    map_mib = MapBytes("self") / 1048576.0;
  }
  const Spread spread = SpreadOf(times);
  PrintHeading("First full sync in the datapath, ms",
               "Datapath::Apply of 10,000 services with 100,000 endpoints into empty maps.");
  PrintTable({"what", "median", "p10 - p90", "maps MiB"},
             {{fmt::format("Apply, {} times", times.size()), Number(spread.median, 1), Range(spread, 1),
               Number(map_mib, 1)}});
}

}  // namespace weir::bench
