// gateway.networking.k8s.io HTTPRoute, GRPCRoute and TCPRoute. What connect() cannot do is no error of the
// document: the API server has taken it, other parents may do it, and the route's status is to say it.
#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "controller/model/kinds.h"

namespace weir::model {
namespace {

constexpr size_t kMaxParents = 32;  // of the API

constexpr std::string_view kRequests = "connect() sees addresses, not requests";
constexpr std::string_view kUnknown = "Weir does not know this field";

class RouteReader {
 public:
  explicit RouteReader(Route& route) : route_(route) {}

  void ReadSpec(const Cursor& spec) {
    const auto fields = spec.Entries();
    for (const auto& [name, field] : fields) {
      if (name == "parentRefs") {
        ReadParents(field);
      } else if (name == "hostnames") {
        if (!IsEmpty(field)) Refuse(field, "connect() sees addresses, not names");
      } else if (name == "rules") {
        ReadRules(field);
      } else if (name != "useDefaultGateways") {
        Refuse(field, kUnknown);
      }
    }
  }

 private:
  static bool IsEmpty(const Cursor& field) {
    return field.node().items.empty() && field.node().entries.empty() &&
           field.node().kind != YamlNode::Kind::kScalar;
  }

  void Refuse(const Cursor& field, std::string_view why) {
    route_.unsupported.push_back(fmt::format("{}: {}", field.Path(), why));
  }

  void ReadParents(const Cursor& field) {
    const auto items = field.Items();
    if (items.size() > kMaxParents) field.Fail(fmt::format("at most {} parents", kMaxParents));
    for (const Cursor& item : items) {
      if (!item.ExpectMap({"group", "kind", "namespace", "name", "sectionName", "port"})) continue;
      ParentRef parent;
      parent.group = item.StringAt("group");
      parent.kind = item.StringAt("kind");
      parent.ns = item.StringAt("namespace");
      parent.name = item.RequireString("name", "the name of the parent").value_or("");
      parent.section_name = item.StringAt("sectionName");
      if (const auto port = item.Find("port")) parent.port = port->Port();
      route_.parents.push_back(std::move(parent));
    }
  }

  void ReadRules(const Cursor& field) {
    const auto items = field.Items();
    for (size_t i = 0; i < items.size(); ++i) {
      std::vector<BackendRef> backends = ReadRule(items[i]);
      if (i == 0) {
        route_.backends = std::move(backends);
      } else if (backends != route_.backends) {
        Refuse(items[i], "it leads elsewhere than the rule before, and connect() cannot tell which is meant");
      }
    }
  }

  std::vector<BackendRef> ReadRule(const Cursor& rule) {
    std::vector<BackendRef> backends;
    const auto fields = rule.Entries();
    for (const auto& [name, field] : fields) {
      if (name == "backendRefs") {
        backends = ReadBackends(field);
      } else if (name == "matches" && route_.kind != RouteKind::kTcp) {
        ReadMatches(field);
      } else if (name == "filters" || name == "timeouts" || name == "retry" || name == "sessionPersistence") {
        if (!IsEmpty(field)) Refuse(field, kRequests);
      } else if (name != "name") {
        Refuse(field, kUnknown);
      }
    }
    return backends;
  }

  void ReadMatches(const Cursor& field) {
    const auto items = field.Items();
    for (const Cursor& match : items) {
      const auto fields = match.Entries();
      for (const auto& [name, condition] : fields) {
        const bool path = name == "path" && route_.kind == RouteKind::kHttp;
        if (path ? IsEveryPath(condition) : IsEmpty(condition)) continue;
        Refuse(condition, path ? "connect() sees addresses, not paths: only PathPrefix / is every connection"
                               : kRequests);
      }
    }
  }

  /// PathPrefix "/", which are the defaults too.
  static bool IsEveryPath(const Cursor& path) {
    const auto type = path.StringAt("type"), value = path.StringAt("value");
    return type.value_or("PathPrefix") == "PathPrefix" && value.value_or("/") == "/";
  }

  static bool IsReference(const BackendRef& backend) {
    // A kind is a label in any case of letters.
    std::string kind = backend.kind;
    std::ranges::transform(kind, kind.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? 'a' : c; });
    return IsDnsSubdomain(backend.name) && IsDnsLabel(backend.ns) && IsDnsLabel(kind) &&
           (backend.group.empty() || IsDnsSubdomain(backend.group));
  }

  std::vector<BackendRef> ReadBackends(const Cursor& field) {
    std::vector<BackendRef> backends;
    const auto items = field.Items();
    if (items.size() > kMaxBackends)
      Refuse(field, fmt::format("Weir divides a Service between {} variants at most", kMaxBackends));
    for (const Cursor& item : items) {
      BackendRef backend;
      const auto fields = item.Entries();
      for (const auto& [name, value] : fields) {
        if (name == "group") {
          backend.group = value.String().value_or("");
        } else if (name == "kind") {
          backend.kind = value.String().value_or("");
        } else if (name == "namespace") {
          backend.ns = value.String().value_or("");
        } else if (name == "port") {
          backend.port = value.Port();
        } else if (name == "weight") {
          backend.weight = static_cast<uint32_t>(value.Integer(0, kMaxWeight).value_or(0));
        } else if (name == "filters") {
          if (!IsEmpty(value)) Refuse(value, kRequests);
        } else if (name != "name") {
          Refuse(value, kUnknown);
        }
      }
      backend.name = item.RequireString("name", "the name of a Service").value_or("");
      if (backend.ns.empty()) backend.ns = route_.key.ns;
      if (IsReference(backend)) {
        backends.push_back(std::move(backend));
      } else {
        Refuse(item, "no object can have such a name, namespace, kind or group");
      }
    }
    return backends;
  }

  Route& route_;
};

}  // namespace

Route ReadRoute(const Cursor& document, const Metadata& metadata, RouteKind kind) {
  Route route{.kind = kind, .key = metadata.key};
  route.generation = metadata.generation;
  route.created = metadata.created;
  document.ExpectMap({"apiVersion", "kind", "metadata", "spec", "status"});
  const auto spec = document.Require("spec", "a map with parentRefs and rules");
  if (spec) RouteReader(route).ReadSpec(*spec);
  return route;
}

}  // namespace weir::model
