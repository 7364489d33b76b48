// How much is measured. --quick is for a look while developing; figures for the README come from the full
// run.
#pragma once

#include <cstdint>
#include <vector>

namespace weir::bench {

struct Settings {
  bool quick = false;
  std::vector<uint32_t> sizes() const {
    return quick ? std::vector<uint32_t>{1, 1000} : std::vector<uint32_t>{1, 100, 1000, 10000};
  }
  uint32_t rounds() const { return quick ? 9 : 41; }
  uint32_t connects() const { return quick ? 100 : 200; }
};

/// The sections of bench_datapath; each prints its tables to stdout and must run inside RunInSandbox().
void BenchConnect(const Settings& settings);
void BenchDeviation(const Settings& settings);
void BenchChange(const Settings& settings);
void BenchSync(const Settings& settings);
void BenchThroughput(const Settings& settings);
void BenchL7(const Settings& settings);
void BenchFigures(const Settings& settings);
void BenchEnd(const Settings& settings);

}  // namespace weir::bench
