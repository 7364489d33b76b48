// TrafficSplits and routes in the core: a change compiles what it touches, and nothing is forgotten.
#include <gtest/gtest.h>

#include <random>

#include "controller/app/status.h"
#include "tests/unit/controller/app/core_fixture.h"

namespace weir::app {
namespace {

std::string Service(const std::string& name, const std::string& address) {
  return fmt::format(
      "apiVersion: v1\nkind: Service\nmetadata: {{name: {}, namespace: shop}}\n"
      "spec: {{clusterIP: {}, ports: [{{name: http, port: 80}}, {{name: admin, port: 81}}]}}\n",
      name, address);
}

std::string Route(const std::string& kind, int weight) {
  return fmt::format(
      "apiVersion: gateway.networking.k8s.io/v1\nkind: {}\nmetadata: {{name: web, namespace: shop}}\n"
      "spec: {{parentRefs: [{{group: \"\", kind: Service, name: web, port: {}}}], rules: [{{backendRefs: ["
      "{{name: web, port: 80, weight: {}}}, {{name: next, port: 80, weight: {}}}]}}]}}\n",
      kind, kind == "HTTPRoute" ? 80 : 81, 100 - weight, weight);
}

class DrivenTest : public CoreTest {
 protected:
  void SetUp() override {
    CoreTest::SetUp();
    const Status put = Put({Service("web", "127.96.0.1"), Service("next", "127.96.0.2")});
    ASSERT_TRUE(put.ok()) << Message(put);
  }

