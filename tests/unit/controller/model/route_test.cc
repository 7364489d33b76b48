// From text to routes: what is kept as it is written, defaults, and what connect() cannot do.
#include <gtest/gtest.h>

#include "tests/unit/controller/model/yaml_objects.h"

namespace weir::model {
namespace {

Route One(const std::string& kind, const std::string& spec) {
  const ObjectSet set = ReadObjects(RouteYaml(kind, "name: r", spec));
  return set.routes.size() == 1 ? set.routes.begin()->second : Route{};
}

TEST(Route, ParentsStayAsTheyAreWritten) {
  const Route route =
      One("HTTPRoute",
          "parentRefs: [{name: gw}, {group: \"\", kind: Service, name: a}, {group: core, kind: "
          "Service, namespace: shop, name: b, sectionName: http, port: 80}, {group: x, kind: "
          "Service, name: c}, {group: \"\", kind: ConfigMap, name: d}]");
  ASSERT_EQ(route.parents.size(), 5U);
  EXPECT_EQ(route.parents[0], (ParentRef{.name = "gw"}));
  EXPECT_EQ(route.parents[1], (ParentRef{.group = "", .kind = "Service", .name = "a"}));
  EXPECT_EQ(route.parents[2], (ParentRef{.group = "core",
                                         .kind = "Service",
                                         .ns = "shop",
                                         .name = "b",
                                         .section_name = "http",
                                         .port = 80}));
  std::vector<bool> services;
  for (const ParentRef& parent : route.parents) services.push_back(parent.IsService());
  EXPECT_EQ(services, (std::vector{false, true, true, false, false}));
}

TEST(Route, BackendsHaveDefaults) {
  const Route route =
      One("TCPRoute",
          "rules: [{backendRefs: [{name: a, port: 80}, {group: core, kind: Service, namespace: x, "
          "name: b, port: 81, weight: 0}, {group: x.y, kind: Z, name: c, weight: 1000000}]}]");
  EXPECT_EQ(route.kind, RouteKind::kTcp);
  EXPECT_EQ(route.backends, (std::vector<BackendRef>{{"", "Service", "shop", "a", 80, 1},
                                                     {"core", "Service", "x", "b", 81, 0},
                                                     {"x.y", "Z", "shop", "c", {}, 1'000'000}}));
  EXPECT_TRUE(route.unsupported.empty());
}

TEST(Route, WhatTheApiServerAdds) {
  const ObjectSet set = ReadObjects(RouteYaml(
      "GRPCRoute", "name: r, generation: 7, creationTimestamp: \"2026-11-24T10:00:00Z\"", "rules: []"));
  const Route& route = set.routes.at({RouteKind::kGrpc, {"shop", "r"}});
  EXPECT_EQ(route.generation, 7);
  EXPECT_EQ(route.created.time_since_epoch(), std::chrono::seconds(1795514400));
  EXPECT_EQ(KindOf(Object(route)), "GRPCRoute");
}

TEST(Route, KindsHaveNamesOfTheirOwn) {
  ObjectSet set = ReadObjects(RouteYaml("HTTPRoute", "name: r", "") + RouteYaml("GRPCRoute", "name: r", "") +
                              RouteYaml("TCPRoute", "name: r", ""));
  EXPECT_EQ(set.routes.size(), 3U);
  EXPECT_TRUE(set.Get("GRPCRoute", {"shop", "r"}));
  EXPECT_TRUE(set.Remove("GRPCRoute", {"shop", "r"}));
  EXPECT_FALSE(set.Remove("GRPCRoute", {"shop", "r"}));
  EXPECT_FALSE(set.Get("GRPCRoute", {"shop", "r"}));
  EXPECT_TRUE(set.Get("TCPRoute", {"shop", "r"}));
  EXPECT_FALSE(set.Get("UDPRoute", {"shop", "r"}));
}

TEST(Route, WhatIsEveryConnection) {
  const std::string kTo = "backendRefs: [{name: a, port: 80}]";
  const struct {
    std::string kind, rules;
    std::vector<std::string> unsupported;
  } kCases[] = {
      {"HTTPRoute", "{" + kTo + "}", {}},
      {"HTTPRoute", "{matches: [], filters: [], " + kTo + "}", {}},
      {"HTTPRoute", "{matches: [{}], " + kTo + "}", {}},
      {"HTTPRoute", "{matches: [{path: {}}], " + kTo + "}", {}},
      {"HTTPRoute",
       "{name: all, matches: [{path: {type: PathPrefix, value: /}, headers: []}], " + kTo + "}",
       {}},
      {"HTTPRoute", "{" + kTo + "}, {name: again, " + kTo + "}", {}},
      {"GRPCRoute", "{matches: [{}], " + kTo + "}", {}},
      {"GRPCRoute",
       "{matches: [{method: {service: s}}, {headers: [{name: x, value: y}]}], " + kTo + "}",
       {"spec.rules[0].matches[0].method: connect() sees addresses, not requests",
        "spec.rules[0].matches[1].headers: connect() sees addresses, not requests"}},
      {"HTTPRoute",
       "{matches: [{path: {value: /a}}], " + kTo + "}",
       {"spec.rules[0].matches[0].path: connect() sees addresses, not paths: only PathPrefix / is every "
        "connection"}},
      {"HTTPRoute",
       "{backendRefs: [{name: a, port: 80, filters: [{type: URLRewrite}]}]}",
       {"spec.rules[0].backendRefs[0].filters: connect() sees addresses, not requests"}},
      {"TCPRoute",
       "{" + kTo + "}, {backendRefs: [{name: a, port: 80, weight: 2}]}",
       {"spec.rules[1]: it leads elsewhere than the rule before, and connect() cannot tell which is meant"}},
      {"TCPRoute",
       "{backendRefs: [{name: \"a\\nb\"}, {name: A}, {name: a, namespace: a.b}, {name: a, kind: \"\"}, "
       "{name: a, "
       "group: /}]}",
       {"spec.rules[0].backendRefs[0]: no object can have such a name, namespace, kind or group",
        "spec.rules[0].backendRefs[1]: no object can have such a name, namespace, kind or group",
        "spec.rules[0].backendRefs[2]: no object can have such a name, namespace, kind or group",
        "spec.rules[0].backendRefs[3]: no object can have such a name, namespace, kind or group",
        "spec.rules[0].backendRefs[4]: no object can have such a name, namespace, kind or group"}},
      {"TCPRoute",
       "{backendRefs: [" +
           [] {
             std::string all;
             for (int i = 0; i < 17; ++i)
               all += (i == 0 ? "{name: b" : ", {name: b") + std::to_string(i) + "}";
             return all;
           }() +
           "]}",
       {"spec.rules[0].backendRefs: Weir divides a Service between 16 variants at most"}},
  };
  for (const auto& test : kCases)
    EXPECT_EQ(One(test.kind, "rules: [" + test.rules + "]").unsupported, test.unsupported) << test.rules;
}

}  // namespace
}  // namespace weir::model
