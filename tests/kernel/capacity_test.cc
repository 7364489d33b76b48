// A change that does not fit changes nothing, says which map is full, and does not stand in the way of the
// next.
#include "tests/kernel/harness/fixture.h"

namespace weir::kernel_test {
namespace {

class CapacityTest : public NodeTest {
 protected:
  void Prepare() override {
    node_ = std::make_unique<TestNode>(4, 32, 16);
    ASSERT_OK(node_->Open());
    for (int v = 0; v < 2; ++v) servers_.AddTcp(Endpoint(v), v);
  }

  static SocketAddress Vip(int number) { return Address(fmt::format("127.96.0.{}", number + 1), 80); }
  static Frontend Split(int number, uint32_t canary) {
    return MakeFrontend(Vip(number), {100 - canary, canary}, {{Endpoint(0)}, {Endpoint(1)}});
  }

  /// The change must be refused, name the map, and leave VIP 0 divided 80/20 from where it was.
  void CheckRefused(const std::vector<Frontend>& frontends, const std::string& map) {
    const uint64_t generation = node_->datapath().Generation();
    const Status status = node_->Apply(frontends);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << Message(status);
    EXPECT_NE(Message(status).find(map), std::string::npos) << Message(status);
    EXPECT_EQ(node_->datapath().Generation(), generation);
    Dial(Vip(0), 7);
  }
};

TEST_F(CapacityTest, TooManyServices) {
  ASSERT_OK(node_->Apply(Split(0, 20)));
  Dial(Vip(0), 3);
  for (int round = 0; round < 20; ++round) {
    std::vector<Frontend> frontends = {Split(0, 100)};  // would change VIP 0, too: it must not
    for (int i = 1; i < 6; ++i) frontends.push_back(Split(i, 50));
    CheckRefused(frontends, "weir_vips");
  }
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {80, 20}, {0, 1}));
  // What fits, fits, and as much of it as was promised.
  ASSERT_OK(node_->Apply({Split(0, 100), Split(1, 100), Split(2, 100), Split(3, 100)}));
  const auto ids = node_->Run([&] { return FetchMany(Vip(3), 5); });
  ASSERT_OK(ids);
  EXPECT_EQ(*ids, std::string(5, 1));
}

TEST_F(CapacityTest, TooManyEndpoints) {
  ASSERT_OK(node_->Apply(Split(0, 20)));
  for (int round = 0; round < 20; ++round) {
    Frontend big = Split(1, 50);
    for (int i = 0; i < 40; ++i)
      big.variants[0].endpoints.push_back(Address(fmt::format("127.1.50.{}", i + 1), 80));
    CheckRefused({Split(0, 100), big}, "weir_endpoints");
  }
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {80, 20}, {0, 1}));
  ASSERT_OK(node_->Apply({Split(0, 100), Split(1, 50)}));
}

TEST_F(CapacityTest, BadChangesAreRefusedWhole) {
  ASSERT_OK(node_->Apply(Split(0, 20)));
  Frontend loop = Split(1, 50), seventeen = MakeFrontend(Vip(2), std::vector<uint32_t>(17, 1)),
           heavy = Split(3, 50);
  loop.variants[0].endpoints = {Vip(1)};
  heavy.variants[0].weight = 1000001;
  for (const auto& bad : {loop, seventeen, heavy}) {
    const Status status = node_->Apply({Split(0, 100), bad});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << Message(status);
  }
  EXPECT_FALSE(node_->Apply({Split(0, 20), Split(0, 100)}).ok()) << "a VIP given twice";
  Dial(Vip(0), 100);
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {80, 20}, {0, 1}));
}

// Services that come and go for long must not use the maps up.
TEST_F(CapacityTest, ChurnLeaksNothing) {
  for (int round = 0; round < 300; ++round) {
    ASSERT_OK(node_->Apply({Split(0, 20 + round % 2), Split(1 + round % 3, round % 100)},
                           {{Vip(1 + (round + 1) % 3), Protocol::kTcp}}));
  }
  ASSERT_OK(node_->ApplyFull({Split(0, 20)}));
  ExpectOneFrontendAndNoLeaks(node_->datapath());
}

}  // namespace
}  // namespace weir::kernel_test
