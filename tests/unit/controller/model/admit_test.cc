// Objects one by one, in any order: what is wrong is left out, by itself.
#include "controller/model/admit.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "tests/unit/controller/model/yaml_objects.h"

namespace weir::model {
namespace {

std::string Old(const std::string& name) {
  return "name: " + name + ", creationTimestamp: \"2026-01-01T00:00:00Z\"";
}
std::string Young(const std::string& name) {
  return "name: " + name + ", creationTimestamp: \"2026-01-02T00:00:00Z\"";
}

std::string SliceYaml(const std::string& name, const std::string& service, const std::string& address,
                      int port = 8080) {
  return "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: " + name +
         ", namespace: shop, labels: {kubernetes.io/service-name: " + service +
         "}}\naddressType: IPv4\nports: [{name: http, port: " + std::to_string(port) +
         "}]\nendpoints: [{addresses: [" + address + "]}]\n";
}

std::vector<std::string> Refusals(const Admission& admission) {
  std::vector<std::string> lines;
  for (const auto& [id, reason] : admission.refused)
    lines.push_back(id.kind + " " + id.key.name + ": " + reason);
  return lines;
}

TEST(Admit, WhatIsWrongDoesNotHoldUpTheOthers) {
  const std::string kServices = ServiceYaml("a", "10.96.0.1") + ServiceYaml("b", "10.96.0.2");
  const std::string kToB = ", rules: [{backendRefs: [{name: b, port: 80}]}]";
  const std::string kParent = "parentRefs: [{group: \"\", kind: Service, name: a}]";
  const struct {
    std::string name, objects;
    std::vector<std::string> refused;
  } kCases[] = {
      {"nothing is wrong", kServices + SliceYaml("s", "a", "10.0.0.1") + RolloutYaml("name: r", "a"), {}},
      {"an address twice: the older Service has it",
       "---\napiVersion: v1\nkind: Service\nmetadata: {" + Young("a") +
           ", namespace: shop}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n---\napiVersion: "
           "v1\nkind: "
           "Service\nmetadata: {" +
           Old("b") + ", namespace: shop}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n",
       {"Service a: spec.clusterIP: found 10.96.0.1:80/TCP, which Service shop/b has too, expected an "
        "address and "
        "port that no other Service has; choose another clusterIP or port"}},
      {"a loop",
       kServices + SliceYaml("s", "a", "10.96.0.2", 80) + SliceYaml("t", "a", "10.0.0.1"),
       {"EndpointSlice s: endpoints[0].addresses[0]: found 10.96.0.2:80/TCP, which is the address of Service "
        "shop/b "
        "itself (a loop), expected the address and port of a server; give the server's own address"}},
      {"a Rollout without its Service",
       kServices + RolloutYaml("name: r", "c") + RolloutYaml("name: q", "a"),
       {"Rollout r: spec.service: found the unknown Service shop/c, expected the name of a Service in the "
        "same "
        "namespace; apply the Service with it, or correct the name"}},
      {"the older Rollout has the Service",
       kServices + RolloutYaml(Young("a"), "a") + RolloutYaml(Old("z"), "a"),
       {"Rollout a: spec.service: found Service shop/a, which Rollout shop/z divides already, expected a "
        "Service "
        "that no other Rollout or TrafficSplit divides; remove one of the two"}},
      {"one that is refused claims nothing",
       kServices + RolloutYaml(Old("a"), "c") + SplitYaml(Old("a"), "c", "{service: b, weight: 1}") +
           SplitYaml(Young("z"), "a", "{service: b, weight: 1}"),
       {"Rollout a: spec.service: found the unknown Service shop/c, expected the name of a Service in the "
        "same "
        "namespace; apply the Service with it, or correct the name",
        "TrafficSplit a: spec.service: found the unknown Service shop/c, expected the name of a Service in "
        "the same "
        "namespace; apply the Service with it, or correct the name"}},
      {"the older TrafficSplit has the Service",
       kServices + SplitYaml(Young("a"), "a", "{service: b, weight: 1}") +
           SplitYaml(Old("z"), "a", "{service: b, weight: 1}"),
       {"TrafficSplit a: spec.service: found Service shop/a, which TrafficSplit shop/z divides already, "
        "expected a "
        "Service that no other Rollout or TrafficSplit divides; remove one of the two"}},
      {"a TrafficSplit may come before its backends",
       kServices + SplitYaml("name: t", "a", "{service: c, weight: 1}"),
       {}},
      {"a route that no parent takes",
       kServices + RouteYaml("HTTPRoute", Young("r"), kParent + kToB) +
           SplitYaml(Old("t"), "a", "{service: b, weight: 1}"),
       {"HTTPRoute r: TrafficSplit shop/t divides Service shop/a"}},
      {"a route that one parent takes",
       kServices + RouteYaml("TCPRoute", "name: r",
                             "parentRefs: [{group: \"\", kind: Service, name: a}, {group: \"\", "
                             "kind: Service, name: c}]" +
                                 kToB),
       {}},
      {"a route with a Gateway alone is not ours",
       RouteYaml("TCPRoute", "name: r", "parentRefs: [{name: g}]" + kToB),
       {}},
      {"a route to nowhere refuses its share, and is admitted",
       kServices +
           RouteYaml("TCPRoute", "name: r", kParent + ", rules: [{backendRefs: [{name: x, port: 80}]}]"),
       {}},
  };
  for (const auto& test : kCases) {
    SCOPED_TRACE(test.name);
    const ObjectSet candidates = ReadObjects(test.objects);
    const Admission admission = Admit(candidates);
    EXPECT_EQ(Refusals(admission), test.refused);
    EXPECT_TRUE(ValidateSet(admission.admitted, Origin::kCluster).ok())
        << ValidateSet(admission.admitted, Origin::kCluster);
    ObjectSet rest = candidates;
    for (const auto& [id, reason] : admission.refused) EXPECT_TRUE(rest.Remove(id.kind, id.key));
    EXPECT_EQ(admission.admitted, rest);
  }
}

/// Any of a few objects that get in each other's way.
Object AnyObject(std::mt19937& random) {
  const auto pick = [&random](size_t count) { return random() % count; };
  const auto created = Created(std::chrono::seconds(pick(3)));
  const std::string names[] = {"a", "b", "c"};
  const ObjectKey key{"shop", names[pick(3)]};
  const std::string service = names[pick(3)];
  switch (pick(8)) {
    case 0:
    case 1: {
      Service object{.key = key, .ports = {{"http", 80}, {"admin", 81}}};
      if (pick(4) != 0)
        object.cluster_ips = {
            *IpAddress::Parse(pick(3) == 0 ? "10.96.0.1" : "10.96.0." + std::to_string(key.name[0]))};
      object.created = created;
      return object;
    }
    case 2:
    case 3: {
      EndpointSlice slice{.key = key,
                          .service = service,
                          .ports = {{"http", static_cast<uint16_t>(pick(2) == 0 ? 80 : 8080)}}};
      slice.family = pick(5) == 0 ? AddressFamily::kIPv6 : AddressFamily::kIPv4;
      slice.endpoints = {{*IpAddress::Parse(slice.family == AddressFamily::kIPv6 ? "fd00::1" : "10.96.0.1")}};
      return slice;
    }
    case 4: {
      Rollout rollout{.key = key, .service = service};
      if (pick(2) == 0) rollout.preview_service = names[pick(3)];
      rollout.created = created;
      return rollout;
    }
    case 5: {
      TrafficSplit split{.key = key, .service = service, .backends = {{names[pick(3)], 1}}};
      split.created = created;
      return split;
    }
    default: {
      Route route{.kind = static_cast<RouteKind>(pick(3)), .key = key};
      route.created = created;
      route.parents = {{.group = "", .kind = "Service", .name = service}};
      if (pick(2) == 0) route.parents[0].port = static_cast<uint16_t>(80 + pick(3));
      route.backends = {{"", "Service", "shop", names[pick(3)], 80, 1}};
      return route;
    }
  }
}

TEST(Admitter, KeptUpToDateItSaysWhatAdmitSays) {
  std::mt19937 random(1);
  size_t refused = 0, left_alone = 0;
  for (int round = 0; round < 100; ++round) {
    Admitter admitter;
    ObjectSet candidates, admitted;
    for (int step = 0; step < 30; ++step) {
      AdmissionChanges changes;
      for (size_t i = 0; i < 1 + random() % 3; ++i) {
        const Object object = AnyObject(random);
        if (random() % 3 == 0) {
          changes.removals.push_back({std::string(KindOf(object)), KeyOf(object)});
        } else {
          changes.puts.push_back(object);
        }
      }
      for (const ObjectId& id : changes.removals) candidates.Remove(id.kind, id.key);
      for (const Object& object : changes.puts) candidates.Put(object);
      const AdmissionChanges outcome = admitter.Take(changes);
      for (const ObjectId& id : outcome.removals) EXPECT_TRUE(admitted.Remove(id.kind, id.key));
      for (const Object& object : outcome.puts) {
        EXPECT_NE(admitted.Get(KindOf(object), KeyOf(object)), object) << "nothing that does not change";
        admitted.Put(object);
      }
      const Admission whole = Admit(candidates);
      ASSERT_EQ(admitted, whole.admitted);
      ASSERT_EQ(admitter.admitted(), whole.admitted);
      ASSERT_EQ(admitter.refused(), whole.refused);
      ASSERT_EQ(admitter.routes(), whole.routes);
      ASSERT_TRUE(ValidateSet(admitted, Origin::kCluster).ok()) << ValidateSet(admitted, Origin::kCluster);
      refused += whole.refused.size();
      left_alone += outcome.puts.empty() && outcome.removals.empty() ? 1 : 0;
    }
  }
  EXPECT_GT(refused, 1000U);
  EXPECT_GT(left_alone, 10U);
}

ObjectSet Large() {
  ObjectSet set;
  for (uint32_t i = 0; i < 10'000; ++i) {
    const std::string name = "service-" + std::to_string(i);
    const auto address = [](uint32_t net, uint32_t number) {
      return *IpAddress::FromBytes(std::string{static_cast<char>(10), static_cast<char>(net + (number >> 16)),
                                               static_cast<char>(number >> 8), static_cast<char>(number)});
    };
    set.Put(Service{.key = {"shop", name}, .cluster_ips = {address(96, i)}, .ports = {{"http", 80}}});
    EndpointSlice slice{.key = {"shop", name + "-1"}, .service = name, .ports = {{"http", 8080}}};
    for (uint32_t n = 0; n < 10; ++n) slice.endpoints.push_back({address(1, i * 10 + n)});
    set.Put(slice);
    if (i % 100 == 0) set.Put(TrafficSplit{.key = {"shop", name}, .service = name, .backends = {{name, 1}}});
  }
  return set;
}

TEST(Admitter, TenThousandServicesAndAHundredThousandEndpoints) {
  const ObjectSet set = Large();
  AdmissionChanges all;
  for (const auto& [key, service] : set.services) all.puts.emplace_back(service);
  for (const auto& [key, slice] : set.slices) all.puts.emplace_back(slice);
  for (const auto& [key, split] : set.splits) all.puts.emplace_back(split);
  using Clock = std::chrono::steady_clock;
  const auto ms = [](Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); };
  const auto begin = Clock::now();
  EXPECT_TRUE(Admit(set).refused.empty());
  const auto admitted = Clock::now();
  Admitter admitter;
  EXPECT_EQ(admitter.Take(all).puts.size(), all.puts.size());
  const auto taken = Clock::now();
  for (int i = 0; i < 1000; ++i) {
    EndpointSlice slice = set.slices.begin()->second;
    slice.endpoints.pop_back();
    if (i % 2 == 0) slice.endpoints.pop_back();
    EXPECT_EQ(admitter.Take({{slice}, {}}).puts.size(), 1U);
  }
  const auto slices = Clock::now();
  for (int i = 0; i < 100; ++i) {
    TrafficSplit split = set.splits.begin()->second;
    split.backends[0].weight = static_cast<uint32_t>(2 + i);
    EXPECT_EQ(admitter.Take({{split}, {}}).puts.size(), 1U);
  }
  const auto splits = Clock::now();
  Service service = set.services.begin()->second;
  service.ports[0].port = 81;
  EXPECT_EQ(admitter.Take({{service}, {}}).puts.size(), 1U);
  const auto end = Clock::now();
  RecordProperty("admit_ms", std::to_string(ms(admitted - begin)));
  RecordProperty("take_all_ms", std::to_string(ms(taken - admitted)));
  RecordProperty("slice_us", std::to_string(ms(slices - taken)));
  RecordProperty("split_us", std::to_string(10 * ms(splits - slices)));
  RecordProperty("service_ms", std::to_string(ms(end - splits)));
  // Every pair looked at, or everything for each slice, would take minutes.
  EXPECT_LT(end - begin, std::chrono::seconds{20});
}

}  // namespace
}  // namespace weir::model