  /// "80 HTTPRoute/web: web*80 next*20".
  std::vector<std::string> Splits() {
    v1::ListSplitsResponse response;
    Observed observed;
    AddSplits({*core, observed}, {"shop", "web"}, response);
    std::vector<std::string> lines;
    for (const v1::Split& split : response.splits()) {
      std::string line = fmt::format("{} {}:", split.key().port(), split.source());
      for (const auto& variant : split.variants())
        line += fmt::format(" {}*{}", variant.revision(), variant.weight());
      lines.push_back(line);
    }
    return lines;
  }
};

TEST_F(DrivenTest, EachPortIsShownWithItsSource) {
  const std::vector<std::string> undivided = {"80 Service: *1", "81 Service: *1"};
  EXPECT_EQ(Splits(), undivided);
  ASSERT_TRUE(Put({Route("HTTPRoute", 20), Route("TCPRoute", 5)}).ok());
  EXPECT_EQ(Splits(),
            (std::vector<std::string>{"80 HTTPRoute/web: web*80 next*20", "81 TCPRoute/web: web*95 next*5"}));
  Observed observed;
  EXPECT_EQ(ServiceList({*core, observed}, "shop", "web").services(0).split(), "HTTPRoute/web, TCPRoute/web");
  told.Take();
  ASSERT_TRUE(Put({Route("HTTPRoute", 50)}).ok());
  ASSERT_EQ(told.lines.size(), 1u) << "one port of one Service";
  EXPECT_NE(told.lines[0].find(": 1 upserts, 0 removals"), std::string::npos) << told.lines[0];
  EXPECT_EQ(Splits()[0], "80 HTTPRoute/web: web*50 next*50");
  Start();
  EXPECT_EQ(Splits()[0], "80 HTTPRoute/web: web*50 next*50") << "it outlives a restart";
  ObjectChanges removal;
  removal.removals = {{"HTTPRoute", {"shop", "web"}}, {"TCPRoute", {"shop", "web"}}};
  ASSERT_TRUE(core->Change(removal).ok());
  EXPECT_EQ(Splits(), undivided);
}

TEST_F(DrivenTest, WhatConnectCannotDoIsAnErrorOfAFile) {
  std::string route = Route("HTTPRoute", 20);
  route.replace(route.find("rules: [{"), 9, "rules: [{filters: [{type: RequestMirror}], ");
  const Status put = Put({route});
  EXPECT_EQ(put.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(Message(put).find("HTTPRoute shop/web: spec.rules[0].filters: "), std::string::npos) << put;
}

TEST_F(DrivenTest, InAClusterABackendMayComeLater) {
  const std::string split =
      "apiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata: {name: t, namespace: shop}\n"
      "spec: {service: web, backends: [{service: next, weight: 1}, {service: later, weight: 1}]}\n";
  EXPECT_EQ(Put({split}).code(), absl::StatusCode::kInvalidArgument);
  core = std::make_unique<Core>(store, clock, told, compiler::Options{}, model::Origin::kCluster);
  ASSERT_TRUE(core->Load().ok());
  ASSERT_TRUE(Put({split}).ok());
  EXPECT_EQ(Splits()[0], "80 TrafficSplit/t: next*1 later*1");
}

/// Any of a few objects that have to do with each other.
model::Object AnyObject(std::mt19937& random) {
  const auto pick = [&random](size_t count) { return random() % count; };
  const std::string names[] = {"a", "b", "c"};
  const std::string namespaces[] = {"shop", "shop", "next"};
  const std::string ns = namespaces[pick(3)];
  const size_t name = pick(3);
  const ObjectKey key{ns, names[name]};
  switch (pick(7)) {
    case 0: {
      model::Service service{.key = key, .ports = {{"http", 80}, {"admin", 81}}};
      service.cluster_ips = {*IpAddress::Parse(fmt::format("10.96.{}.{}", ns == "shop" ? 0 : 1, name + 1))};
      if (pick(4) == 0) service.ports.pop_back();
      return service;
    }
    case 1:
    case 2: {
      model::EndpointSlice slice{.key = key, .service = names[pick(3)], .ports = {{"http", 8080}}};
      slice.endpoints = {{*IpAddress::Parse(fmt::format("10.0.0.{}", pick(9) + 1))}};
      return slice;
    }
    case 3: {
      model::TrafficSplit split{.key = key, .service = names[pick(3)]};
      split.backends = {{names[name], 1 + static_cast<uint32_t>(pick(9))}, {names[(name + 1) % 3], 1}};
      return split;
    }
    case 4:
      return model::ReferenceGrant{.key = {"next", names[name]},
                                   .from = {{"gateway.networking.k8s.io", "TCPRoute", "shop"}},
                                   .to = {{"", "Service", pick(2) == 0 ? "" : names[pick(3)]}}};
    default: {
      model::Route route{.kind = static_cast<model::RouteKind>(pick(3)), .key = {"shop", names[name]}};
      route.parents = {{.group = "", .kind = "Service", .name = names[pick(3)]}};
      if (pick(2) == 0) route.parents[0].port = static_cast<uint16_t>(80 + pick(2));
      route.backends = {
          {"", "Service", namespaces[pick(3)], names[pick(3)], 80, 1 + static_cast<uint32_t>(pick(9))}};
      return route;
    }
  }
}

TEST_F(CoreTest, WhatAChangeTouchesIsWhatHasToBeCompiled) {
  std::mt19937 random(7);
  size_t changed = 0, refused = 0;
  for (int step = 0; step < 4000; ++step) {
    ObjectChanges changes;
    for (size_t i = 0; i < 1 + random() % 2; ++i) {
      const model::Object object = AnyObject(random);
      if (random() % 3 == 0) {
        changes.removals.emplace_back(model::KindOf(object), model::KeyOf(object));
      } else {
        changes.puts.emplace_back(object, "");
      }
    }
    const Status status = core->Change(changes);
    (status.ok() ? changed : refused) += 1;
    const compiler::Frontends whole = compiler::Compiler({}).Compile(core->objects(), {});
    compiler::Frontends kept;
    for (const auto& [service, frontends] : core->frontends())
      kept.insert(frontends.begin(), frontends.end());
    const compiler::Difference difference = compiler::Diff(kept, whole);
    ASSERT_TRUE(difference.upserts.empty() && difference.removals.empty()) << "step " << step;
  }
  EXPECT_GT(changed, 400u);
  EXPECT_GT(refused, 400u);
}

}  // namespace
}  // namespace weir::app
