// Shell completion, generated from the command tree, so that it cannot fall behind it.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace weir::cli {

/// Scripts for an app with one level of subcommands. An option's or a positional's type name decides how its
/// value completes: "{a,b}" in it is a choice, PATH or FILE a file, ROLLOUT the name of a rollout the
/// controller has.
std::string BashCompletion(const CLI::App& app);
std::string ZshCompletion(const CLI::App& app);
std::string FishCompletion(const CLI::App& app);

}  // namespace weir::cli
