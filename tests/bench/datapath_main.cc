// bench_datapath [--quick] [section ...]: what happens in the kernel and in one agent's datapath. Markdown on
// stdout.
#include "tests/bench/sections.h"
#include "tests/bench/settings.h"

int main(int argc, char** argv) {
  return weir::bench::RunSections(
      argc, argv,
      {{"connect", [](bool quick) { weir::bench::BenchConnect({.quick = quick}); }},
       {"deviation", [](bool quick) { weir::bench::BenchDeviation({.quick = quick}); }},
       {"change", [](bool quick) { weir::bench::BenchChange({.quick = quick}); }},
       {"sync", [](bool quick) { weir::bench::BenchSync({.quick = quick}); }},
       {"throughput", [](bool quick) { weir::bench::BenchThroughput({.quick = quick}); }},
       {"l7", [](bool quick) { weir::bench::BenchL7({.quick = quick}); }},
       {"figures", [](bool quick) { weir::bench::BenchFigures({.quick = quick}); }},
       {"end", [](bool quick) { weir::bench::BenchEnd({.quick = quick}); }}});
}
