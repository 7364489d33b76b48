#include "cli/cli.h"

#include <CLI/CLI.hpp>

#include "cli/context.h"
#include "cli/table.h"
#include "common/flags.h"
#include "controller/model/manifest.h"

namespace weir::cli {
namespace {

constexpr char kDefaultServer[] = "127.0.0.1:7400";

void AddGlobalOptions(CLI::App& app, Context& context) {
  const std::string group = "Global options";
  context.client.server = context.environment.variable("WEIR_SERVER").value_or(kDefaultServer);
  if (context.client.server.empty()) context.client.server = kDefaultServer;
  app.add_option("--server", context.client.server, "gRPC address of the controller (or WEIR_SERVER)")
      ->type_name("HOST:PORT")
      ->capture_default_str()
      ->group(group);
  context.namespace_name = context.environment.variable("WEIR_NAMESPACE").value_or(context.namespace_name);
  auto* name =
      app.add_option("-n,--namespace", context.namespace_name, "namespace of the objects (or WEIR_NAMESPACE)")
          ->type_name("NAMESPACE")
          ->capture_default_str()
          ->group(group);
  app.add_flag("-A,--all-namespaces", context.all_namespaces, "objects of every namespace")
      ->excludes(name)
      ->group(group);
  app.add_option_function<std::string>(
         "--request-timeout",
         [&context](const std::string& text) {
           const auto timeout = DurationFlag("--request-timeout", text);
           if (!timeout.ok()) throw CLI::ValidationError(Message(timeout.status()));
           context.client.call_timeout = *timeout;
         },
         "how long one call may take")
      ->type_name("DURATION")
      ->default_str("10s")
      ->group(group);
  AddTlsFlags(app, &context.client.tls);
  for (const char* file : {"--tls-cert", "--tls-key", "--tls-ca"}) app.get_option(file)->type_name("FILE");
}

}  // namespace

Result<std::chrono::milliseconds> DurationFlag(const std::string& flag, const std::string& text) {
  const auto duration = model::ParseDuration(text);
  if (!duration) {
    return InvalidArgument("{} {}: not a duration; expected seconds or units like 90s, 5m, 1h30m", flag,
                           text);
  }
  return *duration;
}

bool Context::use_color() const {
  return environment.out_is_terminal && environment.variable("NO_COLOR").value_or("").empty() &&
         environment.variable("TERM").value_or("") != "dumb";
}

std::string ProgramName(std::string_view path) {
  // npos + 1 is 0: no slash, no folder.
  return path.substr(path.rfind('/') + 1) == "kubectl-weir" ? "kubectl weir" : "weirctl";
}

int Run(const std::vector<std::string>& arguments, Environment& environment) {
  CLI::App app(environment.program + " drives the rollouts of a Weir controller.", environment.program);
  app.require_subcommand(1);
  app.fallthrough();  // global flags may follow the command
  Context context(environment);
  AddGlobalOptions(app, context);
  AddApplyCommands(app, context);
  AddGetCommand(app, context);
  AddStatusCommand(app, context);
  AddTopCommand(app, context);
  AddVerbCommands(app, context);
  AddLintCommand(app, context);
  AddCompletionCommand(app, context);
  AddVersionCommand(app, context);

  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 takes them
  try {
    app.parse(std::move(reversed));
  } catch (const CLI::Success& help) {
    return app.exit(help, environment.out, environment.err) == 0 ? kExitOk : kExitError;
  } catch (const CLI::ParseError& error) {
    environment.err << environment.program << ": " << error.what() << "\nRun " << environment.program
                    << " --help, or --help after a command.\n";
    return kExitError;
  }
  const Result<int> code = context.action();
  environment.out.flush();
  if (!code.ok()) {
    environment.err << environment.program << ": " << Message(code.status()) << '\n';
    return kExitError;
  }
  return *code;
}

}  // namespace weir::cli
