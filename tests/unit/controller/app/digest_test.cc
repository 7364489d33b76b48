#include "controller/app/digest.h"

#include <gtest/gtest.h>

#include <vector>

namespace weir::app {
namespace {

v1::Frontend Frontend(uint32_t port, uint32_t weight) {
  v1::Frontend frontend;
  frontend.mutable_key()->set_port(port);
  frontend.add_variants()->set_weight(weight);
  return frontend;
}

Digest Of(const std::vector<v1::Frontend>& frontends) {
  Digest digest{};
  for (const auto& frontend : frontends) Add(digest, frontend);
  return digest;
}

TEST(DigestTest, OrderDoesNotMatterContentDoes) {
  EXPECT_EQ(Of({Frontend(80, 1), Frontend(81, 2)}), Of({Frontend(81, 2), Frontend(80, 1)}));
  EXPECT_NE(Of({Frontend(80, 1), Frontend(81, 2)}), Of({Frontend(80, 2), Frontend(81, 1)}));
  EXPECT_NE(Of({Frontend(80, 1)}), Of({}));
  EXPECT_NE(Of({Frontend(80, 1)}), Of({Frontend(80, 1), Frontend(80, 1)})) << "twice is not never";
}

TEST(DigestTest, KeptUpToDateItIsTheOneOfWhatIsLeft) {
  Digest digest = Of({Frontend(80, 1), Frontend(81, 2), Frontend(82, 3)});
  Subtract(digest, Frontend(81, 2));
  Add(digest, Frontend(81, 9));
  EXPECT_EQ(digest, Of({Frontend(80, 1), Frontend(81, 9), Frontend(82, 3)}));
  for (const auto& frontend : {Frontend(80, 1), Frontend(81, 9), Frontend(82, 3)}) Subtract(digest, frontend);
  EXPECT_EQ(digest, Digest{});
}

TEST(DigestTest, IsStoredAsThirtyTwoDigits) {
  EXPECT_EQ(ToHex(Digest{}), std::string(32, '0'));
  EXPECT_EQ(ToHex(Digest{0x1, 0xabc}), "0000000000000abc0000000000000001");
}

// The store keeps it from one version of the controller to the next: another value would cost a new
// generation.
TEST(DigestTest, StaysTheSameFromVersionToVersion) {
  EXPECT_EQ(ToHex(Of({Frontend(80, 1)})), "13fdd502f2d717bf871ea240fb8a3ab1");
}

}  // namespace
}  // namespace weir::app
