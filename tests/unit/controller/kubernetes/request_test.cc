// Paths, queries, errors: what goes over the wire and what its answers mean.
#include "controller/kubernetes/client/request.h"

#include <gtest/gtest.h>

#include "controller/kubernetes/client/api_error.h"

namespace weir::kubernetes {
namespace {

using absl::StatusCode;
namespace json = boost::json;

const Resource kDeployments{"apps", "v1", "deployments"};
const ObjectKey kCheckout{"shop", "checkout"};

TEST(KubernetesResourceTest, Paths) {
  EXPECT_EQ(CollectionPath({"", "v1", "pods"}, ""), "/api/v1/pods");
  EXPECT_EQ(CollectionPath({"", "v1", "pods"}, "shop"), "/api/v1/namespaces/shop/pods");
  EXPECT_EQ(ObjectPath(kDeployments, kCheckout, "status"),
            "/apis/apps/v1/namespaces/shop/deployments/checkout/status");
  EXPECT_EQ(ObjectPath({"", "v1", "nodes"}, {"", "a"}), "/api/v1/nodes/a");
  EXPECT_EQ(ObjectPath(kDeployments, {"shop", "a/../b?x"}),
            "/apis/apps/v1/namespaces/shop/deployments/a%2F..%2Fb%3Fx");
  EXPECT_EQ(ToString(kDeployments), "deployments.apps");
  EXPECT_EQ(ToString(Resource{"", "v1", "pods"}), "pods");
}

TEST(KubernetesResourceTest, Times) {
  using std::chrono::system_clock;
  const system_clock::time_point time =
      system_clock::from_time_t(1'700'000'000) + std::chrono::microseconds(1230);
  EXPECT_EQ(FormatTime(time), "2023-11-14T22:13:20Z");
  EXPECT_EQ(FormatMicroTime(time), "2023-11-14T22:13:20.001230Z");
}

TEST(KubernetesResourceTest, FieldsThatAreMissingAreEmpty) {
  const json::value value = {{"metadata", {{"name", 7}, {"namespace", "shop"}}}, {"spec", json::array()}};
  EXPECT_EQ(Text(value, {"metadata", "namespace"}), "shop");
  EXPECT_EQ(Text(value, {"metadata", "name"}), "");
  EXPECT_EQ(Text(value, {"spec", "a", "b"}), "");
  EXPECT_EQ(KeyOf(json::object()), ObjectKey());
}

TEST(KubernetesResourceTest, DeepJsonIsReadAndBottomlessIsNot) {
  EXPECT_TRUE(ParseJson(std::string(200, '[') + std::string(200, ']')).ok());
  EXPECT_FALSE(ParseJson(std::string(100'000, '[')).ok());
  EXPECT_FALSE(ParseJson("{} x").ok());
}

TEST(KubernetesRequestTest, WritesNameTheirFieldManager) {
  const json::object object{{"a", 1}};
  const ApiRequest apply = ApplyRequest(kDeployments, kCheckout, object, {.force = true, .dry_run = true});
  EXPECT_EQ(apply.method, Method::kPatch);
  EXPECT_EQ(apply.target,
            "/apis/apps/v1/namespaces/shop/deployments/"
            "checkout?fieldManager=weir-controller&force=true&dryRun=All");
  EXPECT_EQ(apply.content_type, "application/apply-patch+yaml");
  const ApiRequest status = StatusPatchRequest(kDeployments, kCheckout, {{"x", 1}}, "17");
  EXPECT_EQ(status.target,
            "/apis/apps/v1/namespaces/shop/deployments/checkout/status?fieldManager=weir-controller");
  EXPECT_EQ(status.body, R"({"status":{"x":1},"metadata":{"resourceVersion":"17"}})");
  const ApiRequest removal = DeleteRequest(kDeployments, kCheckout, "u1");
  EXPECT_EQ(json::parse(removal.body).at("preconditions").at("uid"), "u1");
}

TEST(KubernetesRequestTest, WhatMayBeDoneTwice) {
  EXPECT_TRUE(GetRequest(kDeployments, kCheckout).Idempotent());
  EXPECT_TRUE(UpdateRequest(kDeployments, kCheckout, {}).Idempotent());
  EXPECT_TRUE(DeleteRequest(kDeployments, kCheckout).Idempotent());
  EXPECT_TRUE(MergePatchRequest(kDeployments, kCheckout, {}).Idempotent());
  EXPECT_TRUE(ApplyRequest(kDeployments, kCheckout, {}).Idempotent());
  EXPECT_FALSE(JsonPatchRequest(kDeployments, kCheckout, {}).Idempotent());
  EXPECT_FALSE(CreateRequest(kDeployments, "shop", {}).Idempotent());
}

TEST(KubernetesApiErrorTest, Codes) {
  const struct {
    unsigned http;
    std::string_view reason;
    StatusCode code;
  } cases[] = {
      {400, "BadRequest", StatusCode::kInvalidArgument},
      {401, "Unauthorized", StatusCode::kUnauthenticated},
      {403, "Forbidden", StatusCode::kPermissionDenied},
      {404, "NotFound", StatusCode::kNotFound},
      {405, "MethodNotAllowed", StatusCode::kUnimplemented},
      {409, "Conflict", StatusCode::kAborted},
      {409, "AlreadyExists", StatusCode::kAlreadyExists},
      {410, "Expired", StatusCode::kOutOfRange},
      {413, "RequestEntityTooLarge", StatusCode::kResourceExhausted},
      {422, "Invalid", StatusCode::kInvalidArgument},
      {429, "TooManyRequests", StatusCode::kResourceExhausted},
      {500, "InternalError", StatusCode::kUnavailable},
      {503, "ServiceUnavailable", StatusCode::kUnavailable},
      {504, "Timeout", StatusCode::kUnavailable},
      {302, "", StatusCode::kUnknown},
  };
  for (const auto& expected : cases) {
    const json::value body = {{"kind", "Status"}, {"reason", expected.reason}, {"message", "why"}};
    const Status status = ApiError("GET /x", expected.http, body, std::chrono::seconds(3));
    EXPECT_EQ(status.code(), expected.code) << expected.http;
    EXPECT_EQ(HttpStatusOf(status), expected.http);
    EXPECT_EQ(ReasonOf(status), expected.reason);
    EXPECT_EQ(RetryAfterOf(status), std::chrono::seconds(3));
  }
}

TEST(KubernetesApiErrorTest, TheServersWordsAndNoOthers) {
  const json::value body = {{"kind", "Status"}, {"reason", "Forbidden"}, {"message", "pods is forbidden"}};
  EXPECT_EQ(Message(ApiError("GET /api/v1/pods", 403, body)),
            "GET /api/v1/pods: 403 Forbidden: pods is forbidden");
  // A proxy's page.
  EXPECT_EQ(Message(ApiError("GET /x", 502, json::value("<html>"))), "GET /x: 502");
  EXPECT_EQ(HttpStatusOf(NotFound("something else")), 0U);
  EXPECT_EQ(ReasonOf(NotFound("something else")), "");
}

TEST(KubernetesApiErrorTest, RetryAfter) {
  using std::chrono::seconds;
  const auto now = std::chrono::system_clock::from_time_t(784'111'777);  // RFC 9110's example
  EXPECT_EQ(ParseRetryAfter("120", now), seconds(120));
  EXPECT_EQ(ParseRetryAfter("0", now), seconds(0));
  EXPECT_EQ(ParseRetryAfter("Sun, 06 Nov 1994 08:49:47 GMT", now), seconds(10));
  EXPECT_EQ(ParseRetryAfter("Sun, 06 Nov 1994 08:49:00 GMT", now), seconds(0));
  for (const std::string_view bad : {"", "soon", "-1", "1.5", "99999999999"})
    EXPECT_EQ(ParseRetryAfter(bad, now), std::nullopt) << bad;
}

}  // namespace
}  // namespace weir::kubernetes
