// 10,000 services with 100,000 endpoints: the results, not the time.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/unit/controller/compiler/objects_builder.h"

namespace weir::compiler {
namespace {

constexpr uint32_t kServices = 10'000;
constexpr uint32_t kEndpointsPerRevision = 5;

std::string Vip(uint32_t i) { return fmt::format("127.96.{}.{}", i / 200, i % 200 + 1); }
std::string EndpointAddress(uint32_t i, uint32_t revision, uint32_t n) {
  return fmt::format("127.{}.{}.{}", 1 + revision, i / 200, i % 200 + 1 + n);
}

/// Service i has two revisions of five endpoints each; every third has a rollout, every third a split.
model::ObjectSet BigCluster(std::map<model::ObjectKey, RolloutWeights>& weights) {
  model::ObjectSet objects;
  for (uint32_t i = 0; i < kServices; ++i) {
    const std::string name = fmt::format("s{}", i);
    objects.Put(MakeService(name, {Vip(i)}));
    for (uint32_t revision = 1; revision <= 2; ++revision) {
      std::vector<std::string> endpoints;
      for (uint32_t n = 0; n < kEndpointsPerRevision; ++n)
        endpoints.push_back(EndpointAddress(i, revision, n));
      objects.Put(MakeSlice(fmt::format("{}-v{}", name, revision), name,
                            Revision(fmt::format("v{}", revision)), endpoints));
    }
    if (i % 3 == 1) {
      objects.Put(MakeRollout(name, name));
      weights[Key(name)] = {"v1", "v2", 100 - i % 100, i % 100};
    } else if (i % 3 == 2) {
      objects.Put(model::TrafficSplit{Key(name), name, {{name, 1}, {fmt::format("s{}", i - 1), i}}});
    }
  }
  return objects;
}

TEST(ScaleTest, EveryServiceIsWhatItIsAlone) {
  std::map<model::ObjectKey, RolloutWeights> weights;
  const model::ObjectSet objects = BigCluster(weights);
  Compiler compiler({});
  const Frontends frontends = compiler.Compile(objects, weights);
  ASSERT_EQ(frontends.size(), kServices);

  size_t endpoints_of_own = 0;
  for (uint32_t i = 0; i < kServices; ++i) {
    const model::ObjectKey key = Key(fmt::format("s{}", i));
    const Frontends alone = compiler.CompileService(objects, weights, key);
    ASSERT_EQ(alone.size(), 1u);
    const auto& [text, frontend] = *alone.begin();
    const auto found = frontends.find(text);
    ASSERT_NE(found, frontends.end()) << key.name;
    ASSERT_EQ(frontend.SerializeAsString(), found->second.SerializeAsString()) << key.name;

    const bool divided = i % 3 != 0;
    ASSERT_EQ(frontend.service(), key.name);
    ASSERT_EQ(frontend.variants_size(), divided ? 2 : 1) << key.name;
    const uint32_t each = i % 3 == 1 ? kEndpointsPerRevision : 2 * kEndpointsPerRevision;
    for (const v1::Variant& variant : frontend.variants()) {
      ASSERT_EQ(variant.endpoints_size(), static_cast<int>(each)) << key.name;
      for (int n = 1; n < variant.endpoints_size(); ++n) {
        ASSERT_LT(variant.endpoints(n - 1).address(), variant.endpoints(n).address());
      }
    }
    if (i % 3 == 1) {
      ASSERT_EQ(frontend.variants(1).weight(), i % 100);
      ASSERT_EQ(frontend.variants(1).endpoints(0).address(), Address(EndpointAddress(i, 2, 0)).ToBytes());
      endpoints_of_own += 2 * each;
    } else {
      endpoints_of_own += each;  // of a split: its own service is the first backend
    }
  }
  EXPECT_EQ(endpoints_of_own, 100'000u);
}

}  // namespace
}  // namespace weir::compiler
