// bench_datapath [--quick] [section ...]: what happens in the kernel and in one agent's datapath. Markdown on
// stdout.
#include <cstdio>
#include <cstring>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/bench/settings.h"
#include "tests/kernel/harness/sandbox.h"

namespace {

using weir::bench::Settings;

const std::vector<std::pair<std::string_view, std::function<void(const Settings&)>>> kSections = {
    {"connect", weir::bench::BenchConnect},       {"deviation", weir::bench::BenchDeviation},
    {"change", weir::bench::BenchChange},         {"sync", weir::bench::BenchSync},
    {"throughput", weir::bench::BenchThroughput},
};

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  std::vector<std::string_view> wanted;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--quick") {
      settings.quick = true;
    } else {
      wanted.emplace_back(argv[i]);
    }
  }
  std::vector<std::function<void(const Settings&)>> chosen;
  for (const auto& [name, section] : kSections) {
    bool take = wanted.empty();
    for (auto it = wanted.begin(); it != wanted.end(); ++it) {
      if (*it != name) continue;
      wanted.erase(it);
      take = true;
      if (wanted.empty()) wanted.emplace_back("");
      break;
    }
    if (take) chosen.push_back(section);
  }
  for (const auto& name : wanted) {
    if (name.empty()) continue;
    std::fprintf(stderr,
                 "bench_datapath: no section '%s'; there are connect, deviation, change, sync, throughput\n",
                 std::string(name).c_str());
    return 2;
  }
  // Each section in a sandbox of its own: what one leaves in caches and maps is not there for the next.
  for (const auto& section : chosen) {
    const int code = weir::kernel_test::RunInSandbox([&] {
      if (const std::string& reason = weir::kernel_test::TheSandbox().skip_reason; !reason.empty()) {
        std::fprintf(stderr, "bench_datapath: %s\n", reason.c_str());
        return 1;
      }
      section(settings);
      return 0;
    });
    if (code != 0) return code;
  }
  return 0;
}
