#include "controller/kubernetes/leader/layers.h"

#include <gtest/gtest.h>

namespace weir::kubernetes {
namespace {

constexpr size_t kArgo = 0, kOwn = 1;

class LayersTest : public ::testing::Test {
 protected:
  std::string Put(size_t layer, const std::string& name, const std::string& says) {
    return Told(layers_.Put(layer, {"shop", name}, {{"says", says}}));
  }
  std::string Remove(size_t layer, const std::string& name) {
    return Told(layers_.Remove(layer, {"shop", name}));
  }
  static std::string Told(const Layers::Seen& seen) {
    switch (seen.effect) {
      case Layers::Effect::kNone:
        return "nothing";
      case Layers::Effect::kPut:
        return std::string(seen.object.at("says").as_string());
      case Layers::Effect::kDelete:
        return "gone";
    }
    return "";
  }
  Layers layers_;
};

TEST_F(LayersTest, EachIsSeenWhereItIsAlone) {
  EXPECT_EQ(Put(kOwn, "a", "own"), "own");
  EXPECT_EQ(Put(kArgo, "b", "argo"), "argo");
  EXPECT_EQ(Put(kOwn, "a", "own, changed"), "own, changed");
  EXPECT_EQ(Remove(kOwn, "a"), "gone");
  EXPECT_EQ(Remove(kArgo, "b"), "gone");
  EXPECT_EQ(Remove(kArgo, "b"), "nothing");
}

TEST_F(LayersTest, TheFirstHidesTheSecondInEitherOrder) {
  EXPECT_EQ(Put(kOwn, "a", "own"), "own");
  EXPECT_EQ(Put(kArgo, "a", "argo"), "argo");
  EXPECT_EQ(Put(kOwn, "a", "own, changed"), "nothing");
  EXPECT_EQ(Put(kArgo, "a", "argo, changed"), "argo, changed");
  EXPECT_EQ(Remove(kArgo, "a"), "own, changed") << "as it is by now";
  EXPECT_EQ(Put(kArgo, "a", "argo"), "argo");
  EXPECT_EQ(Remove(kOwn, "a"), "nothing");
  EXPECT_EQ(Remove(kArgo, "a"), "gone");

  EXPECT_EQ(Put(kArgo, "b", "argo"), "argo");
  EXPECT_EQ(Put(kOwn, "b", "own"), "nothing");
  EXPECT_EQ(Remove(kArgo, "b"), "own");
}

}  // namespace
}  // namespace weir::kubernetes
