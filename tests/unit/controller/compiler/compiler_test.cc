#include "controller/compiler/compiler.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>

#include "tests/unit/controller/compiler/objects_builder.h"

namespace weir::compiler {
namespace {

using model::Object;
using model::ObjectKey;
using model::ObjectSet;
using model::TrafficSplit;
using Weights = std::map<ObjectKey, RolloutWeights>;

ObjectSet SetOf(const std::vector<Object>& objects) {
  ObjectSet set;
  for (const Object& object : objects) set.Put(object);
  return set;
}

constexpr Protocol kTcp = Protocol::kTcp;
constexpr Protocol kUdp = Protocol::kUdp;

const model::Service kCheckout = MakeService("checkout", {"127.96.0.1"});
const model::Rollout kRollout = MakeRollout("checkout", "checkout");
const model::Service kPreview = MakeService("preview", {"127.96.0.7"}, {{"http", 8000, kTcp}});
const model::Rollout kBlueGreen = MakeBlueGreen("checkout", "checkout", "preview");
const Weights kEightyTwenty = {{Key("checkout"), {"v1", "v2", 80, 20}}};

struct Case {
  std::string name;
  std::vector<Object> objects;
  Weights weights;
  std::vector<std::string> want;
};

const Case kCases[] = {
    {"a service nobody divides is one variant with all its endpoints",
     {kCheckout, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.2", "127.0.1.1"})},
     {},
     {"127.96.0.1:80/TCP checkout:http | stable v1*1: 127.0.1.1:8080 127.0.1.2:8080"}},
    {"slices of different revisions have no common name",
     {kCheckout, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"}),
      MakeSlice("b", "checkout", Revision("v2"), {"127.0.2.1"})},
     {},
     {"127.96.0.1:80/TCP checkout:http | stable *1: 127.0.1.1:8080 127.0.2.1:8080"}},
    {"pod-template-hash names a revision too",
     {kCheckout, MakeSlice("a", "checkout", {{"pod-template-hash", "5d4f"}}, {"127.0.1.1"})},
     {},
     {"127.96.0.1:80/TCP checkout:http | stable 5d4f*1: 127.0.1.1:8080"}},
    {"without slices the variant is empty",
     {kCheckout},
     {},
     {"127.96.0.1:80/TCP checkout:http | stable *1:"}},
    {"a headless service has no frontend", {MakeService("checkout", {})}, {}, {}},
    {"slices of other services and namespaces do not count",
     {kCheckout, MakeSlice("a", "cart", Revision("v1"), {"127.0.1.1"}),
      model::EndpointSlice{.key = {"other", "a"},
                           .service = "checkout",
                           .ports = {{"http", 8080, kTcp}},
                           .endpoints = {{Address("127.0.1.1")}}}},
     {},
     {"127.96.0.1:80/TCP checkout:http | stable *1:"}},
    {"the same endpoint in two slices is one, at its best state",
     {kCheckout, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1", "!127.0.1.2"}),
      MakeSlice("b", "checkout", Revision("v1"), {"127.0.1.2", "127.0.1.1"})},
     {},
     {"127.96.0.1:80/TCP checkout:http | stable v1*1: 127.0.1.1:8080 127.0.1.2:8080"}},
    {"a port finds the slice port of its name and protocol",
     {MakeService("dns", {"127.96.0.2"}, {{"dns", 53, kUdp}, {"dns-tcp", 53, kTcp}, {"admin", 80, kTcp}}),
      MakeSlice("a", "dns", Revision("v1"), {"127.0.1.1"},
                {{"dns", 5353, kUdp}, {"dns-tcp", 5354, kTcp}, {"dns", 9, kTcp}, {"admin", 10, kUdp}})},
     {},
     {"127.96.0.2:53/TCP dns:dns-tcp | stable v1*1: 127.0.1.1:5354",
      "127.96.0.2:53/UDP dns:dns | stable v1*1: 127.0.1.1:5353",
      "127.96.0.2:80/TCP dns:admin | stable v1*1:"}},
    {"a port without a name finds the slice port without one",
     {MakeService("db", {"127.96.0.3"}, {{"", 5432, kTcp}}),
      MakeSlice("a", "db", Revision("v1"), {"127.0.1.1"}, {{"", 15432, kTcp}})},
     {},
     {"127.96.0.3:5432/TCP db: | stable v1*1: 127.0.1.1:15432"}},
    {"each family has the endpoints of its own",
     {MakeService("web", {"127.96.0.4", "fd00::1"}), MakeSlice("a", "web", Revision("v1"), {"127.0.1.1"}),
      MakeSlice("b", "web", Revision("v1"), {"fd00::11"})},
     {},
     {"127.96.0.4:80/TCP web:http | stable v1*1: 127.0.1.1:8080",
      "[fd00::1]:80/TCP web:http | stable v1*1: [fd00::11]:8080"}},

    {"a rollout divides between stable and canary",
     {kCheckout, kRollout, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"}),
      MakeSlice("b", "checkout", Revision("v2"), {"127.0.2.1"}),
      MakeSlice("c", "checkout", Revision("v3"), {"127.0.3.1"})},
     kEightyTwenty,
     {"127.96.0.1:80/TCP checkout:http | stable v1*80: 127.0.1.1:8080 | canary v2*20: 127.0.2.1:8080"}},
    {"a rollout that has published nothing has no variants",
     {kCheckout, kRollout, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"})},
     {},
     {"127.96.0.1:80/TCP checkout:http"}},
    {"nor has one without a stable revision",
     {kCheckout, kRollout, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"})},
     {{Key("checkout"), {}}},
     {"127.96.0.1:80/TCP checkout:http"}},
    {"no canary, no second variant",
     {kCheckout, kRollout, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"})},
     {{Key("checkout"), {"v1", "", 100, 0}}},
     {"127.96.0.1:80/TCP checkout:http | stable v1*100: 127.0.1.1:8080"}},
    {"a rollout of another name still finds its service",
     {kCheckout, MakeRollout("release", "checkout"),
      MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"})},
     {{Key("release"), {"v1", "", 100, 0}}},
     {"127.96.0.1:80/TCP checkout:http | stable v1*100: 127.0.1.1:8080"}},

    {"before the flip: the new revision has the preview Service and nothing of the active one",
     {kCheckout, kPreview, kBlueGreen, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"}),
      MakeSlice("b", "checkout", Revision("v2"), {"127.0.2.1"}),
      MakeSlice("c", "preview", Revision("v2"), {"127.0.9.9"})},
     {{Key("checkout"), {"v1", "v2", 100, 0}}},
     {"127.96.0.1:80/TCP checkout:http | active v1*100: 127.0.1.1:8080 | preview v2*0: 127.0.2.1:8080",
      "127.96.0.7:8000/TCP preview:http | preview v2*1: 127.0.2.1:8080"}},
    {"after the flip: the revision before is kept",
     {kCheckout, kPreview, kBlueGreen, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"}),
      MakeSlice("b", "checkout", Revision("v2"), {"127.0.2.1"})},
     {{Key("checkout"), {"v2", "", 100, 0, "v1"}}},
     {"127.96.0.1:80/TCP checkout:http | active v2*100: 127.0.2.1:8080 | previous v1*0: 127.0.1.1:8080",
      "127.96.0.7:8000/TCP preview:http | active v2*1: 127.0.2.1:8080"}},
    {"a third revision while one is kept; a preview without endpoints is empty",
     {kCheckout, kPreview, kBlueGreen, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"}),
      MakeSlice("b", "checkout", Revision("v2"), {"127.0.2.1"})},
     {{Key("checkout"), {"v2", "v3", 100, 0, "v1"}}},
     {"127.96.0.1:80/TCP checkout:http | active v2*100: 127.0.2.1:8080 | preview v3*0: | previous v1*0: "
      "127.0.1.1:8080",
      "127.96.0.7:8000/TCP preview:http | preview v3*1:"}},
    {"a preview Service before the first publish has no variants",
     {kCheckout, kPreview, kBlueGreen, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"})},
     {},
     {"127.96.0.1:80/TCP checkout:http", "127.96.0.7:8000/TCP preview:http"}},
    {"a kept revision cannot be chosen: terminating active ones serve on",
     {kCheckout, kBlueGreen, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"}),
      MakeSlice("b", "checkout", Revision("v2"), {"!127.0.2.1"})},
     {{Key("checkout"), {"v2", "", 100, 0, "v1"}}},
     {"127.96.0.1:80/TCP checkout:http | active v2*100: 127.0.2.1:8080 | previous v1*0: 127.0.1.1:8080"}},

    {"terminating endpoints are left out while one is ready",
     {kCheckout, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1", "!127.0.1.2", "-127.0.1.3"})},
     {},
     {"127.96.0.1:80/TCP checkout:http | stable v1*1: 127.0.1.1:8080"}},
    {"terminating endpoints serve on when only they are left",
     {kCheckout, MakeSlice("a", "checkout", Revision("v1"), {"!127.0.1.2", "-127.0.1.3"})},
     {},
     {"127.96.0.1:80/TCP checkout:http | stable v1*1: 127.0.1.2:8080"}},
    {"a ready canary with a weight spares the terminating stable ones",
     {kCheckout, kRollout, MakeSlice("a", "checkout", Revision("v1"), {"!127.0.1.1"}),
      MakeSlice("b", "checkout", Revision("v2"), {"127.0.2.1"})},
     kEightyTwenty,
     {"127.96.0.1:80/TCP checkout:http | stable v1*80: | canary v2*20: 127.0.2.1:8080"}},
    {"a ready canary of weight 0 cannot be chosen: terminating stable ones serve on",
     {kCheckout, kRollout, MakeSlice("a", "checkout", Revision("v1"), {"!127.0.1.1"}),
      MakeSlice("b", "checkout", Revision("v2"), {"127.0.2.1"})},
     {{Key("checkout"), {"v1", "v2", 100, 0}}},
     {"127.96.0.1:80/TCP checkout:http | stable v1*100: 127.0.1.1:8080 | canary v2*0: 127.0.2.1:8080"}},
    {"readiness is a matter of each port",
     {MakeService("web", {"127.96.0.4"}, {{"http", 80, kTcp}, {"admin", 81, kTcp}}),
      MakeSlice("a", "web", Revision("v1"), {"127.0.1.1"}),
      MakeSlice("b", "web", Revision("v1"), {"!127.0.1.2"}, {{"admin", 8081, kTcp}})},
     {},
     {"127.96.0.4:80/TCP web:http | stable v1*1: 127.0.1.1:8080",
      "127.96.0.4:81/TCP web:admin | stable v1*1: 127.0.1.2:8081"}},

    {"a split's backends bring the endpoints of their own services, and keep their own frontends",
     {kCheckout, MakeService("checkout-v1", {"127.96.1.1"}, {{"web", 80, kTcp}}),
      MakeService("checkout-v2", {"127.96.1.2"}),
      TrafficSplit{Key("s"), "checkout", {{"checkout-v1", 3}, {"checkout-v2", 1}}},
      MakeSlice("a", "checkout-v1", Revision("v1"), {"127.0.1.1"}, {{"web", 8081, kTcp}}),
      MakeSlice("b", "checkout-v2", Revision("v2"), {"127.0.2.1"}),
      MakeSlice("c", "checkout", Revision("v1"), {"127.0.1.1", "127.0.2.1"})},
     {},
     {"127.96.0.1:80/TCP checkout:http | backend checkout-v1*3: 127.0.1.1:8081 | backend checkout-v2*1: "
      "127.0.2.1:8080",
      "127.96.1.1:80/TCP checkout-v1:web | stable v1*1: 127.0.1.1:8081",
      "127.96.1.2:80/TCP checkout-v2:http | stable v2*1: 127.0.2.1:8080"}},
    {"a root that is its own backend: one level, its own slices",
     {kCheckout, MakeService("checkout-v2", {"127.96.1.2"}),
      TrafficSplit{Key("s"), "checkout", {{"checkout", 90}, {"checkout-v2", 10}}},
      MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"}),
      MakeSlice("b", "checkout-v2", Revision("v2"), {"127.0.2.1"})},
     {},
     {"127.96.0.1:80/TCP checkout:http | backend checkout*90: 127.0.1.1:8080 | backend checkout-v2*10: "
      "127.0.2.1:8080",
      "127.96.1.2:80/TCP checkout-v2:http | stable v2*1: 127.0.2.1:8080"}},
    {"a backend that is a root itself is not followed",
     {MakeService("a", {"127.96.0.1"}), MakeService("b", {"127.96.0.2"}), MakeService("c", {"127.96.0.3"}),
      TrafficSplit{Key("s"), "a", {{"b", 1}}}, TrafficSplit{Key("t"), "b", {{"c", 1}}},
      MakeSlice("b", "b", Revision("v1"), {"127.0.1.1"}), MakeSlice("c", "c", Revision("v2"), {"127.0.2.1"})},
     {},
     {"127.96.0.1:80/TCP a:http | backend b*1: 127.0.1.1:8080",
      "127.96.0.2:80/TCP b:http | backend c*1: 127.0.2.1:8080",
      "127.96.0.3:80/TCP c:http | stable v2*1: 127.0.2.1:8080"}},
    {"a backend without the root's port, or without a service, is empty",
     {kCheckout, MakeService("other-port", {}, {{"http", 8080, kTcp}}),
      MakeService("udp", {}, {{"http", 80, kUdp}}),
      TrafficSplit{Key("s"), "checkout", {{"other-port", 1}, {"udp", 1}, {"gone", 1}}},
      MakeSlice("a", "other-port", Revision("v1"), {"127.0.1.1"}),
      MakeSlice("b", "udp", Revision("v1"), {"127.0.1.2"}),
      MakeSlice("c", "gone", Revision("v1"), {"127.0.1.3"})},
     {},
     {"127.96.0.1:80/TCP checkout:http | backend other-port*1: | backend udp*1: | backend gone*1:"}},
    {"a split's terminating endpoints serve on when no backend with a weight has a ready one",
     {kCheckout, MakeService("b", {}), MakeService("c", {}),
      TrafficSplit{Key("s"), "checkout", {{"b", 1}, {"c", 0}}},
      MakeSlice("b", "b", Revision("v1"), {"!127.0.1.1"}),
      MakeSlice("c", "c", Revision("v2"), {"127.0.2.1"})},
     {},
     {"127.96.0.1:80/TCP checkout:http | backend b*1: 127.0.1.1:8080 | backend c*0: 127.0.2.1:8080"}},
};

TEST(CompilerTest, Cases) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name);
    const ObjectSet objects = SetOf(c.objects);
    Compiler compiler({});
    const Frontends all = compiler.Compile(objects, c.weights);
    EXPECT_EQ(ToText(all), c.want);
    Frontends one_by_one;
    for (const auto& [key, service] : objects.services) {
      one_by_one.merge(compiler.CompileService(objects, c.weights, key));
    }
    const Difference difference = Diff(all, one_by_one);
    EXPECT_TRUE(difference.upserts.empty() && difference.removals.empty());
  }
}

TEST(CompilerTest, TheOrderOfSlicesDoesNotShow) {
  const auto a = MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.3", "127.0.1.1"});
  const auto b = MakeSlice("b", "checkout", Revision("v1"), {"127.0.1.2"});
  auto a_second = a, b_first = b;
  a_second.key = Key("y");
  b_first.key = Key("x");
  Compiler compiler({});
  const Frontends one = compiler.Compile(SetOf({kCheckout, a, b}), {});
  const Frontends other = compiler.Compile(SetOf({kCheckout, b_first, a_second}), {});
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one.begin()->second.SerializeAsString(), other.begin()->second.SerializeAsString());
}

TEST(CompilerTest, FieldsBesideTheVariants) {
  auto service = kCheckout;
  service.client_ip_affinity = std::chrono::seconds(10800);
  for (const v1::OnEmpty on_empty : {v1::ON_EMPTY_PASS, v1::ON_EMPTY_REFUSE}) {
    Compiler compiler({.on_empty = on_empty});
    const Frontends frontends = compiler.Compile(SetOf({service, MakeService("cart", {"127.96.0.9"})}), {});
    ASSERT_EQ(frontends.size(), 2u);
    const v1::Frontend& sticky = frontends.begin()->second;
    EXPECT_EQ(sticky.namespace_(), "shop");
    EXPECT_EQ(sticky.affinity_timeout_seconds(), 10800u);
    EXPECT_EQ(sticky.on_empty(), on_empty);
    EXPECT_EQ(std::next(frontends.begin())->second.affinity_timeout_seconds(), 0u);
  }
}

TEST(CompilerTest, KeysAreDistinct) {
  v1::FrontendKey key;
  key.set_address(Address("127.96.0.1").ToBytes());
  key.set_port(80);
  key.set_protocol(v1::PROTOCOL_TCP);
  v1::FrontendKey port = key, protocol = key, address = key;
  port.set_port(80 << 8);
  protocol.set_protocol(v1::PROTOCOL_UDP);
  address.set_address(Address("::7f60:1").ToBytes());
  EXPECT_EQ(std::set<std::string>({ToKey(key), ToKey(port), ToKey(protocol), ToKey(address)}).size(), 4u);
  EXPECT_EQ(ToKey(key), ToKey(v1::FrontendKey(key)));
}

TEST(CompilerTest, DependentsAreTheServiceAndTheRootsAboveIt) {
  Compiler compiler({});
  compiler.Index(SetOf({TrafficSplit{Key("s"), "root", {{"root", 1}, {"b", 1}, {"b", 1}}},
                        TrafficSplit{Key("t"), "other", {{"b", 1}}}}));
  EXPECT_EQ(compiler.Dependents(Key("b")), (std::vector{Key("b"), Key("other"), Key("root")}));
  EXPECT_EQ(compiler.Dependents(Key("root")), std::vector{Key("root")});
  EXPECT_EQ(compiler.Dependents(Key("alone")), std::vector{Key("alone")});
  EXPECT_EQ(compiler.Dependents({"elsewhere", "b"}), (std::vector<ObjectKey>{{"elsewhere", "b"}}));
}

TEST(CompilerTest, APreviewServiceDependsOnTheActiveOnesSlices) {
  Compiler compiler({});
  compiler.Index(SetOf({kCheckout, kPreview, kBlueGreen}));
  EXPECT_EQ(compiler.Dependents(Key("checkout")), (std::vector{Key("checkout"), Key("preview")}));
  EXPECT_EQ(compiler.Dependents(Key("preview")), std::vector{Key("preview")});
}

TEST(CompilerTest, AServiceThatIsGoneHasNoFrontends) {
  Compiler compiler({});
  const ObjectSet before = SetOf({kCheckout, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"})});
  EXPECT_EQ(compiler.Compile(before, {}).size(), 1u);
  ObjectSet after = before;
  ASSERT_TRUE(after.Remove("Service", kCheckout.key));
  EXPECT_TRUE(compiler.CompileService(after, {}, kCheckout.key).empty());
}

TEST(CompilerTest, DiffTurnsBeforeIntoAfter) {
  Compiler compiler({});
  const auto before = compiler.Compile(
      SetOf({MakeService("a", {"127.96.0.1"}), MakeService("b", {"127.96.0.2"}),
             MakeService("c", {"127.96.0.3"}), MakeSlice("b", "b", Revision("v1"), {"127.0.1.1"})}),
      {});
  const auto after =
      compiler.Compile(SetOf({MakeService("b", {"127.96.0.2"}), MakeService("c", {"127.96.0.3"}),
                              MakeService("d", {"127.96.0.4"}),
                              MakeSlice("b", "b", Revision("v1"), {"127.0.1.1", "127.0.1.2"})}),
                       {});
  const Difference difference = Diff(before, after);
  ASSERT_EQ(difference.removals.size(), 1u);
  EXPECT_EQ(ToKey(difference.removals[0]), before.begin()->first);
  std::vector<std::string> upserts;
  for (const v1::Frontend& frontend : difference.upserts) upserts.push_back(ToText(frontend));
  EXPECT_EQ(upserts,
            (std::vector<std::string>{"127.96.0.2:80/TCP b:http | stable v1*1: 127.0.1.1:8080 127.0.1.2:8080",
                                      "127.96.0.4:80/TCP d:http | stable *1:"}));
  const Difference none = Diff(after, after);
  EXPECT_TRUE(none.upserts.empty() && none.removals.empty());
}

struct CountCase {
  std::string name;
  std::vector<Object> objects;
  std::map<std::string, std::pair<uint32_t, uint32_t>> want;  // ready, total
};

const model::Service kDual =
    MakeService("checkout", {"127.96.0.1", "fd00::1"}, {{"http", 80, kTcp}, {"dns", 53, kUdp}});

const CountCase kCountCases[] = {
    {"no slices", {kCheckout}, {}},
    {"no service", {MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"})}, {}},
    {"by revision; only ready ones are ready",
     {kCheckout, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1", "127.0.1.2", "!127.0.1.3"}),
      MakeSlice("b", "checkout", Revision("v2"), {"-127.0.2.1"}),
      MakeSlice("c", "cart", Revision("v1"), {"127.0.9.1"})},
     {{"v1", {2, 3}}, {"v2", {0, 1}}}},
    {"the same endpoint in two slices counts once",
     {kCheckout, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"}),
      MakeSlice("b", "checkout", Revision("v1"), {"!127.0.1.1", "127.0.1.2"})},
     {{"v1", {2, 2}}}},
    {"one address with two port numbers is two endpoints",
     {kCheckout, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"}),
      MakeSlice("b", "checkout", Revision("v1"), {"127.0.1.1"}, {{"http", 8082, kTcp}})},
     {{"v1", {2, 2}}}},
    {"several ports and both families count once",
     {kDual,
      MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1", "127.0.1.2"},
                {{"http", 8080, kTcp}, {"dns", 53, kUdp}}),
      MakeSlice("b", "checkout", Revision("v1"), {"fd00::11", "fd00::12"}, {{"http", 8080, kTcp}})},
     {{"v1", {2, 2}}}},
    {"what no port of the service reaches does not count",
     {kCheckout, MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"}, {{"web", 8080, kTcp}}),
      MakeSlice("b", "checkout", Revision("v2"), {"fd00::11"})},
     {{"v1", {0, 0}}, {"v2", {0, 0}}}},
};

TEST(CountEndpointsTest, Cases) {
  for (const CountCase& c : kCountCases) {
    SCOPED_TRACE(c.name);
    std::map<std::string, std::pair<uint32_t, uint32_t>> got;
    for (const auto& [revision, count] : CountEndpoints(SetOf(c.objects), kRollout)) {
      got[revision] = {count.ready, count.total};
    }
    EXPECT_EQ(got, c.want);
  }
}

TEST(CountEndpointsTest, TheRolloutsLabelDecides) {
  auto rollout = kRollout;
  rollout.revision_label = "version";
  const ObjectSet objects =
      SetOf({kCheckout,
             MakeSlice("a", "checkout", {{"version", "blue"}, {"weir.dev/revision", "v1"}}, {"127.0.1.1"})});
  EXPECT_TRUE(CountEndpoints(objects, rollout).contains("blue"));
  EXPECT_TRUE(CountEndpoints(objects, kRollout).contains("v1"));
}

TEST(Compiler, HttpIsAPortsWish) {
  Compiler compiler({});
  const Frontends frontends = compiler.Compile(
      SetOf({MakeService("shop", {"127.96.0.1", "fd00::1"}, {{"a", 80, kTcp, true}, {"b", 81, kTcp}})}), {});
  ASSERT_EQ(frontends.size(), 4U);
  for (const auto& [key, frontend] : frontends) EXPECT_EQ(frontend.http(), frontend.key().port() == 80);
}

TEST(Compiler, SlicesTakenUpOneByOneCompileAsAllAtOnce) {
  std::mt19937 random(5);
  ObjectSet objects = SetOf({MakeService("a", {"127.96.0.1"}), MakeService("b", {"127.96.0.2"})});
  Compiler one_by_one({});
  one_by_one.Index(objects);
  for (int step = 0; step < 500; ++step) {
    const std::string name = "s" + std::to_string(random() % 6);
    const auto before = objects.slices.find(Key(name));
    const std::optional<std::string> was =
        before == objects.slices.end() ? std::nullopt : std::optional(before->second.service);
    std::optional<std::string> is;
    objects.Remove("EndpointSlice", Key(name));
    if (random() % 3 != 0) {
      is = random() % 2 == 0 ? "a" : "b";
      objects.Put(MakeSlice(name, *is, Revision("v" + std::to_string(random() % 2)),
                            {"127.0.1." + std::to_string(random() % 9)}));
    }
    one_by_one.IndexSlice(Key(name), was ? &*was : nullptr, is ? &*is : nullptr);
    Compiler at_once({});
    at_once.Index(objects);
    for (const char* service : {"a", "b"}) {
      ASSERT_EQ(ToText(one_by_one.CompileService(objects, {}, Key(service))),
                ToText(at_once.CompileService(objects, {}, Key(service))))
          << "step " << step;
    }
  }
}

/// What of the one frontend lingers: "127.0.1.1:8080 ..."; "?" where not all is known.
std::string Lingering(const std::vector<Object>& objects, const Weights& weights,
                      const std::string& service) {
  const ObjectSet set = SetOf(objects);
  Compiler compiler(Options{});
  compiler.Index(set);
  const Frontends frontends = compiler.CompileService(set, weights, Key(service));
  if (frontends.size() != 1) return "not one frontend";
  const v1::Frontend& frontend = frontends.begin()->second;
  std::string text;
  for (const v1::Endpoint& endpoint : frontend.lingering())
    text += (text.empty() ? "" : " ") + ToString(SocketAddress{*IpAddress::FromBytes(endpoint.address()),
                                                               static_cast<uint16_t>(endpoint.port())});
  return frontend.endpoints_known() ? text : "?";
}

TEST(CompilerTest, WhatExistsAndIsNotChosenLingers) {
  const Object terminating =
      MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1", "!127.0.1.2", "-127.0.1.3"});
  const Object canary = MakeSlice("b", "checkout", Revision("v2"), {"127.0.2.1"});
  const Object third = MakeSlice("c", "checkout", Revision("v3"), {"127.0.3.1"});
  EXPECT_EQ(Lingering({kCheckout, terminating}, {}, "checkout"), "127.0.1.2:8080 127.0.1.3:8080");
  EXPECT_EQ(Lingering({kCheckout}, {}, "checkout"), "") << "none there are, and that is known";
  EXPECT_EQ(Lingering({kCheckout, kRollout, terminating, canary, third}, kEightyTwenty, "checkout"),
            "127.0.1.2:8080 127.0.1.3:8080 127.0.3.1:8080")
      << "other revisions exist, too";
  EXPECT_EQ(
      Lingering({kCheckout, MakeSlice("a", "checkout", Revision("v1"), {"!127.0.1.1"})}, {}, "checkout"), "")
      << "a terminating one that serves on is chosen";
  EXPECT_EQ(Lingering({kCheckout, kPreview, kBlueGreen, terminating, canary},
                      {{Key("checkout"), {"v1", "v2", 100, 0}}}, "preview"),
            "127.0.1.1:8080 127.0.1.2:8080 127.0.1.3:8080")
      << "behind the preview all of the active Service's exist";
}

TEST(CompilerTest, OfATrafficSplitNotAllIsKnown) {
  TrafficSplit split{.key = Key("split"), .service = "checkout", .backends = {{"checkout-v1", 1}}};
  EXPECT_EQ(Lingering({kCheckout, MakeService("checkout-v1", {"127.96.0.2"}), split,
                       MakeSlice("a", "checkout-v1", Revision("v1"), {"127.0.1.1"})},
                      {}, "checkout"),
            "?");
}

// ---- what nodes do by themselves

v1::Frontend SafetyOf(const model::Rollout& rollout, const RolloutWeights& weights, Options options = {},
                      Protocol protocol = kTcp) {
  const ObjectSet objects =
      SetOf({MakeService("checkout", {"127.96.0.1"}, {{"http", 80, protocol}}), rollout,
             MakeSlice("a", "checkout", Revision("v1"), {"127.0.1.1"}, {{"http", 8080, protocol}})});
  return Compiler(options).Compile(objects, {{rollout.key, weights}}).begin()->second;
}

TEST(CompilerSafetyTest, AnExposedCanaryHasAFailSafe) {
  const v1::Frontend frontend = SafetyOf(kRollout, {"v1", "v2", 80, 20, "", 7});
  EXPECT_EQ(frontend.fail_safe().stable_revision(), "v1");
  EXPECT_EQ(frontend.fail_safe().after_ms(), 30'000U);
  EXPECT_EQ(frontend.fail_safe().trip_after(), 5U);
  EXPECT_EQ(frontend.fail_safe().round(), 7U);
  EXPECT_EQ(frontend.passive_health().consecutive_failures(), 3U);
  EXPECT_EQ(frontend.passive_health().base_ms(), 1000U);
  EXPECT_EQ(frontend.passive_health().max_ms(), 300'000U);
}

TEST(CompilerSafetyTest, NothingExposedNothingToFallBackFrom) {
  EXPECT_FALSE(SafetyOf(kRollout, {"v1", "v2", 100, 0}).has_fail_safe());
  EXPECT_FALSE(SafetyOf(kRollout, {"v1", "", 100, 0}).has_fail_safe());
  EXPECT_FALSE(SafetyOf(kBlueGreen, {"v1", "v2", 100, 0, "v0"}).has_fail_safe());
  EXPECT_TRUE(SafetyOf(kRollout, {"v1", "", 100, 0}).has_passive_health());
}

TEST(CompilerSafetyTest, AgentsAreGivenTheTimeToNoticeThatAControllerIsGone) {
  model::Rollout rollout = kRollout;
  rollout.safety.fail_safe_after = std::chrono::seconds(1);
  const Options options{.silence = std::chrono::seconds(9)};
  EXPECT_EQ(SafetyOf(rollout, kEightyTwenty.begin()->second, options).fail_safe().after_ms(), 9000U);
}

TEST(CompilerSafetyTest, EachCanBeTurnedOff) {
  model::Rollout rollout = kRollout;
  rollout.safety.fail_safe_after = {};
  const Options options{.silence = std::chrono::seconds(9)};
  v1::Frontend frontend = SafetyOf(rollout, kEightyTwenty.begin()->second, options);
  EXPECT_EQ(frontend.fail_safe().after_ms(), 0U);
  EXPECT_EQ(frontend.fail_safe().trip_after(), 5U);
  rollout.safety.trip_after = 0;
  rollout.safety.leave_out_after = 0;
  frontend = SafetyOf(rollout, kEightyTwenty.begin()->second);
  EXPECT_FALSE(frontend.has_fail_safe());
  EXPECT_FALSE(frontend.has_passive_health());
}

TEST(CompilerSafetyTest, DatagramsHaveNoConnectsThatFail) {
  const v1::Frontend frontend = SafetyOf(kRollout, kEightyTwenty.begin()->second, {}, kUdp);
  EXPECT_TRUE(frontend.has_fail_safe());
  EXPECT_FALSE(frontend.has_passive_health());
}

}  // namespace
}  // namespace weir::compiler
