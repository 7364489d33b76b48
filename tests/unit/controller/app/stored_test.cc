#include "controller/app/stored.h"

#include <gtest/gtest.h>

#include "controller/model/manifest.h"

namespace weir::app {
namespace {

constexpr char kRollout[] = R"(apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {name: checkout, namespace: shop}
spec:
  service: checkout
  revision: "123"
  strategy: {canary: {steps: [{setWeight: 20}, {pause: {duration: "10"}}]}}
)";

model::Rollout Parse(const std::string& yaml) {
  auto documents = model::ParseManifests(yaml, "test");
  EXPECT_TRUE(documents.ok()) << Message(documents.status()) << yaml;
  return documents.ok() ? std::get<model::Rollout>(documents->front().object) : model::Rollout{};
}

TEST(WithRevisionTest, ChangesTheRevisionAndNoOtherValueOrType) {
  for (const char* revision : {"124", "v2", "true", "1e3", "7d9f8b6c5"}) {
    const auto changed = WithRevision(kRollout, revision);
    ASSERT_TRUE(changed.ok()) << Message(changed.status());
    model::Rollout wanted = Parse(kRollout);
    wanted.spec.revision = revision;
    EXPECT_EQ(Parse(*changed), wanted) << *changed;
  }
}

TEST(WithRevisionTest, AManifestWithoutARevisionIsAnError) {
  EXPECT_FALSE(WithRevision("spec: {service: checkout}\n", "v2").ok());
  EXPECT_FALSE(WithRevision("[\n", "v2").ok());
}

}  // namespace
}  // namespace weir::app
