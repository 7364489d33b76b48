// Command line shared by the two programs: [--quick] [section ...], each section in a sandbox of its own.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace weir::bench {

using Section = std::pair<std::string, std::function<void(bool quick)>>;

/// Runs those that are named, or all; returns the exit code. What one section leaves in caches and maps is
/// not there for the next.
int RunSections(int argc, char** argv, const std::vector<Section>& sections);

}  // namespace weir::bench
