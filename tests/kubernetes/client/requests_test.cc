// Requests to a real API server: what comes back, what errors become, who is let in.
#include <boost/asio/executor_work_guard.hpp>
#include <cstdio>
#include <fstream>
#include <thread>

#include "controller/kubernetes/client/api_error.h"
#include "controller/kubernetes/client/event_recorder.h"
#include "tests/kernel/harness/sandbox.h"
#include "tests/kubernetes/client/client_fixture.h"

namespace weir::kubernetes_test {
namespace {

using namespace weir::kubernetes;  // NOLINT(google-build-using-namespace): nearly all of it is used here
using absl::StatusCode;

class RequestsTest : public ClientFixture {
 protected:
  std::string Version(const Response& response) {
    return std::string(ResourceVersionOf(response.body.as_object()));
  }

  void AllowConfigMaps(const std::string& account) {
    plane().Apply(fmt::format(R"(
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {0}, namespace: {1}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {0}, namespace: {1}}}
rules: [{{apiGroups: [""], resources: [configmaps], verbs: [get, list]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {0}, namespace: {1}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {0}}}
subjects: [{{kind: ServiceAccount, name: {0}, namespace: {1}}}]
)",
                              account, ns()));
  }
};

TEST_F(RequestsTest, CreatesReadsAndDeletes) {
  const ObjectKey key{ns(), "a"};
  const auto made = Ask(CreateRequest(kConfigMaps, ns(), ConfigMap("a", "1")));
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->status, 201U);
  const auto got = Ask(GetRequest(kConfigMaps, key));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(Text(got->body, {"data", "value"}), "1");
  EXPECT_EQ(KeyOf(got->body.as_object()), key);

  const auto twice = Ask(CreateRequest(kConfigMaps, ns(), ConfigMap("a")));
  EXPECT_EQ(twice.status().code(), StatusCode::kAlreadyExists) << twice.status();
  EXPECT_EQ(ReasonOf(twice.status()), "AlreadyExists");

  EXPECT_EQ(Ask(DeleteRequest(kConfigMaps, key, "another-uid")).status().code(), StatusCode::kAborted);
  const std::string uid(Text(got->body, {"metadata", "uid"}));
  EXPECT_TRUE(Ask(DeleteRequest(kConfigMaps, key, uid)).ok());
  const auto gone = Ask(GetRequest(kConfigMaps, key));
  EXPECT_EQ(gone.status().code(), StatusCode::kNotFound);
  EXPECT_EQ(HttpStatusOf(gone.status()), 404U);
}

TEST_F(RequestsTest, OneConnectionServesRequestsInARow) {
  for (int i = 0; i < 20; ++i) MakeConfigMap(fmt::format("a-{}", i));
  EXPECT_EQ(client_->counters().connections, 1U);
  EXPECT_EQ(client_->counters().requests, 20U);
}

TEST_F(RequestsTest, ManyAtOnceUseNoMoreConnectionsThanAllowed) {
  size_t answered = 0;
  for (int i = 0; i < 100; ++i) {
    client_->Send(CreateRequest(kConfigMaps, ns(), ConfigMap(fmt::format("b-{}", i))),
                  [&](const Result<Response>& got) {
                    EXPECT_TRUE(got.ok()) << got.status();
                    ++answered;
                  });
  }
  ASSERT_TRUE(RunUntil([&] { return answered == 100; }));
  EXPECT_LE(client_->counters().connections, ClientOptions().max_connections);
}

