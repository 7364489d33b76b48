// Reads manifests named on the command line.
#pragma once

#include <istream>
#include <string>
#include <vector>

#include "common/status.h"
#include "weir/v1/rollouts.pb.h"

namespace weir::cli {

/// Each of `paths` is a file, a directory (its *.yaml, *.yml and *.json files in the order of their names,
/// not those of directories inside) or "-" for `in`. Errors name the path. A directory without manifests and
/// an empty file are errors, as is "-" given twice.
Result<std::vector<v1::ManifestFile>> ReadManifests(const std::vector<std::string>& paths, std::istream& in);

}  // namespace weir::cli
