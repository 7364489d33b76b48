// What all commands share: the global flags, and the way from the parsed command line to the action.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "cli/client.h"
#include "cli/environment.h"
#include "common/status.h"

namespace CLI {
class App;
}

namespace weir::cli {

/// "90s", "5m", "1h30m", "250ms" or plain seconds ("10"). `flag` names the place in errors.
Result<std::chrono::milliseconds> DurationFlag(const std::string& flag, const std::string& text);

struct Context {
  // GCC 12 takes the members of an aggregate for uninitialised where its construction throws.
  explicit Context(Environment& program_environment) : environment(program_environment) {}

  Environment& environment;
  // Global flags.
  ClientOptions client;
  std::string namespace_name = "default";
  bool all_namespaces = false;
  // What the parsed subcommand does: an ExitCode, or an error to print.
  std::function<Result<int>()> action;

  bool use_color() const;
  Result<std::unique_ptr<Client>> Connect() const { return Client::Create(client); }
};

// Each adds its subcommands; `context` must outlive the parse and the action.
void AddApplyCommands(CLI::App& app, Context& context);      // apply, delete
void AddGetCommand(CLI::App& app, Context& context);         // get
void AddStatusCommand(CLI::App& app, Context& context);      // status
void AddTopCommand(CLI::App& app, Context& context);         // top
void AddVerbCommands(CLI::App& app, Context& context);       // promote, abort, retry, pause, resume, ...
void AddLintCommand(CLI::App& app, Context& context);        // lint
void AddCompletionCommand(CLI::App& app, Context& context);  // completion
void AddVersionCommand(CLI::App& app, Context& context);     // version

}  // namespace weir::cli