TEST_F(RequestsTest, AnOlderResourceVersionIsAConflict) {
  const ObjectKey key{ns(), "a"};
  const auto made = Ask(CreateRequest(kConfigMaps, ns(), ConfigMap("a", "1")));
  ASSERT_TRUE(made.ok());
  const json::object patch{{"metadata", {{"resourceVersion", Version(*made)}}}, {"data", {{"value", "2"}}}};
  const auto first = Ask(MergePatchRequest(kConfigMaps, key, patch));
  ASSERT_TRUE(first.ok()) << first.status();
  json::object later = patch;
  later["data"] = {{"value", "3"}};
  const auto second = Ask(MergePatchRequest(kConfigMaps, key, later));
  EXPECT_EQ(second.status().code(), StatusCode::kAborted) << second.status();
  EXPECT_EQ(ReasonOf(second.status()), "Conflict");

  json::object whole = made->body.as_object();
  whole["data"] = {{"value", "4"}};
  EXPECT_EQ(Ask(UpdateRequest(kConfigMaps, key, whole)).status().code(), StatusCode::kAborted);
  whole["metadata"].as_object()["resourceVersion"] = Version(*first);
  EXPECT_TRUE(Ask(UpdateRequest(kConfigMaps, key, whole)).ok());
}

TEST_F(RequestsTest, JsonPatchTestsBeforeItWrites) {
  const ObjectKey key{ns(), "a"};
  MakeConfigMap("a", "1");
  const auto patch = [](std::string_view was, std::string_view becomes) {
    return json::array{{{"op", "test"}, {"path", "/data/value"}, {"value", was}},
                       {{"op", "replace"}, {"path", "/data/value"}, {"value", becomes}}};
  };
  EXPECT_EQ(Ask(JsonPatchRequest(kConfigMaps, key, patch("0", "2"))).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_TRUE(Ask(JsonPatchRequest(kConfigMaps, key, patch("1", "2"))).ok());
}

TEST_F(RequestsTest, AppliedFieldsHaveAnOwner) {
  const ObjectKey key{ns(), "a"};
  const auto applied = Ask(ApplyRequest(kConfigMaps, key, ConfigMap("a", "ours")));
  ASSERT_TRUE(applied.ok()) << applied.status();
  const WriteOptions other{.field_manager = "somebody-else"};
  const auto refused = Ask(ApplyRequest(kConfigMaps, key, ConfigMap("a", "theirs"), other));
  EXPECT_EQ(refused.status().code(), StatusCode::kAborted) << refused.status();
  EXPECT_NE(Message(refused.status()).find(kFieldManager), std::string::npos) << refused.status();
  WriteOptions forced = other;
  forced.force = true;
  EXPECT_TRUE(Ask(ApplyRequest(kConfigMaps, key, ConfigMap("a", "theirs"), forced)).ok());
  // What Weir leaves out now was its own once, but is another's since.
  json::object nothing = ConfigMap("a");
  nothing.erase("data");
  ASSERT_TRUE(Ask(ApplyRequest(kConfigMaps, key, nothing)).ok());
  EXPECT_EQ(Text(Ask(GetRequest(kConfigMaps, key))->body, {"data", "value"}), "theirs");
}

TEST_F(RequestsTest, DryRunStoresNothing) {
  ASSERT_TRUE(Ask(CreateRequest(kConfigMaps, ns(), ConfigMap("a"), {.dry_run = true})).ok());
  EXPECT_EQ(Ask(GetRequest(kConfigMaps, {ns(), "a"})).status().code(), StatusCode::kNotFound);
}

TEST_F(RequestsTest, AStatusIsPatchedByItself) {
  const Resource deployments{"apps", "v1", "deployments"};
  plane().Apply(fmt::format(R"(
apiVersion: apps/v1
kind: Deployment
metadata: {{name: a, namespace: {}}}
spec:
  selector: {{matchLabels: {{app: a}}}}
  template: {{metadata: {{labels: {{app: a}}}}, spec: {{containers: [{{name: a, image: a}}]}}}}
)",
                            ns()));
  const auto patched =
      Ask(StatusPatchRequest(deployments, {ns(), "a"}, {{"observedGeneration", 1}, {"replicas", 7}}));
  ASSERT_TRUE(patched.ok()) << patched.status();
  EXPECT_EQ(Find(patched->body, {"status", "replicas"})->as_int64(), 7);
  EXPECT_EQ(Find(patched->body, {"spec", "replicas"})->as_int64(), 1);
  const std::string old = Version(*patched);
  ASSERT_TRUE(Ask(StatusPatchRequest(deployments, {ns(), "a"}, {{"replicas", 8}}, old)).ok());
  EXPECT_EQ(Ask(StatusPatchRequest(deployments, {ns(), "a"}, {{"replicas", 9}}, old)).status().code(),
            StatusCode::kAborted);
}

