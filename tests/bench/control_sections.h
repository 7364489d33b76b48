// The sections of bench_control: real programs over real gRPC. Each prints its tables and must run in
// RunInSandbox().
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weir::bench {

struct ControlSettings {
  bool quick = false;
  std::string directory;  // for state; removed afterwards
  std::vector<uint32_t> agents() const {
    return quick ? std::vector<uint32_t>{1, 100} : std::vector<uint32_t>{1, 100, 1000, 5000};
  }
  int flips() const { return quick ? 20 : 100; }
  int changes() const { return quick ? 300 : 2000; }
};

/// One agent, told by a controller that the bench plays: changes and full snapshots over gRPC.
void BenchAgent(const ControlSettings& settings);
/// Part of it: what an agent takes while nothing changes.
void BenchAgentAtRest(const ControlSettings& settings);
/// One real controller with 10,000 services, one real agent.
void BenchEndToEnd(const ControlSettings& settings);
void BenchStreams(const ControlSettings& settings);
/// Blue-green with one real controller and two real agents, under load.
void BenchFlip(const ControlSettings& settings);
/// No program and no gRPC: the room of the controller that takes agents' counters.
void BenchTelemetry(const ControlSettings& settings);

}  // namespace weir::bench
