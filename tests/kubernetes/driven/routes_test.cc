// Routes of Gateway API with a Service as their parent, on a real API server with the real CRDs: as Argo
// Rollouts' plugin updates them, as Flagger makes them and waits for them, and what of them is refused.
#include "tests/kubernetes/driven/routes_fixture.h"

namespace weir::kubernetes_test {
namespace {

TEST_F(RouteTest, ArgoUpdatesTheWeightsOfAnHttpRoute) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  json::object service = ToService("checkout");
  service["port"] = 80;
  const json::object gateway{{"name", "edge"}, {"namespace", "gateways"}, {"sectionName", "https"}};
  CreateRoute("HTTPRoute", "checkout", {gateway, service}, RuleTo(Backends(0)));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"aaaa1", 100}}));
  ASSERT_TRUE(WaitForVerdict("httproutes", "checkout", Accepted(1)));
  json::value route = Route("httproutes", "checkout");
  ASSERT_EQ(route.at("status").at("parents").as_array().size(), 1U) << "the Gateway's is its controller's";
  json::object written = service;
  written["group"] = "";
  EXPECT_EQ(route.at("status").at("parents").at(0).at("parentRef"), json::value(written))
      << "exactly as it is written";
  EXPECT_EQ(Verdict(route, "edge"), "");

  // Another controller tells of the Gateway.
  const json::object theirs{
      {"parentRef", route.at("spec").at("parentRefs").at(0)},
      {"controllerName", "example.com/gateway"},
      {"conditions", json::array{json::object{{"type", "Accepted"},
                                              {"status", "True"},
                                              {"reason", "Accepted"},
                                              {"message", ""},
                                              {"observedGeneration", 1},
                                              {"lastTransitionTime", "2026-01-01T00:00:00Z"}}}}};
  json::array both{theirs};
  both.push_back(route.at("status").at("parents").at(0));
  admin_->Must(kubernetes::StatusPatchRequest(Routes("httproutes"), {ns(), "checkout"}, {{"parents", both}}));
  StartDialling(vip_);
  int generation = 1;
  for (const int weight : {20, 50, 100, 0}) {
    SetWeight("httproutes", "checkout", weight);
    ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"aaaa1", 100 - weight}, {"bbbb2", weight}}));
    ASSERT_TRUE(WaitForVerdict("httproutes", "checkout", Accepted(++generation)));
  }
  // A label alone makes no generation.
  Put("httproutes", "checkout", [](json::object& object) {
    object["metadata"].get_object()["labels"] = {{"rollouts.argoproj.io/gatewayapi-canary", "in-progress"}};
  });
  SetWeight("httproutes", "checkout", 7);
  ASSERT_TRUE(WaitForVerdict("httproutes", "checkout", Accepted(++generation)));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"aaaa1", 93}, {"bbbb2", 7}}));
  route = Route("httproutes", "checkout");
  const json::array& parents = route.at("status").at("parents").as_array();
  ASSERT_EQ(parents.size(), 2U);
  EXPECT_EQ(parents[0], json::value(theirs)) << "other controllers' entries stay, in their place";
  StopDialling();

  // Somebody takes Weir's entry away: it comes again.
  admin_->Must(kubernetes::StatusPatchRequest(Routes("httproutes"), {ns(), "checkout"},
                                              {{"parents", json::array{theirs}}}));
  ASSERT_TRUE(WaitForVerdict("httproutes", "checkout", Accepted(generation)));
  // Gone, and what nobody divides is kube-proxy's again.
  admin_->Must(kubernetes::DeleteRequest(Routes("httproutes"), {ns(), "checkout"}));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"proxy", 100}}));
}

TEST_F(RouteTest, FlaggerWaitsUntilEveryAgentHasAcked) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  const json::object parent{
      {"group", "core"}, {"kind", "Service"}, {"name", "checkout"}, {"namespace", ns()}, {"port", 80}};
  const auto rules = [](int canary) {
    return json::array{json::object{
        {"matches", json::array{json::object{{"path", {{"type", "PathPrefix"}, {"value", "/"}}}}}},
        {"filters", json::array()},
        {"backendRefs", Backends(canary)}}};
  };
  CreateRoute("HTTPRoute", "checkout", {parent}, rules(0));
  ASSERT_TRUE(WaitForVerdict("httproutes", "checkout", Accepted(1)));
  EXPECT_EQ(Route("httproutes", "checkout").at("status").at("parents").at(0).at("parentRef"),
            json::value(parent));

  // One agent hangs: the other has the weights, and the status still speaks of the generation before.
  agents_[1]->Signal(SIGSTOP);
  SetWeight("httproutes", "checkout", 20);
  ASSERT_NO_FATAL_FAILURE(WaitForNode(0, 20));
  // Statuses are written: what is refused is said at once.
  CreateRoute("HTTPRoute", "witness", {ToService("nobody")}, RuleTo(Backends(50)));
  ASSERT_TRUE(WaitForVerdict("httproutes", "witness",
                             "Accepted=False:NoMatchingParent@1 ResolvedRefs=True:ResolvedRefs@1", "v1",
                             "nobody"));
  EXPECT_EQ(Verdict(Route("httproutes", "checkout")), Accepted(1));
  agents_[1]->Signal(SIGCONT);
  ASSERT_TRUE(WaitForVerdict("httproutes", "checkout", Accepted(2)));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"aaaa1", 80}, {"bbbb2", 20}}));

  // One that stays away counts as behind, and nobody waits for it any longer.
  agents_[1]->Signal(SIGSTOP);
  SetWeight("httproutes", "checkout", 30);
  ASSERT_NO_FATAL_FAILURE(WaitForNode(0, 30));
  EXPECT_EQ(Verdict(Route("httproutes", "checkout")), Accepted(2));
  ASSERT_TRUE(WaitForVerdict("httproutes", "checkout", Accepted(3)));
  agents_[1]->Signal(SIGCONT);
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"aaaa1", 70}, {"bbbb2", 30}}));
}