TEST_F(RequestsTest, WhatIsNotValidIsRefusedWithTheField) {
  json::object bad = ConfigMap("Not_A_Name");
  const auto refused = Ask(CreateRequest(kConfigMaps, ns(), bad));
  EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(Message(refused.status()).find("metadata.name"), std::string::npos) << refused.status();
}

TEST_F(RequestsTest, ARestrictedServiceAccountIsToldWhatItMayNot) {
  AllowConfigMaps("reader");
  const auto kubeconfig = plane().KubeconfigOf(ns(), "reader");
  ASSERT_TRUE(kubeconfig.ok()) << kubeconfig.status();
  MakeConfigMap("a", "1");
  const auto reader = Connect(*kubeconfig);
  EXPECT_TRUE(Ask(*reader, GetRequest(kConfigMaps, {ns(), "a"})).ok());
  const auto refused =
      Ask(*reader, MergePatchRequest(kConfigMaps, {ns(), "a"}, {{"data", {{"value", "2"}}}}));
  EXPECT_EQ(refused.status().code(), StatusCode::kPermissionDenied);
  for (const std::string said : {"patch", "configmaps", "reader"})
    EXPECT_NE(Message(refused.status()).find(said), std::string::npos) << refused.status();
}

TEST_F(RequestsTest, AServiceAccountsMountIsAccessAndItsTokenIsReadAgain) {
  AllowConfigMaps("reader");
  const auto mount = plane().MountOf(ns(), "reader");
  ASSERT_TRUE(mount.ok()) << mount.status();
  const std::string token = kernel_test::ReadFile(*mount + "/token");
  std::ofstream(*mount + "/token") << "expired." + token;
  const auto access = InCluster({.folder = *mount, .host = "127.0.0.1", .port = "6443"});
  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_EQ(access->ns, ns());
  const auto client = Client::Create(context_, *access);
  ASSERT_TRUE(client.ok()) << client.status();
  const auto refused = Ask(**client, GetRequest(kConfigMaps, {ns(), "a"}));
  EXPECT_EQ(refused.status().code(), StatusCode::kUnauthenticated) << refused.status();
  // kubelet replaces the file by rename.
  std::ofstream(*mount + "/new") << token;
  ASSERT_EQ(std::rename((*mount + "/new").c_str(), (*mount + "/token").c_str()), 0);
  const auto found = Ask(**client, GetRequest(kConfigMaps, {ns(), "a"}));
  EXPECT_EQ(found.status().code(), StatusCode::kNotFound) << found.status();
}

TEST_F(RequestsTest, AServerOfAnotherNameOrCaIsNotTrusted) {
  auto access = FromKubeconfig(plane().admin_kubeconfig());
  ASSERT_TRUE(access.ok());
  const auto ask = [&](const Access& with) {
    const auto client = Client::Create(context_, with);
    EXPECT_TRUE(client.ok()) << client.status();
    return Ask(**client, GetRequest(kConfigMaps, {ns(), "a"})).status();
  };
  Access named = *access;
  named.tls_server_name = "localhost";  // one of the certificate's names
  EXPECT_EQ(ask(named).code(), StatusCode::kNotFound) << ask(named);
  named.tls_server_name = "example.com";
  EXPECT_EQ(ask(named).code(), StatusCode::kUnavailable);
  EXPECT_NE(Message(ask(named)).find("certificate verify failed"), std::string::npos) << ask(named);
  Access other_ca = *access;
  other_ca.ca_pem = kernel_test::ReadFile(plane().folder() + "/admin.crt");
  EXPECT_EQ(ask(other_ca).code(), StatusCode::kUnavailable);
  other_ca.insecure = true;
  EXPECT_EQ(ask(other_ca).code(), StatusCode::kNotFound);
}

