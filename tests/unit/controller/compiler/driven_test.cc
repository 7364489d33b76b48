// Splits whose weights others write: TrafficSplits and Gateway API routes, port by port, and in whatever
// order endpoints and weights arrive.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>

#include "controller/model/claims.h"
#include "tests/unit/controller/compiler/objects_builder.h"

namespace weir::compiler {
namespace {

using model::BackendRef;
using model::ObjectSet;
using model::ParentRef;
using model::Route;
using model::RouteKind;

Route MakeRoute(RouteKind kind, std::vector<ParentRef> parents, std::vector<BackendRef> backends) {
  return {.kind = kind, .key = Key("route"), .parents = std::move(parents), .backends = std::move(backends)};
}
ParentRef To(std::string name, std::optional<uint16_t> port = {}) {
  return {.group = "", .kind = "Service", .name = std::move(name), .port = port};
}
BackendRef Leads(std::string name, uint16_t port, uint32_t weight) {
  return {.ns = kNamespace, .name = std::move(name), .port = port, .weight = weight};
}

ObjectSet SetOf(const std::vector<model::Object>& objects) {
  ObjectSet set;
  for (const model::Object& object : objects) set.Put(object);
  return set;
}

/// With what becomes of empty variants: "pass", "refuse", "share".
std::vector<std::string> Compiled(const ObjectSet& objects) {
  std::vector<std::string> lines;
  for (const auto& [key, frontend] : Compiler({.on_empty = v1::ON_EMPTY_PASS}).Compile(objects, {})) {
    const char* const kWords[] = {"?", "pass", "refuse", "share"};
    lines.push_back(fmt::format("{} {}", kWords[frontend.on_empty()], ToText(frontend)));
  }
  return lines;
}

const model::Service kWeb =
    MakeService("web", {"127.96.0.1"}, {{"http", 80, Protocol::kTcp}, {"admin", 81, Protocol::kTcp}});
const model::Service kV1 = MakeService("v1", {}, {{"web", 8000, Protocol::kTcp}});
const model::Service kV2 = MakeService("v2", {}, {{"web", 9000, Protocol::kTcp}});

model::EndpointSlice Slice(const std::string& service, const std::vector<std::string>& endpoints) {
  return MakeSlice(service + "-1", service, {}, endpoints, {{"web", 8080, Protocol::kTcp}});
}
const model::EndpointSlice kOwn = MakeSlice(
    "web-1", "web", {}, {"127.0.9.1"}, {{"http", 8080, Protocol::kTcp}, {"admin", 8081, Protocol::kTcp}});

TEST(Driven, ARouteDividesItsPortsAlone) {
  EXPECT_EQ(
      Compiled(SetOf(
          {kWeb, kV1, kV2, kOwn, Slice("v1", {"127.0.1.1"}), Slice("v2", {"127.0.2.1"}),
           MakeRoute(RouteKind::kHttp, {To("web", 80)}, {Leads("v1", 8000, 80), Leads("v2", 9000, 20)})})),
      (std::vector<std::string>{
          "pass 127.96.0.1:80/TCP web:http | backend v1*80: 127.0.1.1:8080 | backend v2*20: 127.0.2.1:8080",
          "pass 127.96.0.1:81/TCP web:admin | stable *1: 127.0.9.1:8081"}));
}

TEST(Driven, OfAnUndividedPortAllEndpointsAreKnown) {
  const Frontends frontends =
      Compiler({}).Compile(SetOf({kWeb, kV1, kOwn, Slice("v1", {"127.0.1.1"}),
                                  MakeRoute(RouteKind::kHttp, {To("web", 80)}, {Leads("v1", 8000, 1)})}),
                           {});
  for (const auto& [key, frontend] : frontends)
    EXPECT_EQ(frontend.endpoints_known(), frontend.port_name() == "admin") << frontend.port_name();
}

TEST(Driven, ItsOwnServiceIsOneLevel) {
  EXPECT_EQ(Compiled(SetOf({kWeb, kV2, kOwn, Slice("v2", {"127.0.2.1"}),
                            MakeRoute(RouteKind::kGrpc, {To("web", 80)},
                                      {Leads("web", 80, 9), Leads("v2", 9000, 1)})}))[0],
            "pass 127.96.0.1:80/TCP web:http | backend web*9: 127.0.9.1:8080 | backend v2*1: 127.0.2.1:8080");
  EXPECT_EQ(Compiled(SetOf({kWeb, kOwn, MakeRoute(RouteKind::kTcp, {To("web")}, {Leads("web", 81, 1)})})),
            (std::vector<std::string>{"share 127.96.0.1:80/TCP web:http | backend web*1: 127.0.9.1:8081",
                                      "share 127.96.0.1:81/TCP web:admin | backend web*1: 127.0.9.1:8081"}));
}

TEST(Driven, EmptyBackendsByKind) {
  const std::string kHead = " 127.96.0.1:80/TCP web:http | ";
  const struct {
    std::string name;
    RouteKind kind;
    std::vector<std::string> v1, v2;  // endpoints
    std::vector<BackendRef> backends;
    std::string want;
  } kCases[] = {
      {"HTTPRoute: the others have the share",
       RouteKind::kHttp,
       {"127.0.1.1"},
       {},
       {Leads("v1", 8000, 80), Leads("v2", 9000, 20)},
       "pass" + kHead + "backend v1*80: 127.0.1.1:8080 | backend v2*0:"},
      {"HTTPRoute: nothing anywhere",
       RouteKind::kHttp,
       {},
       {},
       {Leads("v1", 8000, 80), Leads("v2", 9000, 20)},
       "pass" + kHead + "backend v1*80: | backend v2*20:"},
      {"HTTPRoute: one that leads nowhere is refused by weight",
       RouteKind::kHttp,
       {"127.0.1.1"},
       {},
       {Leads("v1", 8000, 80), Leads("gone", 80, 20)},
       "share" + kHead + "backend v1*80: 127.0.1.1:8080 | backend gone*20:"},
      {"GRPCRoute: no weight at all",
       RouteKind::kGrpc,
       {"127.0.1.1"},
       {},
       {Leads("v1", 8000, 0)},
       "share" + kHead + "backend v1*0: 127.0.1.1:8080"},
      {"TCPRoute: refused by weight",
       RouteKind::kTcp,
       {"127.0.1.1"},
       {},
       {Leads("v1", 8000, 80), Leads("v2", 9000, 20)},
       "share" + kHead + "backend v1*80: 127.0.1.1:8080 | backend v2*20:"},
      {"TCPRoute: each has terminating ones of its own",
       RouteKind::kTcp,
       {"127.0.1.1", "!127.0.1.2"},
       {"!127.0.2.1"},
       {Leads("v1", 8000, 80), Leads("v2", 9000, 20)},
       "share" + kHead + "backend v1*80: 127.0.1.1:8080 | backend v2*20: 127.0.2.1:8080"},
      {"HTTPRoute: ready ones spare others' terminating ones",
       RouteKind::kHttp,
       {"127.0.1.1"},
       {"!127.0.2.1"},
       {Leads("v1", 8000, 80), Leads("v2", 9000, 20)},
       "pass" + kHead + "backend v1*80: 127.0.1.1:8080 | backend v2*0:"},
  };
  for (const auto& test : kCases) {
    SCOPED_TRACE(test.name);
    EXPECT_EQ(Compiled(SetOf({kWeb, kV1, kV2, kOwn, Slice("v1", test.v1), Slice("v2", test.v2),
                              MakeRoute(test.kind, {To("web", 80)}, test.backends)}))[0],
              test.want);
  }
}

TEST(Driven, ABackendOfAnotherNamespaceNeedsItsLeave) {
  model::Service other = kV2;
  other.key.ns = "next";
  model::EndpointSlice slice = Slice("v2", {"127.0.2.1"});
  slice.key.ns = "next";
  BackendRef ref = Leads("v2", 9000, 1);
  ref.ns = "next";
  ObjectSet objects = SetOf({kWeb, other, slice, MakeRoute(RouteKind::kTcp, {To("web", 80)}, {ref})});
  EXPECT_EQ(Compiled(objects)[0], "share 127.96.0.1:80/TCP web:http | backend next/v2*1:");
  objects.Put(model::ReferenceGrant{.key = {"next", "g"},
                                    .from = {{"gateway.networking.k8s.io", "TCPRoute", kNamespace}},
                                    .to = {{"", "Service", ""}}});
  EXPECT_EQ(Compiled(objects)[0], "share 127.96.0.1:80/TCP web:http | backend next/v2*1: 127.0.2.1:8080");
  Compiler compiler({});
  compiler.Index(objects);
  EXPECT_EQ(compiler.Dependents({"next", "v2"}), (std::vector<model::ObjectKey>{{"next", "v2"}, Key("web")}));
  EXPECT_EQ(compiler.SourceOf(Key("web"), kWeb.ports[0]), "TCPRoute/route");
  EXPECT_EQ(compiler.SourceOf(Key("web"), kWeb.ports[1]), "");
}

TEST(Driven, ClientsOfOneNamespaceHaveTheirOwn) {
  Route own = MakeRoute(RouteKind::kHttp, {To("web", 80)}, {Leads("v1", 8000, 1), Leads("v2", 9000, 3)});
  own.key.ns = "lab";
  own.parents[0].ns = kNamespace;
  for (BackendRef& backend : own.backends) backend.ns = "lab";
  model::Service lab_v1 = kV1, lab_v2 = kV2;
  lab_v1.key.ns = lab_v2.key.ns = "lab";
  model::EndpointSlice slice1 = Slice("v1", {"127.0.1.1"}), slice2 = Slice("v2", {"127.0.2.1"});
  slice1.key.ns = slice2.key.ns = "lab";
  const ObjectSet objects = SetOf({kWeb, kOwn, lab_v1, lab_v2, slice1, slice2, own});
  Compiler compiler({.on_empty = v1::ON_EMPTY_PASS});
  const Frontends frontends = compiler.Compile(objects, {});
  ASSERT_EQ(frontends.size(), 3U);
  std::vector<std::string> lines;
  for (const auto& [key, frontend] : frontends) {
    EXPECT_EQ(frontend.has_consumers(), frontend.key().port() == 80 && frontend.key().consumers() == 0);
    EXPECT_EQ(frontend.endpoints_known(), frontend.key().consumers() == 0)
        << "a backend that is named no more is not gone";
    EXPECT_EQ(frontend.key().consumers(),
              frontend.consumer_namespace().empty() ? 0 : model::ConsumersNumber("lab"));
    lines.push_back(fmt::format("[{}] {}", frontend.consumer_namespace(), ToText(frontend)));
  }
  EXPECT_EQ(lines, (std::vector<std::string>{
                       "[] 127.96.0.1:80/TCP web:http | stable *1: 127.0.9.1:8080",
                       "[lab] 127.96.0.1:80/TCP web:http | backend v1*1: 127.0.1.1:8080 | backend v2*3: "
                       "127.0.2.1:8080",
                       "[] 127.96.0.1:81/TCP web:admin | stable *1: 127.0.9.1:8081"}));
  EXPECT_EQ(compiler.Dependents({"lab", "v2"}), (std::vector<model::ObjectKey>{{"lab", "v2"}, Key("web")}));
  EXPECT_EQ(compiler.SourceOf(Key("web"), kWeb.ports[0]), "");
  EXPECT_EQ(compiler.SourceOf(Key("web"), kWeb.ports[0], "lab"), "HTTPRoute/route");
  EXPECT_EQ(compiler.SourceOf(Key("web"), kWeb.ports[1], "lab"), "");
}

// ---- any order

using Change = std::function<void(ObjectSet&)>;
/// What one watch brings, in its order.
using Stream = std::vector<Change>;

Change Put(model::Object object) {
  return [object = std::move(object)](ObjectSet& objects) { objects.Put(object); };
}

/// Calls `visit` after each change of each order in which two watches can bring theirs.
size_t EveryOrder(const ObjectSet& objects, const Stream& a, size_t i, const Stream& b, size_t j,
                  const std::function<void(const ObjectSet&)>& visit) {
  visit(objects);
  size_t orders = i == a.size() && j == b.size() ? 1 : 0;
  if (i < a.size()) {
    ObjectSet next = objects;
    a[i](next);
    orders += EveryOrder(next, a, i + 1, b, j, visit);
  }
  if (j < b.size()) {
    ObjectSet next = objects;
    b[j](next);
    orders += EveryOrder(next, a, i, b, j + 1, visit);
  }
  return orders;
}

/// No variant without endpoints has a weight while another has some; true if one can be chosen.
bool NoneIsEmpty(const v1::Frontend& frontend) {
  bool any_endpoints = false, any_chosen = false;
  for (const v1::Variant& variant : frontend.variants()) {
    any_endpoints = any_endpoints || variant.endpoints_size() > 0;
    any_chosen = any_chosen || (variant.endpoints_size() > 0 && variant.weight() > 0);
  }
  for (const v1::Variant& variant : frontend.variants())
    EXPECT_FALSE(any_endpoints && variant.endpoints_size() == 0 && variant.weight() > 0) << ToText(frontend);
  return any_chosen;
}

using Weigh = std::function<Change(uint32_t canary, uint32_t stable)>;

/// By a TrafficSplit, and by each kind of route that skips: what is written is the same.
std::vector<std::pair<std::string, Weigh>> Writers(const std::string& root, const std::string& canary,
                                                   const std::string& stable) {
  std::vector<std::pair<std::string, Weigh>> writers;
  writers.emplace_back("TrafficSplit", [=](uint32_t c, uint32_t s) {
    return Put(model::TrafficSplit{Key("split"), root, {{canary, c}, {stable, s}}});
  });
  for (const RouteKind kind : {RouteKind::kHttp, RouteKind::kGrpc}) {
    writers.emplace_back(NameOf(kind), [=](uint32_t c, uint32_t s) {
      return Put(MakeRoute(kind, {To(root, 80)}, {Leads(stable, 80, s), Leads(canary, 80, c)}));
    });
  }
  return writers;
}

model::EndpointSlice Pods(const std::string& service, const std::vector<std::string>& endpoints) {
  return MakeSlice(service + "-x", service, {}, endpoints);
}

void CheckEveryOrder(const std::string& root, const ObjectSet& start, const Stream& endpoints,
                     const Stream& weights, bool always_one) {
  size_t visits = 0;
  const size_t orders = EveryOrder(start, endpoints, 0, weights, 0, [&](const ObjectSet& objects) {
    ++visits;
    Compiler compiler({.on_empty = v1::ON_EMPTY_PASS});
    compiler.Index(objects);
    for (const auto& [key, frontend] : compiler.CompileService(objects, {}, Key(root))) {
      ASSERT_EQ(frontend.variants_size(), 2);
      const bool any = NoneIsEmpty(frontend);
      EXPECT_TRUE(any || !always_one) << ToText(frontend);
    }
  });
  EXPECT_GE(orders, 100U);
  EXPECT_GT(visits, orders);
}

// Argo Rollouts flips selectors and sets weights without waiting: the canary Service first leads to what
// stable leads to, then to new pods that are not ready; in the end stable leads to the new pods, and the old
// ones go.
TEST(DrivenInAnyOrder, AsArgoRolloutsWritesIt) {
  const std::string old_1 = "127.0.1.1", old_2 = "127.0.1.2", new_1 = "127.0.2.1", new_2 = "127.0.2.2";
  const Stream endpoints = {
      Put(Pods("canary", {"-" + new_1})),        Put(Pods("canary", {new_1})),
      Put(Pods("canary", {new_1, "-" + new_2})), Put(Pods("canary", {new_1, new_2})),
      Put(Pods("stable", {new_1, new_2})),       Put(Pods("stable", {new_1, new_2, "!" + old_1})),
      Put(Pods("stable", {new_1, new_2}))};
  for (const auto& [name, weigh] : Writers("stable", "canary", "stable")) {
    SCOPED_TRACE(name);
    ObjectSet start = SetOf({MakeService("stable", {"127.96.0.1"}), MakeService("canary", {"127.96.0.2"}),
                             Pods("stable", {old_1, old_2}), Pods("canary", {old_1, old_2})});
    weigh(0, 100)(start);
    CheckEveryOrder("stable", start, endpoints, {weigh(20, 80), weigh(50, 50), weigh(100, 0), weigh(0, 100)},
                    /*always_one=*/false);
    // Short of 100 there is one to choose at every moment.
    CheckEveryOrder("stable", start, endpoints, {weigh(20, 80), weigh(50, 50), weigh(99, 1), weigh(0, 100)},
                    /*always_one=*/true);
  }
}

// An abort: the weight goes to 0 and the new pods go, in either order.
TEST(DrivenInAnyOrder, AnAbort) {
  const Stream endpoints = {Put(Pods("canary", {"127.0.2.1", "!127.0.2.2"})),
                            Put(Pods("canary", {"!127.0.2.1", "!127.0.2.2"})),
                            Put(Pods("canary", {"-127.0.2.1"})),
                            Put(Pods("canary", {})),
                            [](ObjectSet& objects) { objects.Remove("EndpointSlice", Key("canary-x")); },
                            [](ObjectSet& objects) { objects.Remove("Service", Key("canary")); }};
  for (const auto& [name, weigh] : Writers("stable", "canary", "stable")) {
    SCOPED_TRACE(name);
    // That the Service itself is gone is an error to a route, which it owes to its share.
    const Stream before_the_end(endpoints.begin(), endpoints.end() - (name == "TrafficSplit" ? 0 : 1));
    ObjectSet start = SetOf({MakeService("stable", {"127.96.0.1"}), MakeService("canary", {"127.96.0.2"}),
                             Pods("stable", {"127.0.1.1"}), Pods("canary", {"127.0.2.1", "127.0.2.2"})});
    weigh(50, 50)(start);
    CheckEveryOrder("stable", start, before_the_end,
                    {weigh(40, 60), weigh(0, 100), weigh(1, 99), weigh(0, 100)},
                    /*always_one=*/true);
  }
}

// Flagger: the canary is scaled up, has its share, the primary is replaced pod by pod, the canary is scaled
// to 0.
TEST(DrivenInAnyOrder, AsFlaggerWritesIt) {
  const std::string p1 = "127.0.1.1", p2 = "127.0.1.2", p3 = "127.0.1.3", c1 = "127.0.2.1";
  const Stream endpoints = {
      Put(Pods("web-canary", {"-" + c1})),      Put(Pods("web-canary", {c1})),
      Put(Pods("web-primary", {p1, "-" + p3})), Put(Pods("web-primary", {p3, "!" + p1})),
      Put(Pods("web-canary", {"!" + c1})),      Put(Pods("web-canary", {}))};
  for (const auto& [name, weigh] : Writers("web", "web-canary", "web-primary")) {
    SCOPED_TRACE(name);
    ObjectSet start = SetOf({MakeService("web", {"127.96.0.1"}), MakeService("web-canary", {"127.96.0.2"}),
                             MakeService("web-primary", {"127.96.0.3"}), Pods("web-primary", {p1, p2}),
                             Pods("web-canary", {})});
    weigh(0, 100)(start);
    CheckEveryOrder("web", start, endpoints, {weigh(10, 90), weigh(20, 80), weigh(50, 50), weigh(0, 100)},
                    /*always_one=*/true);
  }
}

}  // namespace
}  // namespace weir::compiler
