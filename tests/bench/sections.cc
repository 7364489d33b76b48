#include "tests/bench/sections.h"

#include <algorithm>
#include <cstdio>

#include "tests/kernel/harness/sandbox.h"

namespace weir::bench {

int RunSections(int argc, char** argv, const std::vector<Section>& sections) {
  bool quick = false;
  std::vector<std::string> wanted(argv + 1, argv + argc);
  quick = std::erase(wanted, "--quick") > 0;
  for (const auto& name : wanted) {
    if (std::any_of(sections.begin(), sections.end(), [&](const Section& s) { return s.first == name; }))
      continue;
    std::fprintf(stderr, "%s: no section '%s'; there are:", argv[0], name.c_str());
    for (const auto& section : sections) std::fprintf(stderr, " %s", section.first.c_str());
    std::fprintf(stderr, "\n");
    return 2;
  }
  for (const auto& section : sections) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), section.first) == wanted.end()) continue;
    const int code = kernel_test::RunInSandbox([&] {
      if (const std::string& reason = kernel_test::TheSandbox().skip_reason; !reason.empty()) {
        std::fprintf(stderr, "%s: %s\n", argv[0], reason.c_str());
        return 1;
      }
      section.second(quick);
      return 0;
    });
    if (code != 0) return code;
  }
  return 0;
}

}  // namespace weir::bench
