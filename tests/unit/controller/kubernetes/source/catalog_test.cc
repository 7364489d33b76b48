// What of a cluster concerns the controller, and by which revision.
#include "controller/kubernetes/source/catalog.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace weir::kubernetes {
namespace {

namespace json = boost::json;
using Lines = std::vector<std::string>;

json::object Object(const std::string& text) { return json::parse(text).as_object(); }

json::object Service(const std::string& name, int host) {
  return Object(fmt::format(
      R"({{"apiVersion": "v1", "kind": "Service", "metadata": {{"name": "{}", "namespace": "shop"}},
    "spec": {{"clusterIP": "10.96.0.{}", "clusterIPs": ["10.96.0.{}"], "ports": [{{"name": "http", "port": 80, "protocol": "TCP"}}]}}}})",
      name, host, host));
}

/// Endpoints 10.244.0.N, each a pod "pod-N".
json::object Slice(const std::string& name, const std::string& service, const std::vector<int>& pods) {
  std::string endpoints;
  for (const int pod : pods) {
    endpoints += fmt::format(
        R"({}{{"addresses": ["10.244.0.{}"], "conditions": {{"ready": true}}, "targetRef": {{"kind": "Pod", "name": "pod-{}", "uid": "x"}}}})",
        endpoints.empty() ? "" : ", ", pod, pod);
  }
  json::object slice = Object(fmt::format(R"({{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
    "metadata": {{"name": "{}", "namespace": "shop", "labels": {{"kubernetes.io/service-name": "{}", "more": "x"}}}},
    "addressType": "IPv4", "ports": [{{"name": "http", "port": 8080, "protocol": "TCP"}}], "endpoints": [{}]}})",
                                          name, service, endpoints));
  EXPECT_TRUE(TrimSlice(slice));
  return slice;
}

json::object Rollout(const std::string& name, const std::string& service,
                     const std::string& label = "pod-template-hash") {
  return Object(fmt::format(
      R"({{"apiVersion": "weir.dev/v1alpha1", "kind": "Rollout", "metadata": {{"name": "{}", "namespace": "shop"}},
    "spec": {{"service": "{}", "revisionLabel": "{}", "workloadRef": {{"apiVersion": "apps/v1", "kind": "Deployment", "name": "{}"}},
      "strategy": {{"canary": {{"steps": [{{"setWeight": 20}}]}}}}}}}})",
      name, service, label, name));
}

class CatalogTest : public ::testing::Test {
 protected:
  void Pod(int pod, std::optional<std::string> revision) {
    std::optional<PodLabels> labels;
    if (revision) labels = PodLabels{{"pod-template-hash", *revision}};
    catalog_.PutPod({"shop", fmt::format("pod-{}", pod)}, labels);
  }
  /// "+Service checkout", "-EndpointSlice a.h1", sorted.
  Lines Take() {
    Lines lines;
    const auto changes = catalog_.Take();
    for (const auto& object : changes.puts)
      lines.push_back(fmt::format("+{} {}", model::KindOf(object), model::KeyOf(object).name));
    for (const auto& id : changes.removals) lines.push_back(fmt::format("-{} {}", id.kind, id.key.name));
    std::ranges::sort(lines);
    return lines;
  }
  /// "10.244.0.1 10.244.0.2", of an admitted slice.
  std::string Endpoints(const std::string& slice) const {
    const auto found = catalog_.admitted().slices.find({"shop", slice});
    if (found == catalog_.admitted().slices.end()) return "none";
    Lines addresses;
    for (const auto& endpoint : found->second.endpoints) addresses.push_back(endpoint.address.ToString());
    return fmt::format("{}", fmt::join(addresses, " "));
  }

  Lines GivenServices() const {
    Lines names;
    for (const auto& [key, service] : catalog_.Given().services) names.push_back(key.name);
    return names;
  }

  Catalog catalog_;
};

TEST_F(CatalogTest, WhatNobodyDividesIsNotTheControllersBusiness) {
  catalog_.Put(Service("checkout", 1));
  catalog_.PutSlice(Slice("checkout-a", "checkout", {1, 2}));
  EXPECT_EQ(Take(), Lines{});
  catalog_.Put(Rollout("checkout", "checkout"));
  Pod(1, "h1");
  Pod(2, "h2");
  EXPECT_EQ(Take(), (Lines{"+EndpointSlice checkout-a.h1", "+EndpointSlice checkout-a.h2",
                           "+Rollout checkout", "+Service checkout"}));
  EXPECT_EQ(Endpoints("checkout-a.h1"), "10.244.0.1");
  catalog_.Remove("Rollout", {"shop", "checkout"});
  EXPECT_EQ(Take(), (Lines{"-EndpointSlice checkout-a.h1", "-EndpointSlice checkout-a.h2",
                           "-Rollout checkout", "-Service checkout"}));
}

