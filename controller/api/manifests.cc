#include "controller/api/manifests.h"

#include <map>
#include <string>
#include <utility>

namespace weir::api {

Result<Manifests> ReadManifests(const google::protobuf::RepeatedPtrField<v1::ManifestFile>& files) {
  Manifests all;
  std::string errors;
  for (const auto& file : files) {
    auto documents = model::ParseManifests(file.yaml(), file.name());
    if (!documents.ok()) {
      errors += (errors.empty() ? "" : "\n") + Message(documents.status());
      continue;
    }
    for (auto& document : *documents) all.push_back(std::move(document));
  }
  std::map<std::pair<std::string, model::ObjectKey>, const model::Document*> seen;
  for (const auto& document : all) {
    const model::ObjectKey& key = model::KeyOf(document.object);
    std::string kind(model::KindOf(document.object));
    auto [first, fresh] = seen.emplace(std::pair(kind, key), &document);
    if (fresh) continue;
    errors += fmt::format("{}{}:{}: {} {}: found a second time, first at {}:{}; expected once",
                          errors.empty() ? "" : "\n", document.file, document.line, kind,
                          model::ToString(key), first->second->file, first->second->line);
  }
  if (!errors.empty()) return InvalidArgument("{}", errors);
  return all;
}

}  // namespace weir::api
