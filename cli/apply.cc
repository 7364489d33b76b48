// apply, delete.
#include <CLI/CLI.hpp>

#include "cli/context.h"
#include "cli/json.h"
#include "cli/manifests.h"

namespace weir::cli {
namespace {

constexpr char kFilesHelp[] = "manifests: a file, a directory, or - for standard input; may be repeated";

struct ApplyFlags {
  std::vector<std::string> paths;
  bool dry_run = false;
};

std::string_view ResultWord(v1::ObjectChange::Result result) {
  switch (result) {
    case v1::ObjectChange::RESULT_CREATED:
      return "created";
    case v1::ObjectChange::RESULT_CONFIGURED:
      return "configured";
    case v1::ObjectChange::RESULT_UNCHANGED:
      return "unchanged";
    case v1::ObjectChange::RESULT_DELETED:
      return "deleted";
    default:
      return "changed";
  }
}

template <typename Response>
void PrintChanges(const Response& response, bool dry_run, std::ostream& out) {
  for (const v1::ObjectChange& change : response.changes()) {
    out << change.kind() << ' ' << change.namespace_() << '/' << change.name() << ' '
        << ResultWord(change.result()) << (dry_run ? " (dry run)" : "") << '\n';
  }
}

/// Manifests carry their namespace; a flag that would not be looked at is refused.
Status RefuseNamespace(const CLI::App& app) {
  if (app.count("--namespace") > 0 || app.count("--all-namespaces") > 0) {
    return InvalidArgument(
        "--namespace does not apply to -f: each manifest's metadata.namespace says where it belongs");
  }
  return OkStatus();
}

Result<int> Apply(const CLI::App& app, Context& context, const ApplyFlags& flags) {
  RETURN_IF_ERROR(RefuseNamespace(app));
  ASSIGN_OR_RETURN(auto files, ReadManifests(flags.paths, context.environment.in));
  v1::ApplyRequest request;
  request.mutable_files()->Assign(files.begin(), files.end());
  request.set_dry_run(flags.dry_run);
  ASSIGN_OR_RETURN(const auto client, context.Connect());
  ASSIGN_OR_RETURN(const auto response, client->Call(&v1::WeirService::Stub::Apply, request));
  PrintChanges(response, flags.dry_run, context.environment.out);
  return kExitOk;
}

struct DeleteFlags {
  std::vector<std::string> paths;
  std::string kind;
  std::string name;
};

Result<int> Delete(const CLI::App& app, Context& context, const DeleteFlags& flags) {
  v1::DeleteRequest request;
  if (!flags.paths.empty()) {
    if (!flags.kind.empty()) return InvalidArgument("delete: either -f or KIND NAME, not both");
    RETURN_IF_ERROR(RefuseNamespace(app));
    ASSIGN_OR_RETURN(auto files, ReadManifests(flags.paths, context.environment.in));
    request.mutable_files()->Assign(files.begin(), files.end());
  } else {
    if (flags.name.empty())
      return InvalidArgument("delete: expected -f FILE or KIND NAME, for example: rollout checkout");
    if (context.all_namespaces)
      return InvalidArgument("delete: --all-namespaces is not possible; name one with -n");
    request.set_kind(flags.kind);
    request.set_namespace_(context.namespace_name);
    request.set_name(flags.name);
  }
  ASSIGN_OR_RETURN(const auto client, context.Connect());
  ASSIGN_OR_RETURN(const auto response, client->Call(&v1::WeirService::Stub::Delete, request));
  PrintChanges(response, false, context.environment.out);
  return kExitOk;
}

}  // namespace

void AddApplyCommands(CLI::App& app, Context& context) {
  auto apply_flags = std::make_shared<ApplyFlags>();
  CLI::App* apply =
      app.add_subcommand("apply", "Create or change the objects of manifests: all of them, or none");
  apply->add_option("-f,--filename", apply_flags->paths, kFilesHelp)
      ->type_name("PATH")
      ->required()
      ->allow_extra_args(false);
  apply->add_flag("--dry-run", apply_flags->dry_run, "check and show what would change; change nothing");
  apply->callback([&app, &context, apply_flags] {
    context.action = [&app, &context, apply_flags] { return Apply(app, context, *apply_flags); };
  });

  auto delete_flags = std::make_shared<DeleteFlags>();
  CLI::App* del =
      app.add_subcommand("delete", "Delete the objects of manifests, or one object by kind and name");
  del->add_option("-f,--filename", delete_flags->paths, kFilesHelp)
      ->type_name("PATH")
      ->allow_extra_args(false);
  // Spelled as in manifests; the transform takes any case.
  del->add_option("kind", delete_flags->kind,
                  "Rollout, Service, EndpointSlice, TrafficSplit, HTTPRoute, GRPCRoute, TCPRoute, "
                  "ReferenceGrant, AnalysisTemplate or Webhook")
      ->type_name("KIND")
      ->transform(CLI::IsMember({"Rollout", "Service", "EndpointSlice", "TrafficSplit", "HTTPRoute",
                                 "GRPCRoute", "TCPRoute", "ReferenceGrant", "AnalysisTemplate", "Webhook"},
                                CLI::ignore_case));
  del->add_option("name", delete_flags->name, "its name")->type_name("NAME");
  del->callback([&app, &context, delete_flags] {
    context.action = [&app, &context, delete_flags] { return Delete(app, context, *delete_flags); };
  });
}

}  // namespace weir::cli
