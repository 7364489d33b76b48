// The rules between objects where files of examples do not reach: numbers, order, protocols.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "controller/model/manifest.h"
#include "controller/model/vip_index.h"

namespace weir::model {
namespace {

IpAddress Address(uint32_t number) {
  const std::string bytes = {static_cast<char>(127), static_cast<char>(number >> 16),
                             static_cast<char>(number >> 8), static_cast<char>(number)};
  return *IpAddress::FromBytes(bytes);
}

Service MakeService(const std::string& name, uint32_t address, Protocol protocol = Protocol::kTcp) {
  Service service;
  service.key = {"default", name};
  service.cluster_ips = {Address(address)};
  service.ports = {{"", 80, protocol}};
  return service;
}

EndpointSlice MakeSlice(const std::string& name, const std::string& service, uint16_t port) {
  EndpointSlice slice;
  slice.key = {"default", name};
  slice.service = service;
  slice.ports = {{"", port, Protocol::kTcp}};
  return slice;
}

TEST(ValidateSet, AllBreachesAtOnceOnePerLine) {
  ObjectSet set;
  set.Put(MakeService("a", 1));
  set.Put(MakeService("b", 1));
  Rollout rollout;
  rollout.key = {"default", "r"};
  rollout.service = "missing";
  set.Put(rollout);
  const Status status = ValidateSet(set);
  ASSERT_FALSE(status.ok());
  const std::string text = Message(status);
  EXPECT_EQ(std::ranges::count(text, '\n'), 1) << text;
  EXPECT_NE(text.find("Service default/b: spec.clusterIP"), std::string::npos) << text;
  EXPECT_NE(text.find("Rollout default/r: spec.service"), std::string::npos) << text;
}

TEST(ValidateSet, OneAddressMayServeBothProtocols) {
  ObjectSet set;
  set.Put(MakeService("a", 1, Protocol::kTcp));
  set.Put(MakeService("b", 1, Protocol::kUdp));
  EXPECT_TRUE(ValidateSet(set).ok()) << ValidateSet(set);
}

TEST(ValidateSet, AnEndpointOnAnotherPortOfTheVipIsNoLoop) {
  ObjectSet set;
  set.Put(MakeService("a", 1));
  EndpointSlice slice = MakeSlice("s", "a", 8080);
  slice.endpoints = {{Address(1), EndpointState::kReady}};
  set.Put(slice);
  EXPECT_TRUE(ValidateSet(set).ok()) << ValidateSet(set);
}

TEST(ValidateSet, ASliceMayComeBeforeItsService) {
  ObjectSet set;
  set.Put(MakeSlice("s", "later", 8080));
  EXPECT_TRUE(ValidateSet(set).ok());
}

TEST(ValidateSet, TheSameNameInAnotherNamespaceIsAnotherService) {
  ObjectSet set;
  set.Put(MakeService("a", 1));
  Rollout rollout;
  rollout.key = {"shop", "r"};
  rollout.service = "a";
  set.Put(rollout);
  EXPECT_NE(Message(ValidateSet(set)).find("the unknown Service shop/a"), std::string::npos);
}

TEST(ValidateSet, TenThousandServicesAndAHundredThousandEndpoints) {
  ObjectSet set;
  for (uint32_t i = 0; i < 10'000; ++i) {
    const std::string name = "service-" + std::to_string(i);
    set.Put(MakeService(name, 0x600000 + i));
    EndpointSlice slice = MakeSlice(name + "-1", name, 8080);
    for (uint32_t n = 0; n < 10; ++n)
      slice.endpoints.push_back({Address(0x100000 + i * 10 + n), EndpointState::kReady});
    set.Put(slice);
  }
  const auto before = std::chrono::steady_clock::now();
  EXPECT_TRUE(ValidateSet(set).ok());
  // Each pair looked at would be 10^9 steps and minutes in a sanitizer build.
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds{10});
}

TEST(ValidateSlices, SaysOfChangedSlicesWhatValidateSetSays) {
  ObjectSet set;
  for (uint32_t i = 1; i <= 5; ++i) set.Put(MakeService("s" + std::to_string(i), i));
  const VipIndex vips = MakeVipIndex(set);
  int refused = 0;
  for (uint32_t address = 1; address <= 7; ++address) {
    for (const uint16_t port : {80, 8080}) {
      for (const char* service : {"s1", "unknown"}) {
        for (const AddressFamily family : {AddressFamily::kIPv4, AddressFamily::kIPv6}) {
          EndpointSlice slice = MakeSlice("slice", service, port);
          slice.family = family;
          slice.endpoints = {{Address(address)}};
          set.Put(slice);
          const Status all = ValidateSet(set);
          EXPECT_EQ(ValidateSlices(set, vips, {slice.key}), all);
          refused += all.ok() ? 0 : 1;
        }
      }
    }
  }
  EXPECT_GT(refused, 0);
  set.Remove("EndpointSlice", {"default", "slice"});
  EXPECT_TRUE(ValidateSlices(set, vips, {{"default", "slice"}}).ok());
}

}  // namespace
}  // namespace weir::model
