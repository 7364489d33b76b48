// The reflector against a real API server: pages, watches, what expires, and servers that are killed.
#include "controller/kubernetes/client/reflector.h"

#include <map>

#include "tests/kubernetes/client/client_fixture.h"

namespace weir::kubernetes_test {
namespace {

using namespace weir::kubernetes;  // NOLINT(google-build-using-namespace): nearly all of it is used here
using std::chrono::milliseconds;
using std::chrono::seconds;

/// What a reflector has told: the objects that exist by it, and every call in turn.
struct Seen {
  std::map<std::string, json::object> objects;  // by name
  size_t puts = 0, deletes = 0, syncs = 0, absences = 0;
  std::vector<Status> errors;

  ReflectorCallbacks Callbacks() {
    ReflectorCallbacks callbacks;
    callbacks.on_put = [this](json::object&& object) {
      ++puts;
      objects[KeyOf(object).name] = std::move(object);
    };
    callbacks.on_delete = [this](const ObjectKey& key) {
      ++deletes;
      EXPECT_EQ(objects.erase(key.name), 1U) << key.name;
    };
    callbacks.on_synced = [this] { ++syncs; };
    callbacks.on_absent = [this] { ++absences; };
    callbacks.on_error = [this](const Status& status) { errors.push_back(status); };
    return callbacks;
  }
  std::string Value(const std::string& name) {
    const auto found = objects.find(name);
    return found == objects.end() ? "none" : std::string(Text(found->second, {"data", "value"}));
  }
};

class ReflectorTest : public ClientFixture {
 protected:
  ReflectorOptions Options(const Resource& resource = kConfigMaps) {
    ReflectorOptions options;
    options.resource = resource;
    options.ns = ns();
    options.backoff = {milliseconds(50), milliseconds(500), 2.0};
    return options;
  }
  /// Objects of a kind in one go, by kubectl.
  void Make(const std::string& kind, int from, int to) {
    std::string manifests;
    for (int i = from; i < to; ++i) {
      manifests += fmt::format("---\napiVersion: v1\nkind: {}\nmetadata: {{name: a-{:04}, namespace: {}}}\n",
                               kind, i, ns());
    }
    plane().MustKubectl({"create", "-f", "-"}, manifests);
  }
  void SetValue(const std::string& name, const std::string& value) {
    const auto patched = Ask(MergePatchRequest(kConfigMaps, {ns(), name}, {{"data", {{"value", value}}}}));
    ASSERT_TRUE(patched.ok()) << patched.status();
  }
  void Remove(const Resource& resource, const std::string& name) {
    const auto removed = Ask(DeleteRequest(resource, {ns(), name}));
    ASSERT_TRUE(removed.ok()) << removed.status();
  }