TEST_F(CatalogTest, AnEndpointWhosePodIsNotKnownYetWaits) {
  catalog_.Put(Service("checkout", 1));
  catalog_.Put(Rollout("checkout", "checkout"));
  catalog_.PutSlice(Slice("checkout-a", "checkout", {1, 2}));
  Pod(1, "h1");
  Take();
  EXPECT_EQ(Endpoints("checkout-a.h1"), "10.244.0.1");
  Pod(2, "h1");
  EXPECT_EQ(Take(), Lines{"+EndpointSlice checkout-a.h1"});
  EXPECT_EQ(Endpoints("checkout-a.h1"), "10.244.0.1 10.244.0.2");
  Pod(2, "h1");
  EXPECT_EQ(Take(), Lines{}) << "no news";
  Pod(1, std::nullopt);
  Take();
  EXPECT_EQ(Endpoints("checkout-a.h1"), "10.244.0.2");
  catalog_.PutSlice(Slice("checkout-a", "checkout", {}));
  EXPECT_EQ(Take(), Lines{"-EndpointSlice checkout-a.h1"});
}

TEST_F(CatalogTest, BackendsOfSplitsKeepTheirSlicesWhole) {
  for (const auto* name : {"web", "web-primary", "web-canary", "other"})
    catalog_.Put(Service(name, 1 + static_cast<int>(std::string(name).size())));
  catalog_.PutSlice(Slice("web-primary-a", "web-primary", {1, 2}));
  catalog_.Put(Object(
      R"({"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"service": "web", "backends": [{"service": "web-primary", "weight": 80}, {"service": "web-canary", "weight": 20}]}})"));
  EXPECT_EQ(Take(), (Lines{"+EndpointSlice web-primary-a", "+Service web", "+Service web-canary",
                           "+Service web-primary", "+TrafficSplit web"}));
  EXPECT_EQ(Endpoints("web-primary-a"), "10.244.0.1 10.244.0.2");
}

// To judge a route its Services are looked at; only one that is in force has them given.
TEST_F(CatalogTest, WhatOnlyARefusedOneNamesIsNotTheControllersBusiness) {
  const auto split = [](const std::string& service) {
    return Object(fmt::format(
        R"({{"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "metadata": {{"name": "web", "namespace": "shop"}},
    "spec": {{"service": "{}", "backends": [{{"service": "web-primary", "weight": 80}}, {{"service": "web-canary", "weight": 20}}]}}}})",
        service));
  };
  for (const auto* name : {"web", "web-primary", "web-canary"})
    catalog_.Put(Service(name, static_cast<int>(std::string(name).size())));
  catalog_.PutSlice(Slice("web-primary-a", "web-primary", {1}));
  catalog_.Put(Rollout("web", "web"));
  catalog_.Put(split("web"));
  EXPECT_EQ(Take(), (Lines{"+Rollout web", "+Service web"}));
  EXPECT_NE(catalog_.Refusal("TrafficSplit", {"shop", "web"}), "") << "the Rollout has its Service";
  EXPECT_EQ(GivenServices(), Lines{"web"});
  catalog_.PutSlice(Slice("web-primary-a", "web-primary", {1, 2}));
  EXPECT_EQ(Take(), Lines{});

  catalog_.Remove("Rollout", {"shop", "web"});
  EXPECT_EQ(Take(), (Lines{"+EndpointSlice web-primary-a", "+Service web-canary", "+Service web-primary",
                           "+TrafficSplit web", "-Rollout web"}));
  EXPECT_EQ(Endpoints("web-primary-a"), "10.244.0.1 10.244.0.2");
  EXPECT_EQ(GivenServices(), (Lines{"web", "web-canary", "web-primary"}));
  catalog_.PutSlice(Slice("web-primary-a", "web-primary", {1}));
  EXPECT_EQ(Take(), Lines{"+EndpointSlice web-primary-a"});

  // It cannot be read any more: as before. It can, but divides what there is not: kube-proxy's.
  json::object wrong = split("web");
  wrong["spec"].as_object()["backends"].as_array()[0].as_object()["weight"] = -1;
  catalog_.Put(wrong);
  EXPECT_EQ(Take(), Lines{});
  EXPECT_EQ(GivenServices(), (Lines{"web", "web-canary", "web-primary"}));
  catalog_.Put(split("nobody"));
  EXPECT_EQ(Take(), (Lines{"-EndpointSlice web-primary-a", "-Service web", "-Service web-canary",
                           "-Service web-primary", "-TrafficSplit web"}));
  EXPECT_EQ(GivenServices(), Lines{});
  catalog_.Remove("Service", {"shop", "web-primary"});
  catalog_.Remove("EndpointSlice", {"shop", "web-primary-a"});
  EXPECT_EQ(Take(), Lines{}) << "what was not given is not taken away";
}

