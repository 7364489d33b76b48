// Kinds of others come and go with their CRDs.
#include <fstream>
#include <sstream>

#include "tests/kubernetes/driven/routes_fixture.h"

namespace weir::kubernetes_test {
namespace {

class KindsTest : public RouteTest {
 protected:
  bool StartsWithGatewayApi() const override { return false; }

  std::string ControllerLog() {
    std::ifstream file(logs_.at(0));
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  void CreateSplit(int canary, const std::string& version) {
    admin_->Must(kubernetes::CreateRequest(
        {"split.smi-spec.io", version, "trafficsplits"}, ns(),
        {{"apiVersion", "split.smi-spec.io/" + version},
         {"kind", "TrafficSplit"},
         {"metadata", {{"name", "checkout"}}},
         {"spec",
          {{"service", "checkout"},
           {"backends", json::array{json::object{{"service", "checkout-stable"}, {"weight", 100 - canary}},
                                    json::object{{"service", "checkout-canary"}, {"weight", canary}}}}}}}));
  }
  /// As an installation that is older, or newer: only that version.
  void ServeOnly(const std::string& crd, const std::string& version) {
    const Resource crds{"apiextensions.k8s.io", "v1", "customresourcedefinitions"};
    ASSERT_TRUE(Eventually(
        [&] {
          json::value object = admin_->Find(crds, {"", crd});
          if (!object.is_object()) return false;
          for (json::value& served : object.at("spec").at("versions").as_array())
            served.as_object()["served"] = served.at("name") == json::string_view(version);
          // The API server itself writes its status meanwhile.
          return admin_->Call(kubernetes::UpdateRequest(crds, {"", crd}, object.get_object())).ok();
        },
        [&] { return crd; }));
  }
  /// An API server takes up to some seconds to serve what a CRD says.
  ::testing::AssertionResult WaitUntilServed(const Resource& resource, bool served) {
    return Eventually(
        [&] {
          kubernetes::ApiRequest request;
          request.target = kubernetes::CollectionPath(resource, ns());
          return admin_->Call(request).ok() == served;
        },
        [&] { return kubernetes::ToString(resource); });
  }
};

TEST_F(KindsTest, TheyComeAndGoWithTheirCrds) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"proxy", 100}}));
  const std::string quiet = ControllerLog();
  for (const std::string_view group : {"split.smi-spec.io", "gateway.networking.k8s.io", "argoproj.io"})
    EXPECT_EQ(quiet.find(group), std::string::npos) << quiet;

  InstallSmi();
  CreateSplit(20, "v1alpha4");
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"aaaa1", 80}, {"bbbb2", 20}}));

  // The CRD goes, and everything of its kind with it.
  plane().MustKubectl({"delete", "crd", "trafficsplits.split.smi-spec.io", "--timeout=60s"});
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"proxy", 100}}));
  ASSERT_TRUE(WaitUntilServed({"split.smi-spec.io", "v1alpha4", "trafficsplits"}, false));

  // Another installation serves another version.
  InstallSmi();
  ASSERT_NO_FATAL_FAILURE(ServeOnly("trafficsplits.split.smi-spec.io", "v1alpha2"));
  ASSERT_TRUE(WaitUntilServed({"split.smi-spec.io", "v1alpha2", "trafficsplits"}, true));
  CreateSplit(50, "v1alpha2");
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"aaaa1", 50}, {"bbbb2", 50}}));
  ASSERT_NO_FATAL_FAILURE(ServeOnly("trafficsplits.split.smi-spec.io", "v1alpha3"));
  ASSERT_TRUE(WaitUntilServed({"split.smi-spec.io", "v1alpha2", "trafficsplits"}, false));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"aaaa1", 50}, {"bbbb2", 50}}))
      << "the same objects in another version";
}

TEST_F(KindsTest, ATcpRouteInTheVersionThatIsServed) {
  ASSERT_NO_FATAL_FAILURE(Begin());
  if (!InstallGatewayApi({"tcproutes"})) GTEST_SKIP() << "found no CRDs of Gateway API";
  ASSERT_NO_FATAL_FAILURE(ServeOnly("tcproutes.gateway.networking.k8s.io", "v1alpha2"));
  ASSERT_TRUE(WaitUntilServed(Routes("tcproutes", "v1"), false));
  ASSERT_TRUE(WaitUntilServed(Routes("tcproutes", "v1alpha2"), true));
  CreateRoute("TCPRoute", "checkout", {ToService("checkout")}, RuleTo(Backends(40)), "v1alpha2");
  ASSERT_TRUE(WaitForVerdict("tcproutes", "checkout", Accepted(1), "v1alpha2"));
  ASSERT_NO_FATAL_FAILURE(ExpectSplit(vip_, {{"aaaa1", 60}, {"bbbb2", 40}}));
  // TCPRoute: connections to a backend without endpoints are rejected, by its weight.
  Scale("bbbb2", 0);
  ASSERT_TRUE(Eventually(
      [&] {
        return Try(0, vip_) == (Counts{{kubelet_->IdOf("aaaa1"), 60}, {255, 40}});
      },
      [&] { return Show(Try(0, vip_)); }));
}

}  // namespace
}  // namespace weir::kubernetes_test