TEST_F(RouteTest, WhatConnectCannotDoIsSaidInTheStatus) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  const auto refused = [](std::string_view reason, std::string_view refs = "True:ResolvedRefs") {
    return fmt::format("Accepted=False:{}@1 ResolvedRefs={}@1", reason, refs);
  };
  json::array header = RuleTo(Backends(50));
  header[0].get_object()["matches"] = json::array{
      json::object{{"headers", json::array{json::object{{"name", "x-canary"}, {"value", "yes"}}}}}};
  CreateRoute("HTTPRoute", "header", {ToService("checkout")}, header);
  json::array filtered = RuleTo(Backends(50));
  filtered[0].get_object()["filters"] = json::array{json::object{
      {"type", "RequestHeaderModifier"}, {"requestHeaderModifier", {{"remove", json::array{"x-secret"}}}}}};
  CreateRoute("HTTPRoute", "filtered", {ToService("checkout")}, filtered);
  json::array method = RuleTo(Backends(50));
  method[0].get_object()["matches"] =
      json::array{json::object{{"method", {{"service", "shop.Checkout"}, {"method", "Pay"}}}}};
  CreateRoute("GRPCRoute", "method", {ToService("checkout")}, method);
  CreateRoute("HTTPRoute", "nowhere", {ToService("nobody")}, RuleTo(Backends(50)));
  plane().MustKubectl(
      {"create", "service", "clusterip", "headless", "-n", ns(), "--clusterip=None", "--tcp=80"});
  CreateRoute("TCPRoute", "headless", {ToService("headless")}, RuleTo(Backends(50)));

  ASSERT_TRUE(WaitForVerdict("httproutes", "header", refused("UnsupportedValue")));
  EXPECT_NE(Message("httproutes", "header", "Accepted").find("spec.rules[0].matches[0].headers"),
            std::string::npos);
  ASSERT_TRUE(WaitForVerdict("httproutes", "filtered", refused("UnsupportedValue")));
  EXPECT_NE(Message("httproutes", "filtered", "Accepted").find("spec.rules[0].filters"), std::string::npos);
  ASSERT_TRUE(WaitForVerdict("grpcroutes", "method", refused("UnsupportedValue")));
  ASSERT_TRUE(WaitForVerdict("httproutes", "nowhere", refused("NoMatchingParent"), "v1", "nobody"));
  ASSERT_TRUE(WaitForVerdict("tcproutes", "headless", refused("UnsupportedValue"), "v1", "headless"));
  EXPECT_NE(Message("tcproutes", "headless", "Accepted").find("is headless"), std::string::npos);
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"proxy", 100}}))
      << "none of them divides anything: the Service is left alone";
}

