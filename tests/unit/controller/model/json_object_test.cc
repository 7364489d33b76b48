#include "controller/model/json_object.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "controller/model/manifest.h"

namespace weir::model {
namespace {

Result<Object> Read(const char* json, std::string_view version = "v1", std::string_view kind = "Service") {
  return ReadJson(boost::json::parse(json).as_object(), version, kind);
}

TEST(JsonObject, AnItemOfAListIsWhatTheManifestIs) {
  const auto object = Read(R"({"metadata": {"name": "web", "namespace": "shop", "generation": 3,
      "creationTimestamp": "2026-11-24T10:00:00Z", "labels": {"hash": "12345e678", "on": "true"},
      "annotations": {"weir.dev/l7": "http"},
      "managedFields": [{"fieldsV1": {"f:spec": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}}}}}]},
    "spec": {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "sessionAffinity": "ClientIP",
      "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 600}}, "publishNotReadyAddresses": true,
      "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "web", "nodePort": null}]},
    "status": {"loadBalancer": {}}})");
  ASSERT_TRUE(object.ok()) << object.status();
  const auto documents = ParseManifests(R"(
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  creationTimestamp: "2026-11-24T10:00:00Z"
  annotations: {weir.dev/l7: http}
spec:
  clusterIP: 10.96.0.1
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 600}}
  ports: [{name: http, port: 80}]
)",
                                        "f");
  ASSERT_TRUE(documents.ok()) << documents.status();
  EXPECT_EQ(*object, documents->front().object);
}

TEST(JsonObject, AWatchSaysTheKindItself) {
  const auto object = Read(R"({"apiVersion": "split.smi-spec.io/v1alpha1", "kind": "TrafficSplit",
      "metadata": {"name": "web"}, "spec": {"service": "a", "backends": [{"service": "a", "weight": "500m"},
      {"service": "b", "weight": 1}, {"service": "c", "weight": 1.5}]}})");
  ASSERT_TRUE(object.ok()) << object.status();
  EXPECT_EQ(std::get<TrafficSplit>(*object).backends,
            (std::vector<Backend>{{"a", 500}, {"b", 1000}, {"c", 1500}}));
}

// What Argo Rollouts writes in v1alpha1 comes out of a CRD without conversion as it is, in whatever version
// it is read.
TEST(JsonObject, AWeightThatIsAStringIsAQuantityInEveryVersion) {
  for (const char* version : {"v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"}) {
    const auto object = Read(R"({"metadata": {"name": "web"}, "spec": {"service": "a", "backends": [
        {"service": "a", "weight": "80"}, {"service": "b", "weight": "20"}, {"service": "c", "weight": 7}]}})",
                             std::string("split.smi-spec.io/") + version, "TrafficSplit");
    ASSERT_TRUE(object.ok()) << version << ": " << object.status();
    EXPECT_EQ(std::get<TrafficSplit>(*object).backends,
              (std::vector<Backend>{{"a", 80}, {"b", 20}, {"c", 7}}));
  }
}

TEST(JsonObject, ErrorsNameTheObjectAndTheField) {
  const auto object = Read(R"({"metadata": {"name": "web", "namespace": "shop"},
      "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": "80"}, {"name": "b", "port": 0}]}})");
  ASSERT_EQ(object.status().code(), absl::StatusCode::kInvalidArgument);
  const std::string text = Message(object.status());
  EXPECT_EQ(text.find("Service shop/web: spec.ports[0].port: found the string \"80\", expected an integer"),
            0U)
      << text;
  EXPECT_NE(text.find("\nService shop/web: spec.ports[1].port: found the integer 0"), std::string::npos)
      << text;
}

TEST(JsonObject, FieldsThatAreNewerThanWeir) {
  EXPECT_TRUE(Read(R"({"metadata": {"name": "a", "new": {}}, "new": 1, "spec": {"clusterIP": "10.96.0.1",
      "new": [], "ports": [{"port": 80, "new": ""}]}})")
                  .ok());
  const char* const kSplit = R"({"metadata": {"name": "a", "new": {}}, "spec": {"service": "a", %s
      "backends": [{"service": "a", "weight": 1}]}})";
  const std::string version = "split.smi-spec.io/v1alpha4", split = kSplit;
  const auto with = [&](const char* field) {
    return Read((split.substr(0, split.find("%s")) + field + split.substr(split.find("%s") + 2)).c_str(),
                version, "TrafficSplit")
        .status();
  };
  EXPECT_TRUE(with("").ok()) << with("");
  EXPECT_EQ(Message(with("\"new\": 1,")).find("TrafficSplit default/a: spec.new: found the unknown field"),
            0U)
      << "it may say where connections go";
}

TEST(JsonObject, APodThatGoesAndOneThatComesWithTheAddressOfTheirNode) {
  const auto object = Read(R"({"metadata": {"name": "a", "labels": {"kubernetes.io/service-name": "a"}},
      "addressType": "IPv4", "ports": [{"name": "", "port": 80}], "endpoints": [
      {"addresses": ["10.0.0.1"], "conditions": {"ready": false, "serving": true, "terminating": true}},
      {"addresses": ["10.0.0.1"], "conditions": {"ready": true}}]})",
                           "discovery.k8s.io/v1", "EndpointSlice");
  ASSERT_TRUE(object.ok()) << object.status();
  EXPECT_EQ(std::get<EndpointSlice>(*object).endpoints.size(), 2U) << "the compiler takes the better state";
}

TEST(JsonObject, NotAnObjectOfOurs) {
  for (const char* json : {"{}", R"({"metadata": 1, "spec": []})",
                           R"({"kind": "Pod", "metadata": {"name": "a"}})", R"({"kind": ["Service"]})"}) {
    EXPECT_EQ(Read(json).status().code(), absl::StatusCode::kInvalidArgument) << json;
  }
}

}  // namespace
}  // namespace weir::model