TEST_F(RequestsTest, ARestartedServerIsFoundAgainByIdempotentRequests) {
  MakeConfigMap("a", "1");
  plane().KillApiServer();
  EXPECT_EQ(Ask(GetRequest(kConfigMaps, {ns(), "a"})).status().code(), StatusCode::kUnavailable);
  const Status restarted = plane().StartApiServer();
  ASSERT_TRUE(restarted.ok()) << restarted;
  EXPECT_TRUE(Ask(GetRequest(kConfigMaps, {ns(), "a"})).ok());
}

TEST_F(RequestsTest, AServerThatDoesNotAnswerIsGivenUpAtTheDeadline) {
  MakeConfigMap("a", "1");
  plane().FreezeApiServer(true);
  ApiRequest request = GetRequest(kConfigMaps, {ns(), "a"});
  request.timeout = std::chrono::milliseconds(300);
  EXPECT_EQ(Ask(request).status().code(), StatusCode::kDeadlineExceeded);
  plane().FreezeApiServer(false);
  EXPECT_TRUE(Ask(GetRequest(kConfigMaps, {ns(), "a"})).ok());
}

TEST_F(RequestsTest, AnotherThreadMayWaitForItsAnswer) {
  const auto work = boost::asio::make_work_guard(context_);
  context_.restart();
  std::thread loop([this] { context_.run(); });
  const auto made = client_->Call(CreateRequest(kConfigMaps, ns(), ConfigMap("a", "1")));
  EXPECT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(client_->Call(GetRequest(kConfigMaps, {ns(), "b"})).status().code(), StatusCode::kNotFound);
  plane().FreezeApiServer(true);
  ApiRequest slow = GetRequest(kConfigMaps, {ns(), "a"});
  slow.timeout = std::chrono::milliseconds(200);
  EXPECT_EQ(client_->Call(slow).status().code(), StatusCode::kDeadlineExceeded);
  plane().FreezeApiServer(false);
  context_.stop();
  loop.join();
}

TEST_F(RequestsTest, TheSameEventAgainBecomesASeries) {
  const auto made = Ask(CreateRequest(kConfigMaps, ns(), ConfigMap("a")));
  ASSERT_TRUE(made.ok());
  EventRecorder recorder(*client_, "controller-0");
  const EventSubject about{
      "v1", "ConfigMap", {ns(), "a"}, std::string(Text(made->body, {"metadata", "uid"}))};
  const auto record = [&] {
    recorder.Record(about, EventType::kWarning, "Held", "SetWeight", "node-1 does not ack");
  };
  record();
  ASSERT_TRUE(RunUntil([&] { return recorder.counters().written == 1; }));
  record();
  ASSERT_TRUE(RunUntil([&] { return recorder.counters().written == 2; }));
  recorder.Record(about, EventType::kNormal, "Promoted", "Promote", "v2 is stable");
  ASSERT_TRUE(RunUntil([&] { return recorder.counters().written == 3; }));
  ApiRequest list;
  list.target = CollectionPath({"events.k8s.io", "v1", "events"}, ns());
  const auto events = Ask(list);
  ASSERT_TRUE(events.ok()) << events.status();
  ASSERT_EQ(Find(events->body, {"items"})->as_array().size(), 2U);
  for (const json::value& event : Find(events->body, {"items"})->as_array()) {
    EXPECT_EQ(Text(event, {"regarding", "name"}), "a");
    if (Text(event, {"reason"}) == "Held") {
      EXPECT_EQ(Find(event, {"series", "count"})->as_int64(), 2);
    } else {
      EXPECT_EQ(Find(event, {"series"}), nullptr);
    }
  }
  // What people see.
  const std::string described = plane().MustKubectl({"describe", "configmap", "a", "-n", ns()});
  EXPECT_NE(described.find("node-1 does not ack"), std::string::npos) << described;
  EXPECT_EQ(recorder.counters().failed, 0U);
}

}  // namespace
}  // namespace weir::kubernetes_test
