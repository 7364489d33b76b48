// A file of documents: which kind each is, and its errors with file, line and object.
#include "controller/model/manifest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "controller/model/kinds.h"
#include "controller/model/yaml_reader.h"
#include "controller/model/yaml_tree.h"

namespace weir::model {
namespace {

constexpr size_t kMaxErrors = 1000;  // of one file; the rest is counted

struct Api {
  std::string_view kind;
  std::vector<std::string_view> versions;
};
const std::vector<Api>& Apis() {
  static const std::vector<Api> apis = {
      Api{"Service", {"v1"}},
      Api{"EndpointSlice", {"discovery.k8s.io/v1"}},
      Api{"Rollout", {"weir.dev/v1alpha1"}},
      Api{"TrafficSplit",
          {"split.smi-spec.io/v1alpha1", "split.smi-spec.io/v1alpha2", "split.smi-spec.io/v1alpha3",
           "split.smi-spec.io/v1alpha4"}},
      Api{"AnalysisTemplate", {"argoproj.io/v1alpha1"}},
      Api{"Webhook", {"weir.dev/v1alpha1"}},
      Api{"HTTPRoute", {"gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"}},
      Api{"GRPCRoute", {"gateway.networking.k8s.io/v1"}},
      Api{"TCPRoute", {"gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1alpha2"}},
      Api{"ReferenceGrant", {"gateway.networking.k8s.io/v1beta1", "gateway.networking.k8s.io/v1"}}};
  return apis;
}

/// Kinds that belong here in the end.
constexpr Refusal kKindsRefused[] = {
    {"ClusterAnalysisTemplate", "Weir's templates belong to a namespace",
     "write an AnalysisTemplate beside the Rollout"},
    {"AnalysisRun", "Weir makes the runs itself", "name the AnalysisTemplate in the Rollout"},
    {"Experiment", "Weir does not carry out experiments yet", "remove the document"},
    {"Endpoints", "Weir reads EndpointSlices", "write a discovery.k8s.io/v1 EndpointSlice"},
    {"TLSRoute", "connect() does not see the name that TLS asks for", "write a TCPRoute"},
    {"UDPRoute", "Weir does not read UDPRoutes yet", "write a TrafficSplit"},
};

class Reader {
 public:
  explicit Reader(std::string_view file) : file_(file) {}

  void Take(const YamlDocument& document) {
    for (const YamlError& error : document.errors) errors_.push_back(error);
    ReadObject(*document.root, document.line, document.errors.empty());
  }

  /// An object of an API server by itself; nullopt after a complaint. What it has checked may have fields
  /// that are newer than Weir.
  std::optional<Object> TakeOne(const YamlNode& node) {
    const Cursor root(node, errors_);
    auto [object, who] = ReadKnown(root);
    const bool of_kubernetes =
        std::holds_alternative<Service>(object) || std::holds_alternative<EndpointSlice>(object);
    std::erase_if(errors_, [of_kubernetes](const YamlError& error) {
      return error.of_people && (of_kubernetes || error.path.starts_with("metadata."));
    });
    const bool whole = errors_.empty() && !who.empty();
    Flush(who);
    return whole ? std::optional(std::move(object)) : std::nullopt;
  }

  /// Errors that belong to no object.
  void TakeFileErrors(const std::vector<YamlError>& errors) {
    for (const YamlError& error : errors) AddLine(error.line, "", error);
  }

  Result<std::vector<Document>> Finish() {
    if (lines_.empty()) return std::move(documents_);
    return Complaints();
  }

