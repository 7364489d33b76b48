#include "agent/stream/assembler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "agent/stream/convert.h"

namespace weir::stream {
namespace {

constexpr const char* kController = "6f9b1f0e-6f0e-4c55-9f35-1f2f3b1c0a11";

v1::FrontendKey Key(int n) {
  v1::FrontendKey key;
  key.set_address(IpAddress::Parse("127.96.0." + std::to_string(n))->ToBytes());
  key.set_port(80);
  key.set_protocol(v1::PROTOCOL_TCP);
  return key;
}

void Upsert(v1::Update& update, int n, uint32_t weight = 1, int endpoints = 1) {
  v1::Frontend* frontend = update.add_upserts();
  *frontend->mutable_key() = Key(n);
  v1::Variant* variant = frontend->add_variants();
  variant->set_revision("v1");
  variant->set_weight(weight);
  for (int i = 0; i < endpoints; ++i) {
    v1::Endpoint* endpoint = variant->add_endpoints();
    endpoint->set_address(IpAddress::Parse("127.0.0.1")->ToBytes());
    endpoint->set_port(static_cast<uint32_t>(1000 + i));
  }
}

v1::Update Full(uint64_t generation, std::initializer_list<int> frontends, bool last = true) {
  v1::Update update;
  update.set_generation(generation);
  update.set_full(true);
  update.set_last(last);
  for (const int n : frontends) Upsert(update, n);
  return update;
}

v1::Update Delta(uint64_t generation, std::initializer_list<int> upserts,
                 std::initializer_list<int> removals = {}, uint64_t base = 0) {
  v1::Update update;
  update.set_generation(generation);
  update.set_last(true);
  update.set_base_generation(base);
  for (const int n : upserts) Upsert(update, n, static_cast<uint32_t>(generation));
  for (const int n : removals) *update.add_removals() = Key(n);
  return update;
}

/// The last byte of every upsert's address, sorted.
std::vector<int> Upserts(const datapath::Change& change) {
  std::vector<int> all;
  for (const auto& frontend : change.upserts) all.push_back(frontend.key.address.address.mapped()[15]);
  std::sort(all.begin(), all.end());
  return all;
}
std::vector<int> Removals(const datapath::Change& change) {
  std::vector<int> all;
  for (const auto& key : change.removals) all.push_back(key.address.address.mapped()[15]);
  std::sort(all.begin(), all.end());
  return all;
}
using Numbers = std::vector<int>;

class AssemblerTest : public testing::Test {
 protected:
  /// A complete change that must come of this update.
  datapath::Change Take(const v1::Update& update) {
    auto added = assembler_.Add(update);
    EXPECT_TRUE(added.ok()) << added.status();
    if (!added.ok() || !added->has_value()) return {};
    EXPECT_TRUE((*added)->change.ok()) << (*added)->change.status();
    EXPECT_EQ((*added)->generation, update.generation());
    return (*added)->change.ok() ? *(*added)->change : datapath::Change{};
  }
  /// The message of the nack that must come of it.
  std::string Nack(const v1::Update& update) {
    auto added = assembler_.Add(update);
    EXPECT_TRUE(added.ok()) << added.status();
    if (!added.ok() || !added->has_value() || (*added)->change.ok()) return "no nack";
    return Message((*added)->change.status());
  }
  /// Why a full snapshot is asked for.
  std::string Resync(const v1::Update& update) {
    const auto added = assembler_.Add(update);
    if (added.ok()) return "taken";
    EXPECT_EQ(added.status().code(), absl::StatusCode::kFailedPrecondition);
    return Message(added.status());
  }
  void Part(const v1::Update& update) {
    const auto added = assembler_.Add(update);
    ASSERT_TRUE(added.ok()) << added.status();
    EXPECT_FALSE(added->has_value());
  }

