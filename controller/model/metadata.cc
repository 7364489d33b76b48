// Names, namespaces, labels and times, by Kubernetes' rules.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "controller/model/kinds.h"
#include "controller/model/timestamp.h"

namespace weir::model {
namespace {

bool IsLowerOrDigit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool IsAlphanumeric(char c) { return IsLowerOrDigit(c) || (c >= 'A' && c <= 'Z'); }

constexpr std::string_view kLabelRule =
    "at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit (RFC 1123)";
constexpr std::string_view kSubdomainRule =
    "at most 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or "
    "digit (RFC "
    "1123)";

constexpr std::string_view kL7Annotation = "weir.dev/l7";
constexpr std::string_view kL7Remedy = "HTTP/1.x in plaintext is what can be measured; or remove it";

void ReadLabels(const Cursor& labels, Metadata& metadata) {
  for (const auto& [name, value] : labels.Entries()) {
    if (!IsLabelName(name)) {
      value.FailText(
          Complaint(fmt::format("the label name {}", Quote(name)),
                    "[prefix/]name as Kubernetes has it, the name at most 63 letters, digits, '-', '_' and "
                    "'.'",
                    "rename the label"));
    }
    const auto text = value.String();
    if (!text) continue;
    if (!IsLabelValue(*text)) {
      value.Fail("at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit");
    }
    metadata.labels.emplace(name, *text);
  }
}

}  // namespace

bool IsDnsLabel(std::string_view text) {
  return !text.empty() && text.size() <= 63 && IsLowerOrDigit(text.front()) && IsLowerOrDigit(text.back()) &&
         std::ranges::all_of(text, [](char c) { return IsLowerOrDigit(c) || c == '-'; });
}

bool IsDnsSubdomain(std::string_view text) {
  if (text.size() > 253) return false;
  while (true) {
    const size_t dot = text.find('.');
    const std::string_view part = text.substr(0, dot);
    // A part may be longer than a label here, as in Kubernetes.
    if (part.empty() || !IsLowerOrDigit(part.front()) || !IsLowerOrDigit(part.back()) ||
        !std::ranges::all_of(part, [](char c) { return IsLowerOrDigit(c) || c == '-'; })) {
      return false;
    }
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool IsLabelValue(std::string_view text) {
  return text.empty() || (text.size() <= 63 && IsAlphanumeric(text.front()) && IsAlphanumeric(text.back()) &&
                          std::ranges::all_of(text, [](char c) {
                            return IsAlphanumeric(c) || c == '-' || c == '_' || c == '.';
                          }));
}

bool IsLabelName(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash != std::string_view::npos) {
    if (!IsDnsSubdomain(text.substr(0, slash))) return false;
    text.remove_prefix(slash + 1);
  }
  return !text.empty() && IsLabelValue(text);
}

Metadata ReadMetadata(const Cursor& document, bool service) {
  Metadata metadata;
  metadata.key.ns = "default";
  const auto map = document.Require("metadata", "a map with at least a name");
  if (!map ||
      !map->ExpectMap({"name", "namespace", "labels", "annotations", "uid", "resourceVersion", "generation",
                       "generateName", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
                       "finalizers", "ownerReferences", "managedFields", "selfLink"})) {
    return metadata;
  }
  const std::string_view rule = service ? kLabelRule : kSubdomainRule;
  if (const auto name = map->RequireString("name", rule)) {
    if (service ? IsDnsLabel(*name) : IsDnsSubdomain(*name)) {
      metadata.key.name = *name;
    } else {
      map->Find("name")->Fail(rule);
    }
  }
  if (const auto ns = map->StringAt("namespace")) {
    if (IsDnsLabel(*ns)) {
      metadata.key.ns = *ns;
    } else if (!ns->empty()) {
      map->Find("namespace")->Fail(kLabelRule);
    }
  }
  if (const auto created = map->Find("creationTimestamp")) {
    const auto text = created->String();
    const auto time = text ? ParseTimestamp(*text) : std::nullopt;
    if (text && !time) created->Fail("a time as Kubernetes writes it, such as 2026-11-24T10:00:00Z");
    metadata.created = time.value_or(Created{});
  }
  if (const auto generation = map->Find("generation"))
    metadata.generation = generation->Integer(0, std::numeric_limits<int64_t>::max()).value_or(0);
  if (const auto labels = map->Find("labels")) ReadLabels(*labels, metadata);
  if (const auto annotations = map->Find("annotations")) {
    for (const auto& [name, value] : annotations->Entries()) {
      if (service && name == kL7Annotation) {
        metadata.http = value.OneOf({"http"}, kL7Remedy).has_value();
      } else {
        value.String();
      }
    }
  }
  return metadata;
}

std::string ReadServiceName(const Cursor& map, std::string_view field) {
  const auto name = map.RequireString(field, "the name of a Service");
  if (!name) return "";
  if (!IsDnsLabel(*name)) map.Find(field)->Fail("the name of a Service in the object's own namespace");
  return *name;
}

}  // namespace weir::model