  Seen seen_;
};

TEST_F(ReflectorTest, ListsInPagesAndFollowsWhatChanges) {
  Make("ConfigMap", 0, 1203);
  Reflector reflector(*client_, Options(), seen_.Callbacks());
  reflector.Start();
  ASSERT_TRUE(RunUntil([&] { return seen_.syncs == 1; }));
  EXPECT_EQ(seen_.objects.size(), 1203U);
  EXPECT_EQ(reflector.counters().pages, 3U);  // 500 a page
  EXPECT_EQ(reflector.size(), 1203U);
  EXPECT_TRUE(reflector.synced());
  for (const auto& [name, object] : seen_.objects) {
    ASSERT_EQ(object.at("metadata").as_object().if_contains("managedFields"), nullptr) << name;
  }
  MakeConfigMap("new", "1");
  ASSERT_TRUE(RunUntil([&] { return seen_.Value("new") == "1"; }));
  SetValue("new", "2");
  ASSERT_TRUE(RunUntil([&] { return seen_.Value("new") == "2"; }));
  Remove(kConfigMaps, "new");
  ASSERT_TRUE(RunUntil([&] { return seen_.Value("new") == "none"; }));
  EXPECT_EQ(reflector.counters().lists, 1U);
  EXPECT_EQ(reflector.counters().errors, 0U);
  EXPECT_EQ(reflector.counters().events, 3U);
}

TEST_F(ReflectorTest, AWatchThatRanItsTimeIsResumedWithABookmark) {
  ReflectorOptions options = Options();
  options.watch_min = options.watch_max = seconds(6);
  Reflector reflector(*client_, options, seen_.Callbacks());
  reflector.Start();
  ASSERT_TRUE(RunUntil([&] { return seen_.syncs == 1; }));
  MakeConfigMap("a", "1");
  ASSERT_TRUE(RunUntil([&] { return seen_.Value("a") == "1"; }));  // the watch is open
  // A version that the watch does not see by an event of its own: the server tells it by a bookmark, before
  // the end.
  plane().MustKubectl({"create", "configmap", "elsewhere", "-n", "default"});
  ASSERT_TRUE(
      RunUntil([&] { return reflector.counters().bookmarks >= 1 && reflector.counters().watches >= 2; }));
  MakeConfigMap("b", "1");
  ASSERT_TRUE(RunUntil([&] { return seen_.Value("b") == "1"; }));
  EXPECT_EQ(reflector.counters().lists, 1U);
  EXPECT_EQ(reflector.counters().errors, 0U) << seen_.errors.front();
  EXPECT_EQ(seen_.puts, 2U);
}

TEST_F(ReflectorTest, ObjectsThatVanishedWhileNobodyWatchedAreDeletedByTheRelist) {
  Make("Secret", 0, 10);
  ReflectorOptions options = Options(kSecrets);
  options.watch_min = options.watch_max = seconds(2);
  Reflector reflector(*client_, options, seen_.Callbacks());
  reflector.Start();
  ASSERT_TRUE(RunUntil([&] { return seen_.syncs == 1 && reflector.counters().watches == 1; }));
  // Nothing is read here while the API server forgets what lies between: the watch resumes from a version
  // that etcd has compacted. The context does not run, so the watch ends unseen.
  plane().KillApiServer();
  Status restarted = plane().StartApiServer();
  ASSERT_TRUE(restarted.ok()) << restarted;
  plane().MustKubectl({"delete", "secret", "a-0003", "a-0007", "-n", ns()});
  Make("Secret", 10, 11);
  ASSERT_TRUE(plane().CompactEtcd().ok());
  ASSERT_TRUE(RunUntil([&] { return seen_.syncs == 2; }));
  EXPECT_EQ(reflector.counters().expired, 1U);
  EXPECT_EQ(reflector.counters().relists, 1U);
  EXPECT_EQ(seen_.deletes, 2U);
  EXPECT_EQ(seen_.puts, 11U);  // nothing again of what is unchanged
  EXPECT_EQ(seen_.objects.size(), 9U);
}

TEST_F(ReflectorTest, AListThatExpiresBetweenItsPagesBeginsAnew) {
  Make("Secret", 0, 30);
  ReflectorOptions options = Options(kSecrets);
  options.page = 10;
  ReflectorCallbacks callbacks = seen_.Callbacks();
  bool compacted = false;
  callbacks.on_put = [&, put = callbacks.on_put](json::object&& object) {
    put(std::move(object));
    if (seen_.puts == 5 && !std::exchange(compacted, true)) {
      // A later version than the list's, or there is nothing to compact.
      plane().MustKubectl({"label", "secret", "a-0029", "-n", ns(), "changed=yes"});
      EXPECT_TRUE(plane().CompactEtcd().ok());
    }
  };
  Reflector reflector(*client_, options, callbacks);
  reflector.Start();
  ASSERT_TRUE(RunUntil([&] { return seen_.syncs == 1; }));
  EXPECT_EQ(reflector.counters().expired, 1U);
  EXPECT_EQ(reflector.counters().lists, 2U);
  EXPECT_EQ(reflector.counters().relists, 0U);  // there was no whole one before
  EXPECT_EQ(seen_.puts, 30U);
  EXPECT_EQ(seen_.deletes, 0U);
}

TEST_F(ReflectorTest, AKilledServerIsWaitedForAndTheWatchGoesOn) {
  MakeConfigMap("a", "1");
  Reflector reflector(*client_, Options(), seen_.Callbacks());
  reflector.Start();
  ASSERT_TRUE(RunUntil([&] { return seen_.syncs == 1; }));
  plane().KillApiServer();
  ASSERT_TRUE(RunUntil([&] { return reflector.counters().errors >= 3; }));
  const Status restarted = plane().StartApiServer();
  ASSERT_TRUE(restarted.ok()) << restarted;
  SetValue("a", "2");
  MakeConfigMap("b", "1");
  ASSERT_TRUE(RunUntil([&] { return seen_.Value("a") == "2" && seen_.Value("b") == "1"; }));
  EXPECT_EQ(seen_.deletes, 0U);
  EXPECT_EQ(seen_.puts, 3U);
}

TEST_F(ReflectorTest, AKilledEtcdIsWaitedFor) {
  MakeConfigMap("a", "1");
  Reflector reflector(*client_, Options(), seen_.Callbacks());
  reflector.Start();
  ASSERT_TRUE(RunUntil([&] { return seen_.syncs == 1; }));
  plane().KillEtcd();
  const Status restarted = plane().StartEtcd();
  ASSERT_TRUE(restarted.ok()) << restarted;
  ASSERT_TRUE(RunUntil([&] { return plane().Kubectl({"get", "--raw", "/readyz"}).code == 0; }, seconds(60)));
  SetValue("a", "2");
  ASSERT_TRUE(RunUntil([&] { return seen_.Value("a") == "2"; }));
  EXPECT_EQ(seen_.deletes, 0U);
}

TEST_F(ReflectorTest, AResourceWithoutItsCrdIsAbsentUntilItIsInstalledAndAgainWhenItIsRemoved) {
  const Resource widgets{"example.com", "v1", "widgets"};
  ReflectorOptions options = Options(widgets);
  options.absent_retry = seconds(1);
  Reflector reflector(*client_, options, seen_.Callbacks());
  reflector.Start();
  ASSERT_TRUE(RunUntil([&] { return seen_.absences == 1; }));
  EXPECT_TRUE(reflector.absent());
  EXPECT_FALSE(reflector.synced());
  plane().Apply(R"(
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  names: {plural: widgets, singular: widget, kind: Widget}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
)");
  ASSERT_TRUE(RunUntil([&] { return seen_.syncs == 1; }));
  EXPECT_FALSE(reflector.absent());
  plane().MustKubectl({"wait", "--for=condition=established", "crd/widgets.example.com"});
  plane().Apply(
      fmt::format("apiVersion: example.com/v1\nkind: Widget\nmetadata: {{name: w, namespace: {}}}\n", ns()));
  ASSERT_TRUE(RunUntil([&] { return seen_.objects.contains("w"); }));
  plane().MustKubectl({"delete", "crd", "widgets.example.com"});
  ASSERT_TRUE(RunUntil([&] { return seen_.absences == 2; }, seconds(60)));
  EXPECT_TRUE(seen_.objects.empty());
}

TEST_F(ReflectorTest, MetadataAloneIsAskedForAndSelectorsAreTheServers) {
  plane().Apply(fmt::format(R"(
apiVersion: v1
kind: ConfigMap
metadata: {{name: chosen, namespace: {0}, labels: {{tier: a}}}}
data: {{value: big}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: other, namespace: {0}, labels: {{tier: c}}}}
)",
                            ns()));
  ReflectorOptions options = Options();
  options.metadata_only = true;
  options.label_selector = "tier in (a, b)";
  options.field_selector = "metadata.name!=hidden";
  Reflector reflector(*client_, options, seen_.Callbacks());
  reflector.Start();
  ASSERT_TRUE(RunUntil([&] { return seen_.syncs == 1; }));
  ASSERT_EQ(seen_.objects.size(), 1U);
  EXPECT_EQ(seen_.objects.at("chosen").if_contains("data"), nullptr);
  // By the watch as well; an object that leaves the selection is deleted for those who watch it.
  plane().MustKubectl({"label", "--overwrite", "configmap", "other", "-n", ns(), "tier=b"});
  ASSERT_TRUE(RunUntil([&] { return seen_.objects.contains("other"); }));
  EXPECT_EQ(seen_.objects.at("other").if_contains("data"), nullptr);
  plane().MustKubectl({"label", "--overwrite", "configmap", "chosen", "-n", ns(), "tier=c"});
  ASSERT_TRUE(RunUntil([&] { return !seen_.objects.contains("chosen"); }));
}

