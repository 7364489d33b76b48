#include "agent/datapath/split_plan.h"

#include <gtest/gtest.h>

#include "agent/datapath/wire.h"

namespace weir::datapath {
namespace {

SocketAddress At(const char* address, uint16_t port) { return {*IpAddress::Parse(address), port}; }

Frontend Example() {
  Frontend frontend;
  frontend.key = {At("127.96.0.1", 80), Protocol::kTcp};
  frontend.variants = {{"v1", 80, {At("127.0.1.1", 8081)}}, {"v2", 20, {At("127.0.1.2", 8081)}}};
  return frontend;
}

TEST(SplitPlanTest, WeightsAreReducedByTheirDivisor) {
  const SplitPlan plan = MakePlan(Example());
  ASSERT_EQ(plan.variants.size(), 2U);
  EXPECT_EQ(plan.variants[0].weight, 4U);
  EXPECT_EQ(plan.variants[1].weight, 1U);
  EXPECT_EQ(plan.total_weight, 5U);
  EXPECT_EQ(plan.variants[1].id, Fnv1a("v2"));
}

TEST(SplitPlanTest, VariantWithoutEndpointsGivesItsShareAway) {
  Frontend frontend = Example();
  frontend.variants[1].endpoints.clear();
  const SplitPlan plan = MakePlan(frontend);
  ASSERT_EQ(plan.variants.size(), 1U);
  EXPECT_EQ(plan.variants[0].index, 0U);
  EXPECT_EQ(plan.total_weight, 1U);

  frontend.on_empty = OnEmpty::kRefuseShare;
  EXPECT_EQ(MakePlan(frontend).variants.size(), 2U);
}

TEST(SplitPlanTest, WeightlessVariantTakesNoPart) {
  Frontend frontend = Example();
  frontend.variants[0].weight = 0;
  const SplitPlan plan = MakePlan(frontend);
  ASSERT_EQ(plan.variants.size(), 1U);
  EXPECT_EQ(plan.variants[0].index, 1U);
  frontend.variants[1].weight = 0;
  EXPECT_TRUE(MakePlan(frontend).variants.empty());
}

TEST(SplitPlanTest, OffsetAndFirstPickCoverTheWeights) {
  Frontend frontend = Example();
  frontend.variants.push_back({"v3", 100, {At("127.0.1.3", 8081)}});
  const SplitPlan plan = MakePlan(frontend);  // 4 : 1 : 5
  EXPECT_EQ(FirstPick(plan, 0), 0U);
  EXPECT_EQ(FirstPick(plan, 0x66666666), 0U);  // just under 0.4
  EXPECT_EQ(FirstPick(plan, 0x66666667), 1U);
  EXPECT_EQ(FirstPick(plan, 0x80000000), 2U);
  EXPECT_EQ(FirstPick(plan, 0xffffffff), 2U);
  EXPECT_EQ(Offset(plan, 0xffffffff), plan.total_weight - 1);
}

TEST(SplitPlanTest, RefusesWhatTheKernelCouldNotHold) {
  struct Case {
    const char* error;
    void (*change)(Frontend&);
  };
  const Case cases[] = {
      {"port: found 0", [](Frontend& f) { f.key.address.port = 0; }},
      {"found 17, expected at most 16",
       [](Frontend& f) {
         while (f.variants.size() < 17) f.variants.push_back({std::to_string(f.variants.size()), 1, {}});
       }},
      {"weight: found 1000001", [](Frontend& f) { f.variants[0].weight = 1'000'001; }},
      {"\"v1\" is given twice", [](Frontend& f) { f.variants[1].revision = "v1"; }},
      {"port 0", [](Frontend& f) { f.variants[1].endpoints[0].port = 0; }},
      {"address family", [](Frontend& f) { f.variants[1].endpoints[0] = At("::1", 80); }},
      {"would loop", [](Frontend& f) { f.variants[1].endpoints[0] = f.key.address; }},
  };
  EXPECT_TRUE(Validate(Example()).ok());
  for (const Case& c : cases) {
    Frontend frontend = Example();
    c.change(frontend);
    const Status status = Validate(frontend);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.error;
    EXPECT_NE(Message(status).find(c.error), std::string::npos) << Message(status);
  }
}

TEST(WireTest, UuidAndKeysGoThereAndBack) {
  const std::string text = "01234567-89ab-cdef-0123-456789abcdef";
  EXPECT_EQ(FormatUuid(ParseUuid(text).value()), text);
  for (const char* bad :
       {"", "0123", "01234567-89ab-cdef-0123-456789abcdeg", "0123456789ab-cdef-0123-456789abcdef-"}) {
    EXPECT_FALSE(ParseUuid(bad).has_value()) << bad;
  }
  for (const char* address : {"127.96.0.1", "fd00::1"}) {
    const FrontendKey key = {At(address, 443), Protocol::kUdp};
    EXPECT_EQ(FromWire(ToWire(key)), key);
  }
}

}  // namespace
}  // namespace weir::datapath
