// Established connections: requests over keep-alive, through a virtual address and without.
#include "tests/bench/node.h"
#include "tests/bench/scenario.h"
#include "tests/bench/settings.h"
#include "tests/bench/stats.h"
#include "tests/bench/web.h"

namespace weir::bench {

void BenchThroughput(const Settings& settings) {
  std::vector<double> direct, through;
  {
    const Nginx nginx;
    Node node("throughput");
    node.Apply(MakeChange(1, 1, {20, 80}, kEndpointsPerService));
    for (int round = 0; round < (settings.quick ? 4 : 15); ++round) {
      for (int turn = 0; turn < 2; ++turn) {
        if ((round + turn) % 2 == 0) {
          direct.push_back(Wrk("", Endpoint(0, 1), 1));
        } else {
          through.push_back(Wrk(node.cgroup(), Vip(0), 1));
        }
      }
    }
  }
  const auto row = [&](const std::string& name, const std::vector<double>& rates) {
    const Spread spread = SpreadOf(rates);
    return std::vector<std::string>{name, Number(spread.median, 0), Range(spread, 0),
                                    Number(Median(Ratios(rates, direct)), 3)};
  };
  PrintHeading("Established connections, requests per second",
               "wrk with 16 connections kept alive to nginx, one second each, in turn.");
  PrintTable({"way", "median", "p10 - p90", "ratio"}, {row("direct", direct), row("through Weir", through)});
}

}  // namespace weir::bench