  Status Complaints() {
    std::stable_sort(lines_.begin(), lines_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::string text;
    for (const auto& [line, message] : lines_) text += (text.empty() ? "" : "\n") + message;
    if (left_out_ > 0)
      text += fmt::format("\n{}: found {} errors more, expected none; mend these first", file_, left_out_);
    return Status(absl::StatusCode::kInvalidArgument, text);
  }

 private:
  void ReadObject(const YamlNode& node, int line, bool clean) {
    const Cursor root(node, errors_);
    if (IsList(root)) return ReadList(root);
    auto [object, who] = ReadKnown(root);
    const bool whole = clean && errors_.empty() && !who.empty();
    Flush(who);
    if (!whole) return;
    const auto [first, is_new] = seen_.emplace(std::tuple(KindOf(object), KeyOf(object)), line);
    if (!is_new) {
      AddLine(line, who,
              {line, "",
               Complaint(fmt::format("it a second time, first in line {}", first->second), "each object once",
                         "remove one of them")});
      return;
    }
    std::string yaml = WriteYaml(node);
    if (yaml.size() > kMaxYamlBytes) {
      AddLine(line, who,
              {line, "",
               Complaint(fmt::format("an object of {} bytes", yaml.size()),
                         fmt::format("at most {} MiB", kMaxYamlBytes >> 20), "split it")});
      return;
    }
    documents_.push_back({std::move(object), file_, line, std::move(yaml)});
  }

  /// And who it is, for complaints: "Service shop/web".
  static std::pair<Object, std::string> ReadKnown(const Cursor& root) {
    if (root.node().kind != YamlNode::Kind::kMap) {
      root.Fail("a map with apiVersion, kind, metadata and spec");
      return {};
    }
    const Api* api = ReadKind(root);
    if (api == nullptr) return {Object{}, Who(root)};
    const Metadata metadata = ReadMetadata(root, api->kind == "Service");
    std::string who = fmt::format("{} {}/{}", api->kind, metadata.key.ns,
                                  metadata.key.name.empty() ? "?" : metadata.key.name);
    return {ReadAs(root, *api, metadata), std::move(who)};
  }

  static bool IsList(const Cursor& root) {
    const auto kind = root.Find("kind");
    return kind && kind->node().text == "List" && root.Find("items");
  }

  /// What `kubectl get -o yaml` makes of several objects.
  void ReadList(const Cursor& root) {
    root.ExpectMap({"apiVersion", "kind", "metadata", "items"});
    if (const auto version = root.Require("apiVersion", "v1")) version->OneOf({"v1"});
    const auto items = root.Find("items");
    const auto all = items->Items();
    const bool clean = errors_.empty();
    Flush("List");
    for (const Cursor& item : all) ReadObject(item.node(), item.line(), clean);
  }

  /// nullptr after a complaint.
  static const Api* ReadKind(const Cursor& root) {
    const auto version = root.RequireString("apiVersion",
                                            "v1, discovery.k8s.io/v1, weir.dev/v1alpha1, "
                                            "split.smi-spec.io/v1alpha4, gateway.networking.k8s.io/v1 or "
                                            "argoproj.io/v1alpha1");
    const auto kind =
        root.RequireString("kind",
                           "Service, EndpointSlice, Rollout, TrafficSplit, HTTPRoute, GRPCRoute, "
                           "TCPRoute, ReferenceGrant, AnalysisTemplate or Webhook");
    if (!kind) return nullptr;
    const auto refusal = std::ranges::find(kKindsRefused, *kind, &Refusal::field);
    if (refusal != std::end(kKindsRefused)) {
      root.Find("kind")->Fail(fmt::format("another kind: {}", refusal->why), refusal->remedy);
      return nullptr;
    }
    const auto api = std::ranges::find(Apis(), *kind, &Api::kind);
    if (api == Apis().end()) {
      root.Find("kind")->OneOf({"Service", "EndpointSlice", "Rollout", "TrafficSplit", "AnalysisTemplate",
                                "Webhook", "HTTPRoute", "GRPCRoute", "TCPRoute", "ReferenceGrant"},
                               "");
      return nullptr;
    }
    if (version && std::ranges::find(api->versions, *version) == api->versions.end()) {
      root.Find("apiVersion")
          ->Fail(fmt::format("{}{} for a {}", api->versions.size() > 1 ? "one of " : "",
                             fmt::join(api->versions, ", "), api->kind),
                 *version == "argoproj.io/v1alpha1" && api->kind == "Rollout"
                     ? "Weir's Rollout has a group of its own: Argo Rollouts may run beside it"
                     : "");
    }
    return &*api;
  }

  static Object ReadAs(const Cursor& root, const Api& api, const Metadata& metadata) {
    if (api.kind == "Service") return ReadService(root, metadata);
    if (api.kind == "EndpointSlice") return ReadEndpointSlice(root, metadata);
    if (api.kind == "Rollout") return ReadRollout(root, metadata);
    if (api.kind == "AnalysisTemplate") return ReadAnalysisTemplate(root, metadata);
    if (api.kind == "Webhook") return ReadWebhook(root, metadata);
    if (api.kind == "HTTPRoute") return ReadRoute(root, metadata, RouteKind::kHttp);
    if (api.kind == "GRPCRoute") return ReadRoute(root, metadata, RouteKind::kGrpc);
    if (api.kind == "TCPRoute") return ReadRoute(root, metadata, RouteKind::kTcp);
    if (api.kind == "ReferenceGrant") return ReadReferenceGrant(root, metadata);
    const auto version = root.Find("apiVersion");
    return ReadTrafficSplit(root, metadata, version && version->node().text == "split.smi-spec.io/v1alpha1");
  }

  /// What can be told of an object whose kind is not known.
  static std::string Who(const Cursor& root) {
    const auto text = [](const std::optional<Cursor>& field, std::string_view otherwise) {
      const bool shown = field && field->node().kind == YamlNode::Kind::kScalar &&
                         field->node().text.size() <= 253 && IsPlainWord(field->node().text);
      return shown ? field->node().text : std::string(otherwise);
    };
    const auto metadata = root.Find("metadata");
    return fmt::format("{} {}/{}", text(root.Find("kind"), "object"),
                       text(metadata ? metadata->Find("namespace") : std::nullopt, "default"),
                       text(metadata ? metadata->Find("name") : std::nullopt, "?"));
  }

  static bool IsPlainWord(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
             c == '.';
    });
  }

  void Flush(const std::string& who) {
    for (const YamlError& error : errors_) AddLine(error.line, who, error);
    errors_.clear();
  }

  void AddLine(int line, const std::string& who, const YamlError& error) {
    if (lines_.size() >= kMaxErrors) {
      ++left_out_;
      return;
    }
    const std::string place = file_.empty() ? "" : fmt::format("{}:{}: ", file_, line);
    lines_.emplace_back(line, fmt::format("{}{}{}{}{}{}", place, who, who.empty() ? "" : ": ", error.path,
                                          error.path.empty() ? "" : ": ", error.text));
  }

  std::string file_;
  std::vector<YamlError> errors_;  // of the object at hand
  std::vector<std::pair<int, std::string>> lines_;
  size_t left_out_ = 0;
  std::map<std::tuple<std::string_view, ObjectKey>, int> seen_;
  std::vector<Document> documents_;
};

}  // namespace

Result<Object> ReadNode(const YamlNode& node) {
  Reader reader("");
  auto object = reader.TakeOne(node);
  if (!object) return reader.Complaints();
  return *std::move(object);
}

Result<std::vector<Document>> ParseManifests(std::string_view yaml, std::string_view file) {
  Reader reader(file);
  reader.TakeFileErrors(ReadYaml(yaml, [&reader](const YamlDocument& document) { reader.Take(document); }));
  return reader.Finish();
}

}  // namespace weir::model