  Assembler assembler_{{.max_frontends = 8, .max_endpoints = 16}};
};

TEST_F(AssemblerTest, PartsMakeOneSnapshot) {
  assembler_.Begin(kController, std::nullopt);
  Part(Full(7, {1, 2}, false));
  Part(Full(7, {}, false));
  const datapath::Change change = Take(Full(7, {3}));
  EXPECT_EQ(change.generation, 7u);
  EXPECT_EQ(change.controller_id, kController);
  EXPECT_TRUE(change.full);
  EXPECT_EQ(Upserts(change), (Numbers{1, 2, 3}));
}

TEST_F(AssemblerTest, PartsOfTwoGenerationsDoNotMix) {
  assembler_.Begin(kController, std::nullopt);
  Part(Full(7, {1}, false));
  EXPECT_NE(Resync(Full(8, {2})).find("parts of generation 7 are missing"), std::string::npos);
  assembler_.Begin(kController, std::nullopt);
  Part(Full(7, {1}, false));
  EXPECT_NE(Resync(Delta(7, {2})).find("parts of generation 7 are missing"), std::string::npos);
  assembler_.Begin(kController, std::nullopt);  // a new stream: the parts are forgotten
  EXPECT_EQ(Upserts(Take(Full(7, {2}))), (Numbers{2}));
}

TEST_F(AssemblerTest, ASnapshotBeyondTheLimitsIsRefusedWhenItEndsAndNotKept) {
  assembler_.Begin(kController, std::nullopt);
  Part(Full(7, {1, 2, 3, 4, 5, 6, 7, 8}, false));
  Part(Full(7, {9}, false));
  Part(Full(7, {10, 11}, false));
  EXPECT_EQ(Nack(Full(7, {})), "generation 7: more than 8 frontends: raise --max-services");
  v1::Update many = Full(8, {});
  Upsert(many, 1, 1, 17);
  EXPECT_EQ(Nack(many), "generation 8: more than 16 endpoints: raise --max-endpoints");
  EXPECT_EQ(Upserts(Take(Full(9, {1}))), (Numbers{1}));
}

TEST_F(AssemblerTest, BadContentIsNackedWithItsPlace) {
  assembler_.Begin(kController, 6);
  v1::Update port = Delta(7, {});
  *port.add_removals() = Key(1);
  port.mutable_removals(0)->set_port(0);
  EXPECT_EQ(Nack(port), "generation 7: removals: port: found 0, expected 1..65535");
  EXPECT_EQ(Nack(Full(8, {1, 1})),
            "generation 8: TCP 127.96.0.1:80: found twice in one update, expected once");
  v1::Update removals = Full(9, {1});
  *removals.add_removals() = Key(2);
  EXPECT_EQ(Nack(removals), "generation 9: removals: found 1 in a full snapshot, expected none");
  assembler_.Begin(kController, 6);
  EXPECT_EQ(Nack(Delta(7, {1}, {1})),
            "generation 7: TCP 127.96.0.1:80: found twice in one update, expected once");
  assembler_.Begin(kController, std::nullopt);
  EXPECT_EQ(Nack(Full(0, {})), "generation 0: generation: found 0, expected 1 or more");
}

TEST_F(AssemblerTest, WhatADeltaMayBuildUpon) {
  assembler_.Begin(kController, std::nullopt);
  EXPECT_NE(Resync(Delta(7, {1})).find("upon nothing"), std::string::npos);

  assembler_.Begin(kController, 6);
  EXPECT_NE(Resync(Delta(5, {1})).find("older than 6"), std::string::npos);
  EXPECT_NE(Resync(Delta(9, {1}, {}, 8)).find("builds upon 8, but 6"), std::string::npos);
  Take(Delta(6, {}));  // up to date
  Take(Delta(7, {1}));
  Take(Delta(8, {1}, {}, 7));  // upon the last one sent
  Take(Delta(9, {1}, {}, 6));  // upon the last one acked
  Take(Delta(9, {1}, {}, 6));  // offered again
  EXPECT_NE(Resync(Delta(8, {1})).find("8 follows generation 9"), std::string::npos);
  EXPECT_NE(Resync(Full(8, {1})).find("8 follows generation 9"), std::string::npos);
  assembler_.Applied(9);
  EXPECT_NE(Resync(Delta(10, {1}, {}, 6)).find("builds upon 6, but 9"), std::string::npos);
}

TEST_F(AssemblerTest, OnANewStreamASnapshotMayBeOfAnyGeneration) {
  assembler_.Begin(kController, 100);
  EXPECT_EQ(Upserts(Take(Full(3, {1}))), (Numbers{1}));
}

TEST_F(AssemblerTest, WhatWasRefusedIsCarriedAlong) {
  assembler_.Begin(kController, 6);
  datapath::Change change = assembler_.WithRefused(Take(Delta(7, {1, 2}, {3})));
  EXPECT_EQ(Upserts(change), (Numbers{1, 2}));
  assembler_.Refused(std::move(change));

  change = assembler_.WithRefused(Take(Delta(8, {3, 4}, {1})));
  EXPECT_EQ(change.generation, 8u);
  EXPECT_FALSE(change.full);
  EXPECT_EQ(Upserts(change), (Numbers{2, 3, 4}));
  EXPECT_EQ(Removals(change), (Numbers{1}));
  assembler_.Applied(8);

  change = assembler_.WithRefused(Take(Delta(9, {5})));
  EXPECT_EQ(Upserts(change), (Numbers{5}));
}

TEST_F(AssemblerTest, ARefusedSnapshotStaysASnapshot) {
  assembler_.Begin(kController, std::nullopt);
  assembler_.Refused(assembler_.WithRefused(Take(Full(7, {1, 2}))));
  const datapath::Change change = assembler_.WithRefused(Take(Delta(8, {3}, {1})));
  EXPECT_TRUE(change.full);
  EXPECT_EQ(Upserts(change), (Numbers{2, 3}));
  EXPECT_EQ(Removals(change), (Numbers{}));
}

TEST_F(AssemblerTest, ASnapshotReplacesWhatWasRefused) {
  assembler_.Begin(kController, 6);
  assembler_.Refused(assembler_.WithRefused(Take(Delta(7, {1}))));
  EXPECT_EQ(Upserts(assembler_.WithRefused(Take(Full(8, {2})))), (Numbers{2}));
}

TEST_F(AssemblerTest, ADeltaUponContentThatCouldNotBeReadNeedsASnapshot) {
  assembler_.Begin(kController, 6);
  Nack(Delta(7, {1}, {1}));
  EXPECT_NE(Resync(Delta(8, {2})).find("may build upon a generation that was refused"), std::string::npos);
  EXPECT_NE(Resync(Delta(8, {2}, {}, 7)).find("may build upon"), std::string::npos);
  Take(Delta(8, {2}, {}, 6));  // covers it
  Take(Delta(9, {2}, {}, 8));
}

TEST_F(AssemblerTest, TooMuchRefusedIsDroppedAndNeedsASnapshot) {
  assembler_.Begin(kController, 6);
  datapath::Change huge{.generation = 7};
  for (int n = 1; n <= 17; ++n) huge.removals.push_back(*ToKey(Key(n)));
  assembler_.Refused(std::move(huge));
  EXPECT_NE(Resync(Delta(8, {1})).find("may build upon"), std::string::npos);
}

/// Merge(a, b) must do what a and then b would have done.
TEST(Merge, EqualsOneAfterTheOther) {
  std::mt19937 random(1);
  const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  using Table = std::map<datapath::FrontendKey, datapath::Frontend>;
  const auto apply = [](Table table, const datapath::Change& change) {
    if (change.full) table.clear();
    for (const auto& key : change.removals) table.erase(key);
    for (const auto& frontend : change.upserts) table[frontend.key] = frontend;
    return table;
  };
  uint64_t generation = 0;
  const auto change = [&](bool full) {
    datapath::Change made{.generation = ++generation, .full = full};
    for (int n = 1; n <= 6; ++n) {
      datapath::Frontend frontend{.key = *ToKey(Key(n)),
                                  .affinity_timeout_s = static_cast<uint32_t>(generation)};
      const int what = pick(3);
      if (what == 0) made.upserts.push_back(frontend);
      if (what == 1 && !full) made.removals.push_back(frontend.key);
    }
    return made;
  };
  for (int round = 0; round < 2000; ++round) {
    const Table start = apply({}, change(true));
    datapath::Change merged = change(pick(4) == 0);
    Table want = apply(start, merged);
    for (int more = 0; more < 3; ++more) {
      const datapath::Change next = change(pick(8) == 0);
      want = apply(want, next);
      Merge(merged, next);
    }
    ASSERT_EQ(apply(start, merged), want) << "round " << round;
    ASSERT_EQ(merged.generation, generation);
  }
}

}  // namespace
}  // namespace weir::stream
