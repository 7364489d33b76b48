#include "cli/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>

#include "cli/context.h"
#include "cli/table.h"
#include "common/flags.h"

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
  auto* name = app.add_option("-n,--namespace", context.namespace_name, "namespace of the objects")
                   ->type_name("NAMESPACE")
                   ->capture_default_str()
                   ->group(group);
  app.add_flag("-A,--all-namespaces", context.all_namespaces, "objects of every namespace")
      ->excludes(name)
      ->group(group);
  app.add_option_function<std::string>(
         "--request-timeout",
         [&context](const std::string& text) {
           const auto timeout = ParseDuration("--request-timeout", text);
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

Result<std::chrono::milliseconds> ParseDuration(const std::string& flag, const std::string& text) {
  const Status bad =
      InvalidArgument("{} {}: not a duration; expected seconds or units like 90s, 5m, 1h30m", flag, text);
  const bool plain =
      !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
  const std::string spelled = plain ? text + "s" : text;
  constexpr int64_t kMaxMs = int64_t{1000} * 3600 * 24 * 365;
  int64_t total_ms = 0;
  size_t at = 0;
  while (at < spelled.size()) {
    int64_t number = 0;
    const size_t start = at;
    while (at < spelled.size() && std::isdigit(static_cast<unsigned char>(spelled[at])) != 0 &&
           number < kMaxMs) {
      number = number * 10 + (spelled[at++] - '0');
    }
    if (at == start) return bad;
    size_t unit_end = at;
    while (unit_end < spelled.size() && std::isalpha(static_cast<unsigned char>(spelled[unit_end])) != 0)
      ++unit_end;
    const std::string unit = spelled.substr(at, unit_end - at);
    const int64_t factor = unit == "ms"  ? 1
                           : unit == "s" ? 1000
                           : unit == "m" ? 60'000
                           : unit == "h" ? 3'600'000
                                         : 0;
    if (factor == 0 || number > kMaxMs / factor) return bad;
    total_ms += number * factor;
    at = unit_end;
  }
  if (spelled.empty() || total_ms > kMaxMs) return bad;
  return std::chrono::milliseconds(total_ms);
}

bool Context::use_color() const {
  return environment.out_is_terminal && environment.variable("NO_COLOR").value_or("").empty() &&
         environment.variable("TERM").value_or("") != "dumb";
}

int Run(const std::vector<std::string>& arguments, Environment& environment) {
  CLI::App app("weirctl drives the rollouts of a Weir controller.", "weirctl");
  app.require_subcommand(1);
  app.fallthrough();  // global flags may follow the command
  Context context{environment, {}};
  AddGlobalOptions(app, context);
  AddApplyCommands(app, context);
  AddGetCommand(app, context);
  AddStatusCommand(app, context);
  AddVerbCommands(app, context);
  AddCompletionCommand(app, context);
  AddVersionCommand(app, context);

  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 takes them
  try {
    app.parse(std::move(reversed));
  } catch (const CLI::Success& help) {
    return app.exit(help, environment.out, environment.err) == 0 ? kExitOk : kExitError;
  } catch (const CLI::ParseError& error) {
    environment.err << "weirctl: " << error.what() << "\nRun weirctl --help, or --help after a command.\n";
    return kExitError;
  }
  const Result<int> code = context.action();
  environment.out.flush();
  if (!code.ok()) {
    environment.err << "weirctl: " << Message(code.status()) << '\n';
    return kExitError;
  }
  return *code;
}

}  // namespace weir::cli
