// A store in memory that can refuse, a listener that notes what it is told and when, and a rollout to begin
// with.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "controller/app/core.h"
#include "controller/model/manifest.h"

namespace weir::app {

/// Keeps batches as the real one does; while `refusing` it keeps nothing and says so.
class MemoryStore final : public store::Store {
 public:
  Result<store::Contents> Load() override { return contents; }
  Status Commit(const store::Batch& batch) override {
    if (batch.empty()) return OkStatus();
    if (refusing) return Error(absl::StatusCode::kUnavailable, "disk full");
    ++commits;
    Merge(batch.objects, contents.objects);
    Merge(batch.states, contents.states);
    Merge(batch.nodes, contents.nodes);
    Merge(batch.runs, contents.runs);
    if (batch.generation) {
      EXPECT_GE(batch.generation->number, contents.generation.number);
      contents.generation = *batch.generation;
    }
    return OkStatus();
  }
  const std::string& controller_id() const override { return id_; }

  store::Contents contents;
  int commits = 0;
  bool refusing = false;

 private:
  template <typename Key, typename Value>
  static void Merge(const std::map<Key, std::optional<Value>>& changes, std::map<Key, Value>& into) {
    for (const auto& [key, value] : changes) {
      if (value) {
        into[key] = *value;
      } else {
        into.erase(key);
      }
    }
  }
  const std::string id_ = "a-store";
};

/// What the core told, in order: "published 3: 1 upserts, 0 removals", "rollout shop/checkout".
class Told final : public CoreListener {
 public:
  explicit Told(const MemoryStore& store) : store_(store) {}
  void OnPublished(uint64_t generation, const compiler::Difference& difference) override {
    EXPECT_EQ(store_.contents.generation.number, generation) << "told before it was durable";
    lines.push_back(fmt::format("published {}: {} upserts, {} removals", generation,
                                difference.upserts.size(), difference.removals.size()));
  }
  void OnRolloutChanged(const ObjectKey& key) override { lines.push_back("rollout " + model::ToString(key)); }
  void OnAnalysis(const ObjectKey& key, const AnalysisEffect& effect) override {
    const auto* start = std::get_if<engine::StartAnalysis>(&effect);
    lines.push_back(
        fmt::format("{} {} {}", start != nullptr ? "start" : "stop", model::ToString(key),
                    start != nullptr ? start->run_id : std::get<engine::StopAnalysis>(effect).run_id));
  }
  void OnNote(const ObjectKey&, const std::string&) override {}
  std::vector<std::string> Take() { return std::exchange(lines, {}); }

  std::vector<std::string> lines;

 private:
  const MemoryStore& store_;
};

inline const std::string kServiceYaml = R"(apiVersion: v1
kind: Service
metadata: {name: checkout, namespace: shop}
spec: {clusterIP: 127.96.0.1, ports: [{name: http, port: 80, protocol: TCP}]}
)";

inline std::string SliceYaml(const std::string& revision, const std::string& address) {
  return fmt::format(R"(apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: checkout-{0}, namespace: shop, labels: {{kubernetes.io/service-name: checkout, weir.dev/revision: {0}}}}}
addressType: IPv4
ports: [{{name: http, port: 8081, protocol: TCP}}]
endpoints: [{{addresses: [{1}], conditions: {{ready: true}}}}]
)",
                     revision, address);
}

inline std::string RolloutYaml(const std::string& revision,
                               const std::string& steps = "[{setWeight: 20}, {pause: {duration: 10}}]") {
  return fmt::format(R"(apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {{name: checkout, namespace: shop}}
spec: {{service: checkout, revision: {}, strategy: {{canary: {{steps: {}}}}}}}
)",
                     revision, steps);
}

/// Puts, from YAML of one document each.
inline ObjectChanges Puts(const std::vector<std::string>& manifests) {
  ObjectChanges changes;
  for (const auto& yaml : manifests) {
    auto documents = model::ParseManifests(yaml, "test");
    EXPECT_TRUE(documents.ok()) << Message(documents.status()) << yaml;
    if (documents.ok()) changes.puts.emplace_back(documents->front().object, yaml);
  }
  return changes;
}

class CoreTest : public testing::Test {
 protected:
  void SetUp() override { Start(); }

  /// A core that takes up what the store holds, as after a restart.
  void Start() {
    core = std::make_unique<Core>(store, clock, told, compiler::Options{});
    ASSERT_TRUE(core->Load().ok());
    ASSERT_TRUE(core->Restart().ok());
    told.Take();
  }
  Status Put(const std::vector<std::string>& manifests) { return core->Change(Puts(manifests)); }
  /// Service, both revisions' endpoints, and a rollout whose revision is v1.
  void PutCheckout() {
    const Status put =
        Put({kServiceYaml, SliceYaml("v1", "127.0.1.1"), SliceYaml("v2", "127.0.1.2"), RolloutYaml("v1")});
    ASSERT_TRUE(put.ok()) << Message(put);
    told.Take();
  }
  /// One node holds everything up to now.
  Status AckAll() {
    engine::AcksObserved event;
    event.acks = {.generation = core->generation(), .desired = 1, .acked = 1};
    return core->Feed(kCheckout, event);
  }
  /// "v1*80 v2*20": the variants of the one frontend in force.
  std::string Weights() const { return Weights(*core); }
  static std::string Weights(const Core& of) {
    std::string out;
    for (const auto& [service, frontends] : of.frontends()) {
      for (const auto& [id, frontend] : frontends) {
        for (const auto& variant : frontend.variants())
          out += (out.empty() ? "" : " ") + variant.revision() + "*" + std::to_string(variant.weight());
      }
    }
    return out;
  }
  const engine::State& State() const { return core->rollouts().at(kCheckout).state; }

  const ObjectKey kCheckout{"shop", "checkout"};
  FakeClock clock;
  MemoryStore store;
  Told told{store};
  std::unique_ptr<Core> core;
};

}  // namespace weir::app