TEST_F(CatalogTest, ARouteThatNoParentTakesGivesNothing) {
  const auto route = [](const std::string& name, const std::string& parent, const std::string& more) {
    return Object(fmt::format(
        R"({{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {{"name": "{}", "namespace": "shop"}},
    "spec": {{"parentRefs": [{}], "rules": [{{"backendRefs": [{{"name": "cart-a", "port": 80}}]{}}}]}}}})",
        name, parent, more));
  };
  const std::string to_service = R"({"group": "", "kind": "Service", "name": "cart"})";
  catalog_.Put(Service("cart", 1));
  catalog_.Put(Service("cart-a", 2));
  catalog_.PutSlice(Slice("cart-a-x", "cart-a", {1}));
  catalog_.Put(route("of-a-gateway", R"({"name": "edge"})", ""));
  catalog_.Put(
      route("by-header", to_service, R"(, "matches": [{"headers": [{"name": "user", "value": "me"}]}])"));
  EXPECT_EQ(Take(), Lines{"+HTTPRoute of-a-gateway"});
  EXPECT_EQ(GivenServices(), Lines{});
  catalog_.Put(route("by-header", to_service, ""));
  EXPECT_EQ(Take(),
            (Lines{"+EndpointSlice cart-a-x", "+HTTPRoute by-header", "+Service cart", "+Service cart-a"}));
  catalog_.Put(
      route("by-header", to_service, R"(, "matches": [{"headers": [{"name": "user", "value": "me"}]}])"));
  EXPECT_EQ(Take(),
            (Lines{"-EndpointSlice cart-a-x", "-HTTPRoute by-header", "-Service cart", "-Service cart-a"}));
}

TEST_F(CatalogTest, WhatCannotBeReadLeavesWhatWasBefore) {
  catalog_.Put(Service("checkout", 1));
  catalog_.Put(Rollout("checkout", "checkout"));
  Take();
  json::object wrong = Rollout("checkout", "checkout");
  wrong["spec"].as_object()["strategy"] = json::object{{"canary", {{"speed", 3}}}};
  catalog_.Put(wrong);
  EXPECT_EQ(Take(), Lines{});
  EXPECT_EQ(catalog_.admitted().rollouts.size(), 1U);
  EXPECT_NE(catalog_.Refusal("Rollout", {"shop", "checkout"}).find("speed"), std::string::npos);
  catalog_.Put(Rollout("checkout", "checkout"));
  Take();
  EXPECT_EQ(catalog_.Refusal("Rollout", {"shop", "checkout"}), "");
}

TEST_F(CatalogTest, ARevisionOutlivesChangesOfItsRollout) {
  catalog_.Put(Service("checkout", 1));
  catalog_.Put(Rollout("checkout", "checkout"));
  Take();
  const ObjectKey key{"shop", "checkout"};
  catalog_.SetRevision(key, "h1");
  EXPECT_EQ(Take(), Lines{"+Rollout checkout"});
  catalog_.SetRevision(key, "h1");
  EXPECT_EQ(Take(), Lines{});
  catalog_.Put(Rollout("checkout", "checkout"));
  Take();
  EXPECT_EQ(catalog_.admitted().rollouts.at(key).spec.revision, "h1");
  catalog_.Remove("Rollout", key);
  Take();
  catalog_.Put(Rollout("checkout", "checkout"));
  Take();
  EXPECT_EQ(catalog_.admitted().rollouts.at(key).spec.revision, "") << "another one of the same name";
}

// Its finalizer goes, and then it goes itself, before anybody looked.
TEST_F(CatalogTest, WhatIsChangedAndThenRemovedIsGone) {
  catalog_.Put(Service("checkout", 1));
  catalog_.Put(Rollout("checkout", "checkout"));
  catalog_.Put(Rollout("second", "checkout"));  // refused while the first is there
  Take();
  catalog_.Put(Rollout("checkout", "checkout"));
  catalog_.Remove("Rollout", {"shop", "checkout"});
  EXPECT_EQ(Take(), (Lines{"+Rollout second", "-Rollout checkout"}));
  catalog_.Remove("Rollout", {"shop", "second"});
  Take();
  EXPECT_TRUE(catalog_.admitted().rollouts.empty());
  // And one that comes again within that time is another.
  catalog_.Put(Rollout("checkout", "checkout"));
  catalog_.Remove("Rollout", {"shop", "checkout"});
  catalog_.Put(Rollout("checkout", "checkout"));
  Take();
  EXPECT_EQ(catalog_.admitted().rollouts.size(), 1U);
}

TEST_F(CatalogTest, ASliceMayMoveAndALabelMayChange) {
  catalog_.Put(Service("checkout", 1));
  catalog_.Put(Service("cart", 2));
  catalog_.Put(Rollout("checkout", "checkout"));
  catalog_.PutSlice(Slice("a", "checkout", {1}));
  Pod(1, "h1");
  Take();
  catalog_.PutSlice(Slice("a", "cart", {1}));
  EXPECT_EQ(Take(), Lines{"-EndpointSlice a.h1"});
  catalog_.PutSlice(Slice("a", "checkout", {1}));
  Take();
  catalog_.Put(Rollout("checkout", "checkout", "version"));
  EXPECT_EQ(Take(), (Lines{"+Rollout checkout", "-EndpointSlice a.h1"})) << "no pod has it";
  EXPECT_EQ(catalog_.RevisionLabels(), std::set<std::string>{"version"});
}

}  // namespace
}  // namespace weir::kubernetes
