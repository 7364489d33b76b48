// From text to objects: values, defaults, places of errors, and what YAML can hide.
#include "controller/model/manifest.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace weir::model {
namespace {

using std::chrono::milliseconds;

std::string Errors(std::string_view yaml) {
  const auto documents = ParseManifests(yaml, "f.yaml");
  return documents.ok() ? "" : Message(documents.status());
}

template <typename T>
T One(std::string_view yaml) {
  const auto documents = ParseManifests(yaml, "f.yaml");
  if (!documents.ok() || documents->size() != 1) {
    ADD_FAILURE() << documents.status();
    return {};
  }
  return std::get<T>(documents->front().object);
}

TEST(Duration, ArgosSpellings) {
  const struct {
    std::string_view text;
    std::optional<int64_t> ms;
  } kCases[] = {{"10", 10'000},
                {"10s", 10'000},
                {"5m", 300'000},
                {"1h", 3'600'000},
                {"1h30m", 5'400'000},
                {"250ms", 250},
                {"0", 0},
                {"", {}},
                {"s", {}},
                {"-5", {}},
                {"+5", {}},
                {"5 s", {}},
                {"1.5h", {}},
                {"5d", {}},
                {"1h30", {}},
                {"99999999999999999999", {}},
                {"9223372036854775807s", {}},
                {"876600h", 3'155'760'000'000},
                {"876601h", {}},
                {"876600h1ms", {}}};
  for (const auto& [text, ms] : kCases) {
    const auto parsed = ParseDuration(text);
    EXPECT_EQ(parsed.has_value(), ms.has_value()) << text;
    if (parsed && ms) {
      EXPECT_EQ(parsed->count(), *ms) << text;
      EXPECT_EQ(ParseDuration(FormatDuration(*parsed)), parsed) << text;
    }
  }
  EXPECT_EQ(FormatDuration(milliseconds{5'400'250}), "1h30m250ms");
  EXPECT_EQ(FormatDuration(milliseconds{0}), "0s");
  EXPECT_EQ(StepText(engine::SetWeight{20}), "setWeight: 20");
  EXPECT_EQ(StepText(engine::Pause{milliseconds{10'000}}), "pause: 10s");
  EXPECT_EQ(StepText(engine::Pause{}), "pause");
}

TEST(Manifest, ServiceDefaults) {
  const auto service = One<Service>(
      "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
      "spec: {clusterIP: '::1', sessionAffinity: ClientIP, ports: [{port: 80}]}\n");
  EXPECT_EQ(service.key, (ObjectKey{"default", "a"}));
  EXPECT_EQ(service.cluster_ips, std::vector{*IpAddress::Parse("::1")});
  EXPECT_EQ(service.ports, (std::vector<ServicePort>{{"", 80, Protocol::kTcp}}));
  EXPECT_EQ(service.client_ip_affinity, std::chrono::seconds{10800});
}

TEST(Manifest, WhichPortsAskForHttp) {
  const struct {
    std::string_view annotations, port;
    bool http;
  } kCases[] = {{"{}", "", false},
                {"{}", ", appProtocol: http", true},
                {"{}", ", appProtocol: HTTP", false},
                {"{}", ", appProtocol: https", false},
                {"{}", ", appProtocol: grpc", false},
                {"{}", ", appProtocol: kubernetes.io/h2c", false},
                {"{}", ", appProtocol: kubernetes.io/ws", false},
                {"{}", ", appProtocol: http, protocol: UDP", false},
                {"{weir.dev/l7: http}", "", true},
                {"{weir.dev/l7: http}", ", appProtocol: http", true},
                {"{weir.dev/l7: http}", ", appProtocol: https", false},
                {"{weir.dev/l7: http}", ", protocol: UDP", false},
                {"{weir.dev/l8: http}", "", false}};
  for (const auto& [annotations, port, http] : kCases) {
    const auto service = One<Service>(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a, annotations: " + std::string(annotations) +
        "}\nspec: {clusterIP: 127.96.0.1, ports: [{port: 80" + std::string(port) + "}]}\n");
    ASSERT_EQ(service.ports.size(), 1U);
    EXPECT_EQ(service.ports[0].http, http) << annotations << port;
  }
}

TEST(Manifest, EndpointConditions) {
  const struct {
    std::string_view conditions;
    EndpointState state;
  } kCases[] = {{"{}", EndpointState::kReady},
                {"{ready: true}", EndpointState::kReady},
                {"{ready: false}", EndpointState::kNotReady},
                {"{ready: null}", EndpointState::kReady},
                {"{ready: false, serving: true}", EndpointState::kNotReady},
                {"{ready: false, terminating: true}", EndpointState::kNotReady},
                {"{ready: false, serving: true, terminating: true}", EndpointState::kTerminating},
                {"{ready: false, serving: false, terminating: true}", EndpointState::kNotReady}};
  for (const auto& [conditions, state] : kCases) {
    const auto slice = One<EndpointSlice>(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
        "metadata: {name: s, labels: {kubernetes.io/service-name: a, weir.dev/revision: v1}}\naddressType: "
        "IPv4\n"
        "endpoints: [{addresses: [127.0.0.1], conditions: " +
        std::string(conditions) + "}]\n");
    ASSERT_EQ(slice.endpoints.size(), 1U) << conditions;
    EXPECT_EQ(slice.endpoints[0].state, state) << conditions;
    EXPECT_EQ(slice.Revision("pod-template-hash"), "v1");
  }
}

TEST(Manifest, BlueGreen) {
  const auto read = [](const std::string& fields) {
    return One<Rollout>(
        "apiVersion: weir.dev/v1alpha1\nkind: Rollout\nmetadata: {name: r}\nspec:\n  revision: v1\n"
        "  strategy: {blueGreen: {activeService: a" +
        fields + "}}\n");
  };
  const Rollout plain = read("");
  EXPECT_EQ(plain.service, "a");
  EXPECT_EQ(plain.preview_service, "");
  EXPECT_TRUE(plain.spec.steps.empty()) << "promoted as soon as it is ready";
  ASSERT_TRUE(plain.spec.blue_green);
  EXPECT_EQ(plain.spec.blue_green->scale_down_delay, std::chrono::seconds(30));

  const Rollout by_hand = read(", previewService: b, autoPromotionEnabled: false, scaleDownDelaySeconds: 0");
  EXPECT_EQ(by_hand.preview_service, "b");
  EXPECT_EQ(by_hand.spec.steps, (std::vector<engine::RolloutStep>{engine::Pause{}}));
  EXPECT_EQ(by_hand.spec.blue_green->scale_down_delay, milliseconds(0));

  const Rollout by_time = read(", autoPromotionEnabled: true, autoPromotionSeconds: 20");
  EXPECT_EQ(by_time.spec.steps, (std::vector<engine::RolloutStep>{engine::Pause{milliseconds(20'000)}}));
  EXPECT_TRUE(read(", autoPromotionSeconds: 0").spec.steps.empty());
}

TEST(Manifest, WhatNodesDoByThemselves) {
  const auto read = [](const std::string& fields) {
    return One<Rollout>(
               "apiVersion: weir.dev/v1alpha1\nkind: Rollout\nmetadata: {name: r}\nspec: {service: a, "
               "revision: v1, strategy: {canary: {}}" +
               fields + "}\n")
        .safety;
  };
  EXPECT_EQ(read(""), Safety{});
  EXPECT_EQ(read("").fail_safe_after, milliseconds(30'000));
  EXPECT_EQ(read(", failSafeAfter: 2m").fail_safe_after, milliseconds(120'000));
  for (const char* never : {"0", "0s", "\"0\""})
    EXPECT_EQ(read(std::string(", failSafeAfter: ") + never).fail_safe_after, milliseconds(0)) << never;
  EXPECT_EQ(read(", localTrip: {consecutiveFailures: 0}").trip_after, 0U);
  EXPECT_EQ(read(", localTrip: {}").trip_after, 5U);
  const Safety safety = read(", passiveHealth: {consecutiveFailures: 7, baseTime: 2, maxTime: 1m}");
  EXPECT_EQ(safety.leave_out_after, 7U);
  EXPECT_EQ(safety.leave_out_base, milliseconds(2000));
  EXPECT_EQ(safety.leave_out_max, milliseconds(60'000));
}

TEST(Manifest, OpenConnections) {
  using Way = engine::OpenConnections::Way;
  const auto read = [](const std::string& fields) {
    return One<Rollout>(
               "apiVersion: weir.dev/v1alpha1\nkind: Rollout\nmetadata: {name: r}\nspec:\n  revision: v1\n"
               "  service: a\n  strategy: {canary: {}}\n" +
               fields)
        .spec;
  };
  EXPECT_EQ(read("").on_abort, (engine::OpenConnections{.way = Way::kKeep}));
  EXPECT_EQ(read("  onAbort: keep\n").on_abort, (engine::OpenConnections{.way = Way::kKeep}));
  const engine::Spec spec = read("  onAbort: reset\n  onComplete: {drain: {deadline: 1m30s}}\n");
  EXPECT_EQ(spec.on_abort, (engine::OpenConnections{.way = Way::kReset}));
  EXPECT_EQ(spec.on_complete,
            (engine::OpenConnections{.way = Way::kDrain, .deadline = milliseconds{90'000}}));
}

TEST(Manifest, RolloutSteps) {
  const auto rollout = One<Rollout>(R"(
apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {name: r}
spec:
  service: a
  revision: v2
  paused: true
  ackTimeout: 3
  strategy:
    canary:
      trafficRouting: {maxTrafficWeight: 1000}
      steps:
      - setWeight: 5
      - pause: {}
      - pause: {duration: 10}
      - pause: {duration: "10s"}
      - pause: {duration: 5m}
      - setWeight: 1000
)");
  EXPECT_EQ(rollout.revision_label, "pod-template-hash");
  EXPECT_EQ(rollout.ack_timeout, milliseconds{3000});
  EXPECT_TRUE(rollout.spec.paused);
  EXPECT_EQ(rollout.spec.max_weight, 1000U);
  const std::vector<engine::RolloutStep> steps = {engine::SetWeight{5},
                                                  engine::Pause{},
                                                  engine::Pause{milliseconds{10'000}},
                                                  engine::Pause{milliseconds{10'000}},
                                                  engine::Pause{milliseconds{300'000}},
                                                  engine::SetWeight{1000}};
  EXPECT_EQ(rollout.spec.steps, steps);
}

TEST(Manifest, AnalysisInEveryPlace) {
  const auto canary = One<Rollout>(R"(
apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {name: r}
spec:
  service: a
  revision: v1
  strategy:
    canary:
      analysis:
        templates: [{templateName: errors}, {templateName: latency}]
        startingStep: 1
        dryRun: [{metricName: p99}]
        measurementRetention: [{metricName: "p.*", limit: 20}]
      steps:
      - setWeight: 20
      - analysis:
          templates: [{templateName: success-rate}]
          args:
          - {name: service, value: checkout}
          - {name: new, valueFrom: {podTemplateHashValue: Latest}}
          - {name: old, valueFrom: {podTemplateHashValue: Stable}}
      - analysis: {templates: [{templateName: weir-success-rate}], untilConfident: true, limit: 5m}
)");
  using From = engine::AnalysisArg::From;
  engine::Analysis errors{.templates = {"errors", "latency"}, .dry_run = {"p99"}, .retention = {{"p.*", 20}}};
  EXPECT_EQ(canary.spec.background, (engine::BackgroundAnalysis{errors, 1}));
  const engine::Analysis with_args{
      .templates = {"success-rate"},
      .args = {{"service", "checkout"}, {"new", "", From::kLatest}, {"old", "", From::kStable}}};
  const engine::Analysis confident{
      .templates = {"weir-success-rate"}, .until_confident = true, .limit = milliseconds{300'000}};
  EXPECT_EQ(canary.spec.steps,
            (std::vector<engine::RolloutStep>{engine::SetWeight{20}, with_args, confident}));
  EXPECT_EQ(StepText(canary.spec.steps[1]), "analysis: success-rate");

  const auto blue_green = One<Rollout>(R"(
apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {name: r}
spec:
  revision: v1
  strategy:
    blueGreen:
      activeService: a
      autoPromotionSeconds: 20
      prePromotionAnalysis: {templates: [{templateName: smoke}]}
      postPromotionAnalysis: {templates: [{templateName: errors}]}
)");
  EXPECT_EQ(blue_green.spec.steps, (std::vector<engine::RolloutStep>{engine::Analysis{.templates = {"smoke"}},
                                                                     engine::Pause{milliseconds{20'000}}}));
  EXPECT_EQ(blue_green.spec.blue_green->post_promotion, engine::Analysis{.templates = {"errors"}});
}

TEST(Manifest, EveryFieldOfArgosIsRefusedByName) {
  const auto errors = [](std::string_view where, std::string_view field) {
    std::string spec = "strategy: {canary: {}}";
    const std::string with = "{" + std::string(field) + ": {}}";
    if (where == "spec") spec = "strategy: {canary: {}}, " + std::string(field) + ": {}";
    if (where == "blueGreen") spec = "strategy: {blueGreen: " + with + "}";
    if (where == "canary") spec = "strategy: {canary: " + with + "}";
    if (where == "routing") spec = "strategy: {canary: {trafficRouting: " + with + "}}";
    if (where == "step") spec = "strategy: {canary: {steps: [" + with + "]}}";
    return Errors(
        "apiVersion: weir.dev/v1alpha1\nkind: Rollout\nmetadata: {name: r}\nspec: {service: a, revision: "
        "v1, " +
        spec + "}\n");
  };
  const std::pair<std::string_view, std::vector<std::string_view>> kFields[] = {
      {"spec",
       {"template", "selector", "replicas", "minReadySeconds", "restartAt", "revisionHistoryLimit",
        "progressDeadlineSeconds", "progressDeadlineAbort", "rollbackWindow", "analysis"}},
      {"blueGreen",
       {"previewReplicaCount", "maxUnavailable", "scaleDownDelayRevisionLimit", "abortScaleDownDelaySeconds",
        "antiAffinity", "activeMetadata", "previewMetadata"}},
      {"canary",
       {"canaryService", "stableService", "maxSurge", "maxUnavailable", "minPodsPerReplicaSet",
        "dynamicStableScale", "scaleDownDelaySeconds", "scaleDownDelayRevisionLimit",
        "abortScaleDownDelaySeconds", "replicaProgressThreshold", "antiAffinity", "canaryMetadata",
        "stableMetadata", "pingPong"}},
      {"routing",
       {"istio", "nginx", "alb", "smi", "ambassador", "appMesh", "traefik", "apisix", "plugins",
        "managedRoutes"}},
      {"step",
       {"setCanaryScale", "setHeaderRoute", "setMirrorRoute", "experiment", "plugin",
        "replicaProgressThreshold"}}};
  for (const auto& [where, fields] : kFields) {
    for (const std::string_view field : fields) {
      const std::string text = errors(where, field);
      EXPECT_NE(text.find("found " + std::string(field) + ", expected it left out: "), std::string::npos)
          << text;
      EXPECT_EQ(std::ranges::count(text, '\n'), 0) << text;
    }
  }
}

TEST(Manifest, QuantitiesBecomeIntegersInTheSameProportion) {
  const struct {
    std::string_view a, b;
    uint32_t weight_a, weight_b;
  } kCases[] = {{"20", "80", 20, 80},
                {"'20'", "'80'", 20, 80},
                {"500m", "99.5", 500, 99500},
                {"1e3", "1", 1000, 1},
                {"1k", "0", 1000, 0},
                {"1Ki", "1.0", 1024, 1},
                {"500m", "1001", 1, 2002},
                {"1000m", "3", 1, 3},
                {"1e-3", "0.002", 1, 2},
                {"1000000", "0.0", 1000000, 0},
                {"1u", "0.0001", 1, 100},
                {"2M", "1e6", 2, 1},
                {"~", "1", 0, 1}};
  for (const auto& test : kCases) {
    const auto split = One<TrafficSplit>(
        "apiVersion: split.smi-spec.io/v1alpha1\nkind: TrafficSplit\nmetadata: {name: t}\nspec: {service: a, "
        "backends: "
        "[{service: a, weight: " +
        std::string(test.a) + "}, {service: b, weight: " + std::string(test.b) + "}]}\n");
    EXPECT_EQ(split.backends, (std::vector<Backend>{{"a", test.weight_a}, {"b", test.weight_b}})) << test.a;
  }
  for (const std::string_view bad : {"-1", "-500m", ".", "m", "true", "1.2.3", "''", "1e", "[1]"}) {
    EXPECT_NE(Errors("apiVersion: split.smi-spec.io/v1alpha1\nkind: TrafficSplit\nmetadata: {name: t}\nspec: "
                     "{service: "
                     "a, backends: [{service: a, weight: " +
                     std::string(bad) + "}]}\n")
                  .find("spec.backends[0].weight: found "),
              std::string::npos)
        << bad;
  }
}

TEST(Manifest, AllErrorsOfAFileAtOnceEachWithItsLine) {
  const std::string text = Errors(
      "apiVersion: v1\n"
      "kind: Service\n"
      "metadata: {name: a}\n"
      "spec:\n"
      "  clusterIP: 0.0.0.0\n"
      "  ports:\n"
      "  - port: 0\n"
      "---\n"
      "apiVersion: v1\n"
      "kind: Service\n"
      "metadata: {name: b}\n"
      "spec: {clusterIP: 127.96.0.1}\n"
      "---\n"
      "apiVersion: [\n");
  EXPECT_NE(text.find("f.yaml:5: Service default/a: spec.clusterIP: found "), std::string::npos) << text;
  EXPECT_NE(text.find("\nf.yaml:7: Service default/a: spec.ports[0].port: found "), std::string::npos)
      << text;
  EXPECT_NE(text.find("\nf.yaml:12: Service default/b: spec.ports: found nothing"), std::string::npos)
      << text;
  EXPECT_NE(text.find(": found malformed YAML"), std::string::npos) << text;
  EXPECT_EQ(std::ranges::count(text, '\n'), 3) << text;
}

TEST(Manifest, EmptyDocumentsAreSkippedAndAnEmptyFileIsNoError) {
  for (const std::string_view text : {"", "\n", "---\n", "---\n---\n# nothing\n"}) {
    const auto documents = ParseManifests(text, "f");
    ASSERT_TRUE(documents.ok()) << documents.status();
    EXPECT_TRUE(documents->empty());
  }
}

TEST(Manifest, AliasesAreWrittenOutForTheStore) {
  const std::string text =
      "apiVersion: v1\nkind: Service\nmetadata: {name: &n a, labels: {app: *n}}\n"
      "spec: {clusterIP: 127.96.0.1, ports: [{port: 80}]}\n";
  const auto documents = ParseManifests(text, "f");
  ASSERT_TRUE(documents.ok()) << documents.status();
  EXPECT_EQ(documents->front().yaml.find('*'), std::string::npos) << documents->front().yaml;
}

TEST(Manifest, BombsDepthAndSizeHaveLimits) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 30; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before + ", " + before + ", " +
            before + "]\n";
  }
  EXPECT_NE(Errors(bomb).find("with its aliases written out"), std::string::npos);
  EXPECT_NE(Errors("a: &a [*a]\n").find("an alias inside what it stands for"), std::string::npos);
  EXPECT_NE(Errors(std::string(100'000, '[')).find("more than 64 levels of nesting"), std::string::npos);
  EXPECT_NE(Errors(std::string((16 << 20) + 1, ' ')).find("expected at most 16 MiB"), std::string::npos);
}

TEST(Manifest, ATokenThatCanBeginNothingEndsTheFile) {
  for (const std::string_view text : {",", "\n, a", "a: b\n]", "}"}) {
    EXPECT_NE(Errors(text).find("found malformed YAML"), std::string::npos) << text << Errors(text);
  }
}

TEST(Manifest, ManyErrorsAreCountedNotListed) {
  std::string text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n";
  for (int i = 0; i < 1500; ++i) text += "  field" + std::to_string(i) + ": 1\n";
  const std::string errors = Errors(text);
  EXPECT_LE(std::ranges::count(errors, '\n'), 1000);
  EXPECT_NE(errors.find("errors more, expected none"), std::string::npos);
}

TEST(ObjectSet, PutReplacesAndRemoveTells) {
  ObjectSet set;
  Service service;
  service.key = {"default", "a"};
  set.Put(service);
  service.ports = {{"", 80, Protocol::kTcp}};
  set.Put(service);
  EXPECT_EQ(set.services.size(), 1U);
  EXPECT_EQ(set.services.begin()->second, service);
  EXPECT_EQ(KindOf(Object(service)), "Service");
  EXPECT_FALSE(set.Remove("Rollout", service.key));
  EXPECT_TRUE(set.Remove("Service", service.key));
  EXPECT_FALSE(set.Remove("Service", service.key));
}

}  // namespace
}  // namespace weir::model
