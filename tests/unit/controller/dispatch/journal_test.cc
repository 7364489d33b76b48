#include "controller/dispatch/journal.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/unit/controller/dispatch/messages.h"

namespace weir::dispatch {
namespace {

// What an agent does with updates: port -> canary weight.
struct Replica {
  uint64_t generation = 0;
  std::map<uint32_t, uint32_t> weights;

  void Apply(const Update& update) {
    std::map<uint32_t, uint32_t> next = update.full ? std::map<uint32_t, uint32_t>{} : weights;
    for (size_t i = 0; i < update.messages.size(); ++i) {
      v1::ControllerMessage message = Parse(update.messages[i]);
      EXPECT_EQ(message.update().generation(), update.generation);
      EXPECT_EQ(message.update().full(), update.full);
      EXPECT_EQ(message.update().last(), i + 1 == update.messages.size());
      for (const auto& key : message.update().removals()) next.erase(key.port());
      for (const auto& frontend : message.update().upserts()) {
        next[frontend.key().port()] = frontend.variants(1).weight();
      }
    }
    weights = next;
    generation = update.generation;
  }
};

TEST(JournalTest, ADeltaHoldsOnlyWhatChangedSinceItsBase) {
  Journal journal({});
  journal.Reset(5, {MakeFrontend(1, 0), MakeFrontend(2, 0), MakeFrontend(3, 0)});
  journal.Publish(6, {MakeFrontend(1, 20)}, {MakeKey(2)});
  journal.Publish(9, {MakeFrontend(1, 50), MakeFrontend(4, 1)}, {MakeKey(77)});
  auto from5 = journal.UpdateFrom(5);
  EXPECT_FALSE(from5->full);
  v1::Update update = Parse(from5->messages.at(0)).update();
  EXPECT_EQ(update.generation(), 9u);
  EXPECT_EQ(update.base_generation(), 5u);
  EXPECT_EQ(update.upserts_size(), 2);
  ASSERT_EQ(update.removals_size(), 1);
  EXPECT_EQ(update.removals(0).port(), 2u);
  EXPECT_EQ(Parse(journal.UpdateFrom(6)->messages.at(0)).update().removals_size(), 0);
  EXPECT_EQ(Parse(journal.UpdateFrom(9)->messages.at(0)).update().upserts_size(), 0);
}

TEST(JournalTest, UnknownBasesGetASnapshot) {
  Journal journal({});
  journal.Reset(5, {MakeFrontend(1, 0)});
  journal.Publish(6, {MakeFrontend(1, 20)}, {});
  for (uint64_t base : {0, 1, 4, 7, 1000}) EXPECT_TRUE(journal.UpdateFrom(base)->full) << base;
}

TEST(JournalTest, AnEmptySnapshotIsOneMessage) {
  Journal journal({});
  journal.Reset(1, {});
  auto update = journal.UpdateFrom(0);
  ASSERT_EQ(update->messages.size(), 1u);
  EXPECT_TRUE(Parse(update->messages[0]).update().last());
}

TEST(JournalTest, SnapshotsAreCutInPartsWithinTheLimit) {
  Journal journal({.part_bytes = 10'000});
  std::vector<FrontendPtr> frontends;
  for (uint32_t port = 1; port <= 100; ++port) frontends.push_back(MakeFrontend(port, port % 100, 900));
  journal.Reset(1, frontends);
  auto update = journal.UpdateFrom(0);
  EXPECT_GE(update->messages.size(), 10u);
  for (const auto& message : update->messages) EXPECT_LE(message.Length(), 10'000u);
  Replica replica;
  replica.Apply(*update);
  EXPECT_EQ(replica.weights.size(), 100u);
}

TEST(JournalTest, ALargeDeltaAndAForgottenBaseBecomeSnapshots) {
  Journal journal({.part_bytes = 10'000, .max_log_keys = 10});
  journal.Reset(1, {});
  std::vector<FrontendPtr> large;
  for (uint32_t port = 1; port <= 8; ++port) large.push_back(MakeFrontend(port, 0, 2000));
  journal.Publish(2, large, {});
  EXPECT_TRUE(journal.UpdateFrom(1)->full);
  for (uint64_t g = 3; g <= 12; ++g) journal.Publish(g, {MakeFrontend(1, g)}, {});
  EXPECT_TRUE(journal.UpdateFrom(1)->full) << "the log no longer reaches back to 1";
  EXPECT_FALSE(journal.UpdateFrom(2)->full);
  EXPECT_FALSE(journal.UpdateFrom(11)->full);
}

TEST(JournalTest, OneUpdateIsSharedByAllWhoNeedIt) {
  Journal journal({});
  journal.Reset(5, {MakeFrontend(1, 0)});
  journal.Publish(6, {MakeFrontend(1, 20)}, {});
  EXPECT_EQ(journal.UpdateFrom(5), journal.UpdateFrom(5));
  EXPECT_EQ(journal.UpdateFrom(0), journal.UpdateFrom(3));
  auto before = journal.UpdateFrom(5);
  journal.Publish(7, {MakeFrontend(1, 50)}, {});
  EXPECT_NE(journal.UpdateFrom(5), before);
}

// Whatever a replica misses, refuses or takes, the next update from what it holds makes it whole.
TEST(JournalTest, ReplicasThatMissUpdatesConverge) {
  std::mt19937 random(7);
  Journal journal({.part_bytes = 2000, .max_log_keys = 40});
  Replica truth;
  std::vector<Replica> replicas(8);
  journal.Reset(1, {});
  for (uint64_t generation = 2; generation < 600; ++generation) {
    std::vector<FrontendPtr> upserts;
    std::vector<v1::FrontendKey> removals;
    for (uint32_t i = 0; i < random() % 4; ++i) {
      uint32_t port = random() % 30 + 1, weight = random() % 101;
      if (truth.weights.contains(port) && random() % 3 == 0) {
        removals.push_back(MakeKey(port));
        truth.weights.erase(port);
      } else if (truth.weights[port] = weight; true) {
        std::erase_if(removals, [&](const auto& key) { return key.port() == port; });
        std::erase_if(upserts, [&](const auto& frontend) { return frontend->key().port() == port; });
        upserts.push_back(MakeFrontend(port, weight));
      }
      std::erase_if(upserts, [&](const auto& f) { return !truth.weights.contains(f->key().port()); });
    }
    journal.Publish(generation, upserts, removals);
    for (auto& replica : replicas) {
      if (random() % 3 != 0) continue;
      replica.Apply(*journal.UpdateFrom(replica.generation));
      ASSERT_EQ(replica.weights, truth.weights) << "generation " << generation;
    }
  }
}

}  // namespace
}  // namespace weir::dispatch
