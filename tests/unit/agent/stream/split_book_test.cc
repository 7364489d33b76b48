#include "agent/stream/split_book.h"

#include <gtest/gtest.h>

namespace weir::stream {
namespace {

using datapath::Role;

datapath::Frontend Port(uint16_t port, std::vector<datapath::Variant> variants,
                        const char* service = "checkout") {
  return {.key = {{*IpAddress::Parse("127.96.0.1"), port}, Protocol::kTcp},
          .ns = "shop",
          .service = service,
          .variants = std::move(variants)};
}
datapath::Change Delta(std::vector<datapath::Frontend> upserts,
                       std::vector<datapath::FrontendKey> removals = {}) {
  return {.upserts = std::move(upserts), .removals = std::move(removals)};
}

TEST(SplitBook, NamesAndRoles) {
  SplitBook book;
  const auto port = Port(80, {{"v1", 80, {}, Role::kStable}, {"v2", 20, {}, Role::kCanary}});
  EXPECT_EQ(book.Find(port.key), nullptr);
  book.Applied(Delta({port}));
  ASSERT_NE(book.Find(port.key), nullptr);
  EXPECT_EQ(book.Find(port.key)->service, "checkout");
  EXPECT_EQ(book.Find(port.key)->variants[1].weight, 20u);
  EXPECT_EQ(book.RoleOf("shop", "checkout", "v1"), Role::kStable);
  EXPECT_EQ(book.RoleOf("shop", "checkout", "v2"), Role::kCanary);
  EXPECT_EQ(book.RoleOf("shop", "checkout", "v3"), Role::kNone);
  EXPECT_EQ(book.RoleOf("shop", "cart", "v1"), Role::kNone);
  EXPECT_EQ(book.RoleOf("other", "checkout", "v1"), Role::kNone);
}

TEST(SplitBook, OfSeveralPortsTheCanaryIsTold) {
  SplitBook book;
  book.Applied(Delta({Port(80, {{"v2", 1, {}, Role::kStable}}), Port(81, {{"v2", 1, {}, Role::kCanary}}),
                      Port(82, {{"v2", 1, {}, Role::kBackend}})}));
  EXPECT_EQ(book.RoleOf("shop", "checkout", "v2"), Role::kCanary);
  book.Applied(Delta({}, {Port(81, {}).key}));
  EXPECT_EQ(book.RoleOf("shop", "checkout", "v2"), Role::kBackend);
  book.Applied(Delta({}, {Port(82, {}).key, Port(83, {}).key}));
  EXPECT_EQ(book.RoleOf("shop", "checkout", "v2"), Role::kStable);
}

// A rollout is over: the figures that tell whether anybody still talks to the old revision are wanted soon.
TEST(SplitBook, WhatWasAtWorkIsToldOfForAWhile) {
  using namespace std::chrono_literals;
  SplitBook book;
  const MonotonicTime begin{100s};
  book.Applied(Delta({Port(80, {{"v1", 80, {}, Role::kStable}, {"v2", 20, {}, Role::kCanary}})}), begin);
  EXPECT_FALSE(book.AnyWasAtWork(begin));
  book.Applied(Delta({Port(80, {{"v2", 1, {}, Role::kStable}})}), begin + 10s);
  EXPECT_FALSE(book.AnyAtWork());
  EXPECT_TRUE(book.WasAtWork("shop", "checkout", begin + 14s));
  EXPECT_TRUE(book.AnyWasAtWork(begin + 14s));
  EXPECT_FALSE(book.WasAtWork("shop", "cart", begin + 14s));
  EXPECT_FALSE(book.WasAtWork("shop", "checkout", begin + 15s));
  EXPECT_FALSE(book.AnyWasAtWork(begin + 15s));
  book.Applied(Delta({Port(80, {{"v2", 1, {}, Role::kStable}})}), begin + 16s);
  EXPECT_FALSE(book.AnyWasAtWork(begin + 16s)) << "nothing ended";
}

TEST(SplitBook, AtWork) {
  const struct {
    const char* what;
    std::vector<datapath::Variant> variants;
    bool at_work;
  } rows[] = {
      {"nothing", {}, false},
      {"a plain service", {{"v1", 1, {}, Role::kStable}}, false},
      {"a rollout before its first step",
       {{"v1", 100, {}, Role::kStable}, {"v2", 0, {}, Role::kCanary}},
       true},
      {"a rollout", {{"v1", 80, {}, Role::kStable}, {"v2", 20, {}, Role::kCanary}}, true},
      {"a preview", {{"v1", 100, {}, Role::kActive}, {"v2", 0, {}, Role::kPreview}}, true},
      {"a way back", {{"v2", 100, {}, Role::kActive}, {"v1", 0, {}, Role::kPrevious}}, true},
      {"the preview Service", {{"v2", 1, {}, Role::kPreview}}, true},
      {"the preview Service at rest", {{"v1", 1, {}, Role::kActive}}, false},
      {"a split at rest", {{"a", 100, {}, Role::kBackend}, {"b", 0, {}, Role::kBackend}}, false},
      {"a split", {{"a", 99, {}, Role::kBackend}, {"b", 1, {}, Role::kBackend}}, true},
  };
  for (const auto& row : rows) {
    SplitBook book;
    book.Applied(Delta({Port(80, row.variants), Port(81, {{"v1", 1, {}, Role::kStable}}),
                        Port(82, {{"v1", 1, {}, Role::kStable}}, "cart")}));
    EXPECT_EQ(book.AtWork("shop", "checkout"), row.at_work) << row.what;
    EXPECT_EQ(book.AnyAtWork(), row.at_work) << row.what;
    EXPECT_FALSE(book.AtWork("shop", "cart")) << row.what;
    book.Applied(Delta({Port(80, {{"v1", 1, {}, Role::kStable}})}));  // the end of it
    EXPECT_FALSE(book.AtWork("shop", "checkout")) << row.what;
    EXPECT_FALSE(book.AnyAtWork()) << row.what;
  }
}

TEST(SplitBook, AFullChangeForgetsWhatItDoesNotName) {
  SplitBook book;
  book.Applied(Delta({Port(80, {{"v1", 1, {}, Role::kStable}, {"v2", 1, {}, Role::kCanary}})}));
  book.Applied({.full = true, .upserts = {Port(90, {{"v1", 1, {}, Role::kStable}}, "cart")}});
  EXPECT_EQ(book.Find(Port(80, {}).key), nullptr);
  EXPECT_FALSE(book.AnyAtWork());
  EXPECT_EQ(book.RoleOf("shop", "checkout", "v1"), Role::kNone);
  EXPECT_EQ(book.RoleOf("shop", "cart", "v1"), Role::kStable);
}

TEST(SplitBook, AFrontendThatChangesItsServiceLeavesTheOld) {
  SplitBook book;
  book.Applied(Delta({Port(80, {{"v1", 1, {}, Role::kStable}})}));
  book.Applied(Delta({Port(80, {{"v1", 1, {}, Role::kStable}}, "cart")}));
  EXPECT_EQ(book.RoleOf("shop", "checkout", "v1"), Role::kNone);
  EXPECT_EQ(book.RoleOf("shop", "cart", "v1"), Role::kStable);
}

}  // namespace
}  // namespace weir::stream
