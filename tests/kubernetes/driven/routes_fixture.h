// Two versions behind a Service that routes of Gateway API divide. Header only.
#pragma once

#include "tests/kubernetes/driven/driven_fixture.h"

namespace weir::kubernetes_test {

inline Resource Routes(const std::string& plural, const std::string& version = "v1") {
  return {"gateway.networking.k8s.io", version, plural};
}

class RouteTest : public DrivenTest {
 protected:
  /// False where the test installs Gateway API's CRDs itself, later.
  virtual bool StartsWithGatewayApi() const { return true; }

  void SetUp() override {
    DrivenTest::SetUp();
    if (IsSkipped() || HasFatalFailure() || !StartsWithGatewayApi()) return;
    if (!InstallGatewayApi())
      GTEST_SKIP() << "found no CRDs of Gateway API; run tests/kubernetes/tools/build.sh";
  }

  /// Services checkout, checkout-stable and checkout-canary of two versions with a pod each; all runs.
  void Begin() {
    RunVersion("aaaa1", 1);
    RunVersion("bbbb2", 1);
    ServiceOf("checkout", "aaaa1");
    ServiceOf("checkout-stable", "aaaa1");
    ServiceOf("checkout-canary", "bbbb2");
    vip_ = VipOf("checkout");
    PlayKubeProxy(vip_);
    StartAll();
    if (HasFatalFailure()) return;
    ASSERT_TRUE(WaitForPods("aaaa1", 1));
    ASSERT_TRUE(WaitForPods("bbbb2", 1));
  }

  static json::object ToService(const std::string& name) {
    return {{"kind", "Service"}, {"group", ""}, {"name", name}};
  }
  static json::array Backends(int canary) {
    return {json::object{{"name", "checkout-stable"}, {"port", 80}, {"weight", 100 - canary}},
            json::object{{"name", "checkout-canary"}, {"port", 80}, {"weight", canary}}};
  }
  static json::array RuleTo(json::array backends) {
    return {json::object{{"backendRefs", std::move(backends)}}};
  }

  void CreateRoute(const std::string& kind, const std::string& name, json::array parents, json::array rules,
                   const std::string& version = "v1", const std::string& in_namespace = "") {
    std::string plural = kind + "s";
    std::ranges::transform(plural, plural.begin(), [](unsigned char c) { return std::tolower(c); });
    const std::string where = in_namespace.empty() ? ns() : in_namespace;
    admin_->Must(kubernetes::CreateRequest(
        Routes(plural, version), where,
        {{"apiVersion", "gateway.networking.k8s.io/" + version},
         {"kind", kind},
         {"metadata", {{"name", name}}},
         {"spec", {{"parentRefs", std::move(parents)}, {"rules", std::move(rules)}}}}));
  }
  json::value Route(const std::string& plural, const std::string& name, const std::string& version = "v1") {
    return admin_->Find(Routes(plural, version), {ns(), name});
  }
  /// GET, weights, PUT, as Argo Rollouts' plugin does; again where somebody was faster.
  void Put(const std::string& plural, const std::string& name,
           const std::function<void(json::object&)>& change) {
    for (int attempt = 0; attempt < 10; ++attempt) {
      json::value route = Route(plural, name);
      ASSERT_TRUE(route.is_object()) << plural << " " << name;
      change(route.get_object());
      const auto answer =
          admin_->Call(kubernetes::UpdateRequest(Routes(plural), {ns(), name}, route.get_object()));
      if (answer.ok()) return;
      ASSERT_EQ(answer.status().code(), absl::StatusCode::kAborted) << answer.status();
    }
    FAIL() << "always a conflict";
  }
  void SetWeight(const std::string& plural, const std::string& name, int canary) {
    Put(plural, name, [canary](json::object& route) {
      json::value& backends = route["spec"].at("rules").at(0).at("backendRefs");
      for (json::value& backend : backends.as_array())
        backend.as_object()["weight"] = backend.at("name") == "checkout-canary" ? canary : 100 - canary;
    });
  }

  /// Of Weir's entry for the parent: "Accepted=True:Accepted@2 ResolvedRefs=True:ResolvedRefs@2"; empty:
  /// there is none.
  static std::string Verdict(const json::value& route, const std::string& parent = "checkout") {
    const json::value* entries = kubernetes::Find(route, {"status", "parents"});
    if (entries == nullptr || !entries->is_array()) return "";
    std::string text;
    for (const json::value& entry : entries->get_array()) {
      if (kubernetes::Text(entry, {"controllerName"}) != "weir.dev/controller") continue;
      if (kubernetes::Text(entry, {"parentRef", "name"}) != parent) continue;
      for (const json::value& condition : entry.at("conditions").as_array()) {
        text += fmt::format("{}{}={}:{}@{}", text.empty() ? "" : " ",
                            std::string(kubernetes::Text(condition, {"type"})),
                            std::string(kubernetes::Text(condition, {"status"})),
                            std::string(kubernetes::Text(condition, {"reason"})),
                            condition.at("observedGeneration").to_number<int64_t>());
      }
    }
    return text;
  }
  static std::string Accepted(int generation) {
    return fmt::format("Accepted=True:Accepted@{0} ResolvedRefs=True:ResolvedRefs@{0}", generation);
  }
  ::testing::AssertionResult WaitForVerdict(const std::string& plural, const std::string& name,
                                            const std::string& verdict, const std::string& version = "v1",
                                            const std::string& parent = "checkout") {
    json::value route;
    return Eventually(
        [&] {
          route = Route(plural, name, version);
          return Verdict(route, parent) == verdict;
        },
        [&] { return json::serialize(route); });
  }
  /// The message of a condition of Weir's entry.
  std::string Message(const std::string& plural, const std::string& name, const std::string& type) {
    const json::value route = Route(plural, name);
    for (const json::value& entry : route.at("status").at("parents").as_array()) {
      for (const json::value& condition : entry.at("conditions").as_array())
        if (kubernetes::Text(condition, {"type"}) == type)
          return std::string(kubernetes::Text(condition, {"message"}));
    }
    return "";
  }

  /// Until so many of a hundred connections of that node go to the canary.
  void WaitForNode(size_t node, int canary) {
    const Counts wanted{{kubelet_->IdOf("aaaa1"), 100 - canary}, {kubelet_->IdOf("bbbb2"), canary}};
    Counts found;
    ASSERT_TRUE(Eventually([&] { return (found = Try(node, vip_)) == wanted; }, [&] { return Show(found); }));
  }

  SocketAddress vip_;
};

}  // namespace weir::kubernetes_test
