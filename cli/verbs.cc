// promote, abort, retry, pause, resume, set-weight, undo, version: one call, one line.
#include <CLI/CLI.hpp>

#include "cli/context.h"
#include "cli/json.h"
#include "cli/views.h"
#include "common/version.h"

namespace weir::cli {
namespace {

using Stub = v1::WeirService::Stub;

struct VerbFlags {
  std::string name;
  std::string format;
  bool full = false;
  uint32_t weight = 0;
  std::string to_revision;
};

template <typename Request>
Request RequestFor(const Context& context, const VerbFlags& flags) {
  Request request;
  request.set_namespace_(context.namespace_name);
  request.set_name(flags.name);
  return request;
}

int Report(const Context& context, const VerbFlags& flags, std::string_view done,
           const v1::Rollout& rollout) {
  std::ostream& out = context.environment.out;
  if (flags.format == "json") {
    out << ToPrettyJson(ToJson(rollout));
  } else if (flags.format == "yaml") {
    out << ToYaml(ToJson(rollout));
  } else {
    out << "rollout " << rollout.namespace_() << '/' << rollout.name() << ' ' << done << ": "
        << Summary(rollout) << '\n';
  }
  return kExitOk;
}

/// A subcommand NAME [-o] that makes its request by `fill` and calls `method`.
template <typename Request, typename Fill>
CLI::App* AddVerb(CLI::App& app, Context& context, const std::shared_ptr<VerbFlags>& flags,
                  const std::string& verb, const std::string& help, std::string_view done,
                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, v1::Rollout*),
                  Fill fill) {
  CLI::App* command = app.add_subcommand(verb, help);
  command->add_option("name", flags->name, "the rollout")->type_name("ROLLOUT")->required();
  command->add_option("-o,--output", flags->format, "show the rollout")
      ->check(CLI::IsMember({"json", "yaml"}));
  command->callback([&context, flags, verb, done, method, fill] {
    context.action = [&context, flags, verb, done, method, fill]() -> Result<int> {
      if (context.all_namespaces)
        return InvalidArgument("{}: --all-namespaces is not possible; name one with -n", verb);
      auto request = RequestFor<Request>(context, *flags);
      fill(request);
      ASSIGN_OR_RETURN(const auto client, context.Connect());
      ASSIGN_OR_RETURN(const v1::Rollout rollout, client->Call(method, request));
      return Report(context, *flags, done, rollout);
    };
  });
  return command;
}

void AddPlainVerb(CLI::App& app, Context& context, const std::string& verb, const std::string& help,
                  std::string_view done,
                  grpc::Status (Stub::*method)(grpc::ClientContext*, const v1::ObjectName&, v1::Rollout*)) {
  AddVerb(app, context, std::make_shared<VerbFlags>(), verb, help, done, method, [](v1::ObjectName&) {});
}

struct VersionFlags {
  bool client_only = false;
  std::string format;
};

Result<int> PrintVersion(Context& context, const VersionFlags& flags) {
  std::ostream& out = context.environment.out;
  const std::string own(kVersion);
  Result<v1::GetVersionResponse> response = v1::GetVersionResponse();
  if (!flags.client_only) {
    const auto client = context.Connect();
    response = client.ok() ? (*client)->Call(&Stub::GetVersion, v1::GetVersionRequest())
                           : Result<v1::GetVersionResponse>(client.status());
  }
  const std::string server = response.ok() ? response->version() : "";
  if (flags.format == "json") {
    out << ToPrettyJson(boost::json::object{{"client", own}, {"server", server}});
  } else {
    out << "weirctl " << own << '\n';
    if (!server.empty()) out << "weir-controller " << server << " at " << context.client.server << '\n';
  }
  RETURN_IF_ERROR(response.status());
  return kExitOk;
}

}  // namespace

void AddVerbCommands(CLI::App& app, Context& context) {
  auto promote = std::make_shared<VerbFlags>();
  AddVerb(app, context, promote, "promote", "Go on: leave a pause, or skip the present step", "promoted",
          &Stub::Promote, [promote](v1::PromoteRequest& request) { request.set_full(promote->full); })
      ->add_flag("--full", promote->full, "skip all steps: the canary becomes stable now");
  AddPlainVerb(app, context, "abort", "Send all traffic back to the stable revision at once", "aborted",
               &Stub::Abort);
  AddPlainVerb(app, context, "retry", "Start an aborted rollout again from its first step", "started again",
               &Stub::Retry);
  AddPlainVerb(app, context, "pause", "Stay at the present step until resume", "paused", &Stub::Pause);
  AddPlainVerb(app, context, "resume", "Undo pause", "resumed", &Stub::Resume);

  auto weight = std::make_shared<VerbFlags>();
  AddVerb(app, context, weight, "set-weight", "Give the canary this weight until the next step",
          "has a new weight", &Stub::SetWeight,
          [weight](v1::SetWeightRequest& request) { request.set_weight(weight->weight); })
      ->add_option("weight", weight->weight,
                   "0 to maxTrafficWeight, which is 100 unless the rollout says else")
      ->type_name("WEIGHT")
      ->check(CLI::NonNegativeNumber)
      ->required();

  auto undo = std::make_shared<VerbFlags>();
  AddVerb(app, context, undo, "undo", "Go back to an earlier revision", "goes back", &Stub::Undo,
          [undo](v1::UndoRequest& request) { request.set_to_revision(undo->to_revision); })
      ->add_option("--to-revision", undo->to_revision, "this one; default: the one before")
      ->type_name("REVISION");
}

void AddVersionCommand(CLI::App& app, Context& context) {
  auto flags = std::make_shared<VersionFlags>();
  CLI::App* version = app.add_subcommand("version", "Show the versions of weirctl and of the controller");
  version->add_flag("--client", flags->client_only, "weirctl's only; no controller is asked");
  version->add_option("-o,--output", flags->format, "how to show it")->check(CLI::IsMember({"json"}));
  version->callback(
      [&context, flags] { context.action = [&context, flags] { return PrintVersion(context, *flags); }; });
}

}  // namespace weir::cli
