// bench_control [--quick] [section ...]: real programs over real gRPC. Markdown on stdout.
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <functional>

#include "tests/bench/control_sections.h"
#include "tests/bench/sections.h"
#include "tests/bench/worker.h"

namespace {

using weir::bench::ControlSettings;

void WithDirectory(bool quick, void (*section)(const ControlSettings&)) {
  ControlSettings settings{.quick = quick,
                           .directory = std::filesystem::temp_directory_path() / "weir-bench-XXXXXX"};
  if (mkdtemp(settings.directory.data()) == nullptr) weir::bench::Die("mkdtemp " + settings.directory);
  section(settings);
  std::filesystem::remove_all(settings.directory);
}

}  // namespace

int main(int argc, char** argv) {
  return weir::bench::RunSections(
      argc, argv,
      {{"agent", [](bool quick) { WithDirectory(quick, weir::bench::BenchAgent); }},
       {"streams", [](bool quick) { WithDirectory(quick, weir::bench::BenchStreams); }},
       {"flip", [](bool quick) { WithDirectory(quick, weir::bench::BenchFlip); }},
       {"telemetry", [](bool quick) { WithDirectory(quick, weir::bench::BenchTelemetry); }},
       {"end-to-end", [](bool quick) { WithDirectory(quick, weir::bench::BenchEndToEnd); }}});
}