TEST_F(ReflectorTest, WhatTrimDoesNotWantDoesNotExist) {
  MakeConfigMap("a", "keep");
  MakeConfigMap("b", "drop");
  ReflectorCallbacks callbacks = seen_.Callbacks();
  callbacks.trim = [](json::object& object) {
    const bool wanted = Text(object, {"data", "value"}) == "keep";
    object.erase("kind");
    return wanted;
  };
  Reflector reflector(*client_, Options(), callbacks);
  reflector.Start();
  ASSERT_TRUE(RunUntil([&] { return seen_.syncs == 1; }));
  EXPECT_EQ(seen_.objects.size(), 1U);
  EXPECT_EQ(seen_.objects.at("a").if_contains("kind"), nullptr);
  SetValue("a", "drop");
  SetValue("b", "keep");
  ASSERT_TRUE(RunUntil([&] { return seen_.objects.contains("b") && !seen_.objects.contains("a"); }));
}

TEST_F(ReflectorTest, WhoMayNotListIsToldAndTriesAgain) {
  plane().MustKubectl({"create", "serviceaccount", "nobody", "-n", ns()});
  const auto kubeconfig = plane().KubeconfigOf(ns(), "nobody");
  ASSERT_TRUE(kubeconfig.ok()) << kubeconfig.status();
  const auto client = Connect(*kubeconfig);
  MakeConfigMap("a");
  Reflector reflector(*client, Options(), seen_.Callbacks());
  reflector.Start();
  ASSERT_TRUE(RunUntil([&] { return !seen_.errors.empty(); }));
  EXPECT_EQ(seen_.errors.front().code(), absl::StatusCode::kPermissionDenied);
  plane().MustKubectl({"create", "role", "nobody", "-n", ns(), "--verb=list,watch", "--resource=configmaps"});
  plane().MustKubectl({"create", "rolebinding", "nobody", "-n", ns(), "--role=nobody",
                       "--serviceaccount=" + ns() + ":nobody"});
  ASSERT_TRUE(RunUntil([&] { return seen_.objects.contains("a"); }));
}

TEST_F(ReflectorTest, ACallbackMayEndIt) {
  Make("ConfigMap", 0, 20);
  std::unique_ptr<Reflector> reflector;
  size_t puts = 0;
  ReflectorCallbacks callbacks;
  callbacks.on_put = [&](json::object&&) {
    if (++puts == 3) reflector.reset();
  };
  callbacks.on_synced = [] { ADD_FAILURE() << "it went on"; };
  reflector = std::make_unique<Reflector>(*client_, Options(), callbacks);
  reflector->Start();
  ASSERT_TRUE(RunUntil([&] { return reflector == nullptr; }));
  MakeConfigMap("later");
  EXPECT_EQ(puts, 3U);
}

}  // namespace
}  // namespace weir::kubernetes_test
