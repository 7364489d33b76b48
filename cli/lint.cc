// lint: the controller's own checks of manifests, without a controller.
#include <CLI/CLI.hpp>

#include "cli/context.h"
#include "cli/manifests.h"
#include "controller/model/manifest.h"

namespace weir::cli {
namespace {

/// The objects of all files together are checked as if there were no others.
Result<int> Lint(Context& context, const std::vector<std::string>& paths) {
  ASSIGN_OR_RETURN(const auto files, ReadManifests(paths, context.environment.in));
  model::ObjectSet objects;
  size_t count = 0;
  std::string errors;
  const auto collect = [&errors](const Status& status) {
    if (!status.ok()) errors += (errors.empty() ? "" : "\n") + Message(status);
  };
  for (const v1::ManifestFile& file : files) {
    const auto documents = model::ParseManifests(file.yaml(), file.name());
    collect(documents.status());
    if (!documents.ok()) continue;
    count += documents->size();
    for (const model::Document& document : *documents) objects.Put(document.object);
  }
  // What could not be read would be missed between the objects.
  if (errors.empty()) collect(model::ValidateSet(objects));
  if (!errors.empty()) return InvalidArgument("{}", errors);
  context.environment.out << fmt::format("{} object{} in {} file{}: no errors\n", count,
                                         count == 1 ? "" : "s", files.size(), files.size() == 1 ? "" : "s");
  return kExitOk;
}

}  // namespace

void AddLintCommand(CLI::App& app, Context& context) {
  auto paths = std::make_shared<std::vector<std::string>>();
  CLI::App* lint = app.add_subcommand("lint", "Check manifests without a controller");
  lint->add_option("-f,--filename", *paths,
                   "manifests: a file, a directory, or - for standard input; may be repeated")
      ->type_name("PATH")
      ->required()
      ->allow_extra_args(false);
  lint->footer(
      "What one object says of another is checked among the manifests given: give all that belong together.");
  lint->callback([&context, paths] { context.action = [&context, paths] { return Lint(context, *paths); }; });
}

}  // namespace weir::cli
