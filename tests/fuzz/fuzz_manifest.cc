// Any text: either every line of the error names its place, or the objects come back the same from what is
// stored, and those that can be together are admitted.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "controller/model/admit.h"
#include "controller/model/manifest.h"

namespace weir::model {
namespace {

void Check(bool holds, const char* rule, std::string_view text) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n%.*s\n", rule, static_cast<int>(text.size()), text.data());
  std::abort();
}

/// "fuzz.yaml:12: ..."
bool NamesItsPlace(std::string_view line) {
  constexpr std::string_view kFile = "fuzz.yaml:";
  if (!line.starts_with(kFile)) return false;
  line.remove_prefix(kFile.size());
  const size_t digits = line.find_first_not_of("0123456789");
  return digits != 0 && digits != std::string_view::npos && line.substr(digits).starts_with(": ");
}

void CheckErrors(const std::string& message) {
  Check(!message.empty(), "an error has a text", message);
  std::string_view rest = message;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    Check(NamesItsPlace(line), "each error names file and line", message);
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  }
}

void CheckDocuments(const std::vector<Document>& documents) {
  ObjectSet set;
  for (const Document& document : documents) {
    const auto again = ParseManifests(document.yaml, "stored");
    Check(again.ok(), "what is stored can be read", document.yaml);
    Check(again->size() == 1, "what is stored is one document", document.yaml);
    Check(again->front().object == document.object, "what is stored is the same object", document.yaml);
    Check(again->front().yaml == document.yaml, "what is stored does not change", document.yaml);
    set.Put(document.object);
  }
  const Status status = ValidateSet(set);
  Check(status.ok() || !Message(status).empty(), "a breach of the rules is named", "");
  const Admission admission = Admit(set);
  const Status admitted = ValidateSet(admission.admitted, Origin::kCluster);
  Check(admitted.ok(), "what is admitted keeps the rules", Message(admitted));
  for (const auto& [id, reason] : admission.refused) {
    Check(!reason.empty(), "a refusal has a reason", id.key.name);
    Check(set.Remove(id.kind, id.key), "what is refused was there", id.key.name);
  }
  Check(set == admission.admitted, "all else is admitted as it is", "");
}

}  // namespace
}  // namespace weir::model

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto documents = weir::model::ParseManifests(text, "fuzz.yaml");
  if (documents.ok()) {
    weir::model::CheckDocuments(*documents);
  } else {
    weir::model::CheckErrors(weir::Message(documents.status()));
  }
  return 0;
}