TEST_F(RouteTest, AReferenceThatLeadsNowhereRefusesItsShareUntilItDoes) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  const std::string other = ns().substr(0, 50) + "-other";
  plane().MustKubectl({"create", "namespace", other});
  plane().MustKubectl({"create", "service", "clusterip", "theirs", "-n", other, "--tcp=80"});
  const auto lead_to = [&](json::object second) {
    second["weight"] = 1;
    return RuleTo(
        {json::object{{"name", "checkout-stable"}, {"port", 80}, {"weight", 1}}, std::move(second)});
  };
  CreateRoute("GRPCRoute", "checkout", {ToService("checkout")},
              lead_to({{"name", "checkout-later"}, {"port", 80}}));
  const auto unresolved = [](std::string_view reason, int generation) {
    return fmt::format("Accepted=True:Accepted@{1} ResolvedRefs=False:{0}@{1}", reason, generation);
  };
  ASSERT_TRUE(WaitForVerdict("grpcroutes", "checkout", unresolved("BackendNotFound", 1)));
  for (size_t node : {0U, 1U}) EXPECT_EQ(Try(node, vip_), (Counts{{kubelet_->IdOf("aaaa1"), 50}, {255, 50}}));
  ServiceOf("checkout-later", "bbbb2");
  ASSERT_TRUE(WaitForVerdict("grpcroutes", "checkout", Accepted(1)));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"aaaa1", 50}, {"bbbb2", 50}}));

  const auto lead_elsewhere = [&](json::object second) {
    Put("grpcroutes", "checkout",
        [&](json::object& route) { route["spec"].get_object()["rules"] = lead_to(second); });
  };
  lead_elsewhere({{"name", "theirs"}, {"namespace", other}, {"port", 80}});
  ASSERT_TRUE(WaitForVerdict("grpcroutes", "checkout", unresolved("RefNotPermitted", 2)));
  plane().Apply(fmt::format(R"(
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {{name: shop, namespace: {0}}}
spec: {{from: [{{group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: {1}}}], to: [{{group: "", kind: Service}}]}}
)",
                            other, ns()));
  ASSERT_TRUE(WaitForVerdict("grpcroutes", "checkout", Accepted(2)));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"aaaa1", 100}}))
      << "it has no endpoints: the others have its share";
  plane().MustKubectl({"delete", "referencegrant", "shop", "-n", other});
  ASSERT_TRUE(WaitForVerdict("grpcroutes", "checkout", unresolved("RefNotPermitted", 2)));

  lead_elsewhere({{"group", "storage.example.com"}, {"kind", "Bucket"}, {"name", "files"}});
  ASSERT_TRUE(WaitForVerdict("grpcroutes", "checkout", unresolved("InvalidKind", 3)));
  plane().Kubectl({"delete", "namespace", other, "--wait=false"});
}

TEST_F(RouteTest, OfTwoRoutesTheOlderHasThePort) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  CreateRoute("TCPRoute", "zz-older", {ToService("checkout")}, RuleTo(Backends(25)));
  ASSERT_TRUE(WaitForVerdict("tcproutes", "zz-older", Accepted(1)));
  // Ages are told in whole seconds; of two of one age the first by name has it.
  const json::value older = Route("tcproutes", "zz-older");
  const std::string born(kubernetes::Text(older, {"metadata", "creationTimestamp"}));
  ASSERT_TRUE(Eventually([&] { return kubernetes::FormatTime(std::chrono::system_clock::now()) > born; },
                         [] { return ""; }));
  CreateRoute("TCPRoute", "aa-younger", {ToService("checkout")}, RuleTo(Backends(75)));
  ASSERT_TRUE(WaitForVerdict("tcproutes", "aa-younger",
                             "Accepted=False:Conflicted@1 ResolvedRefs=True:ResolvedRefs@1"));
  EXPECT_NE(
      Message("tcproutes", "aa-younger", "Accepted").find("TCPRoute " + ns() + "/zz-older divides port 80"),
      std::string::npos);
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"aaaa1", 75}, {"bbbb2", 25}}));
  StartDialling(vip_);
  admin_->Must(kubernetes::DeleteRequest(Routes("tcproutes"), {ns(), "zz-older"}));
  ASSERT_TRUE(WaitForVerdict("tcproutes", "aa-younger", Accepted(1)));
  // Said only when it is so on every node.
  for (auto& dialer : dialers_) dialer->Pause();
  for (size_t node : {0U, 1U})
    EXPECT_EQ(Try(node, vip_), (Counts{{kubelet_->IdOf("aaaa1"), 25}, {kubelet_->IdOf("bbbb2"), 75}}));
  StopDialling();

  // HTTPRoute and GRPCRoute come before TCPRoute, however old.
  CreateRoute("HTTPRoute", "checkout", {ToService("checkout")}, RuleTo(Backends(10)));
  ASSERT_TRUE(WaitForVerdict("httproutes", "checkout", Accepted(1)));
  ASSERT_TRUE(WaitForVerdict("tcproutes", "aa-younger",
                             "Accepted=False:Conflicted@1 ResolvedRefs=True:ResolvedRefs@1"));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"aaaa1", 90}, {"bbbb2", 10}}));

  // The Service goes, and comes again.
  admin_->Must(kubernetes::DeleteRequest(kServices, {ns(), "checkout"}));
  ASSERT_TRUE(WaitForVerdict("httproutes", "checkout",
                             "Accepted=False:NoMatchingParent@1 ResolvedRefs=True:ResolvedRefs@1"));
  ServiceOf("checkout", "aaaa1");
  ASSERT_TRUE(WaitForVerdict("httproutes", "checkout", Accepted(1)));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(VipOf("checkout"), {{"aaaa1", 90}, {"bbbb2", 10}}));
}

}  // namespace
}  // namespace weir::kubernetes_test
