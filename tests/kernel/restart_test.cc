// The split outlives its agent; the next one adopts it, at any moment, under load.
#include <bpf/bpf.h>

#include <cstdlib>
#include <iostream>
#include <random>
#include <thread>

#include "tests/kernel/harness/fixture.h"
#include "tests/kernel/harness/load.h"
#include "tests/kernel/harness/programs.h"

namespace weir::kernel_test {
namespace {

class RestartTest : public NodeTest {
 protected:
  void Prepare() override {
    ASSERT_NO_FATAL_FAILURE(NodeTest::Prepare());
    for (int v = 0; v < 3; ++v) servers_.AddTcp(Endpoint(v), v);
    ASSERT_OK(node_->Apply(Split(20)));
  }

  Frontend Split(uint32_t canary) {
    return MakeFrontend(vip_, {100 - canary, canary}, {{Endpoint(0)}, {Endpoint(1)}});
  }
  void Dial(int times) { NodeTest::Dial(vip_, times); }

  const SocketAddress vip_ = Address("127.96.0.1", 80);
};

TEST_F(RestartTest, SplitGoesOnWithoutAnAgentAndAcrossAdoption) {
  Dial(33);
  const uint64_t generation = node_->datapath().Generation();
  node_->Close();
  Dial(33);
  ASSERT_OK(node_->Open());
  EXPECT_EQ(node_->datapath().Generation(), generation);
  Dial(33);
  ASSERT_OK(node_->ApplyFull({Split(20)}));
  Dial(33);
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {80, 20}, {0, 1})) << "one sequence throughout";
}

TEST_F(RestartTest, SplitOfManyGoesOnToo) {
  const Frontend many = MakeFrontend(vip_, {5, 3, 2}, {{Endpoint(0)}, {Endpoint(1)}, {Endpoint(2)}});
  ASSERT_OK(node_->Apply(many));
  for (int round = 0; round < 5; ++round) {
    Dial(7);
    ASSERT_OK(node_->Open());
    if (round % 2 == 1) {
      ASSERT_OK(node_->ApplyFull({many}));
    }
  }
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {5, 3, 2}, {0, 1, 2}));
}

TEST_F(RestartTest, NothingIsPrunedBeforeTheFirstFullChange) {
  const SocketAddress other = Address("127.96.0.2", 80);
  Frontend second = Split(100);
  second.key.address = other;
  ASSERT_OK(node_->Apply(second));
  ASSERT_OK(node_->Open());
  EXPECT_OK(node_->Run([&] { return FetchMany(other, 2); }));
  ASSERT_OK(node_->Apply(Split(30)));
  EXPECT_OK(node_->Run([&] { return FetchMany(other, 2); }));
  ASSERT_OK(node_->ApplyFull({Split(30)}));
  EXPECT_FALSE(node_->Run([&] { return FetchMany(other, 1); }).ok())
      << "pruned: nobody listens at the VIP itself";
  EXPECT_OK(node_->Run([&] { return FetchMany(vip_, 2); }));
}

/// Zeroes every element of an array, as whoever works on the pins with bpftool might.
void EmptyMap(const std::string& path) {
  const UniqueFd map(bpf_obj_get(path.c_str()));
  bpf_map_info info{};
  uint32_t length = sizeof info;
  ASSERT_EQ(bpf_obj_get_info_by_fd(map.get(), &info, &length), 0) << path;
  const std::vector<char> nothing(info.value_size);
  for (uint32_t i = 0; i < info.max_entries; ++i)
    ASSERT_EQ(bpf_map_update_elem(map.get(), &i, nothing.data(), BPF_ANY), 0) << path;
}

TEST_F(RestartTest, AnEmptiedMapIsNoticedAndFilledByTheNextAgent) {
  for (const char* name : {"weir_vips", "weir_splits"}) {
    SCOPED_TRACE(name);
    EXPECT_OK(node_->datapath().CheckAttached());
    const std::string path = FindPinnedMap(node_->bpffs(), name);
    ASSERT_FALSE(path.empty());
    ASSERT_NO_FATAL_FAILURE(EmptyMap(path));
    const Status noticed = node_->datapath().CheckAttached();
    ASSERT_FALSE(noticed.ok());
    EXPECT_NE(Message(noticed).find("127.96.0.1:80"), std::string::npos) << Message(noticed);
    EXPECT_FALSE(node_->Run([&] { return FetchMany(vip_, 1); }).ok()) << "the call passes unchanged";
    const Status opened = node_->Open();
    if (!opened.ok()) {
      // A table of addresses that points at nothing: told, with the remedy, and not worked with.
      EXPECT_NE(Message(opened).find("weir-agent --detach"), std::string::npos) << Message(opened);
      ASSERT_OK(datapath::KernelDatapath::Detach(node_->bpffs()));
      ASSERT_OK(node_->Open());
    }
    ASSERT_OK(node_->ApplyFull({Split(20)}));
    EXPECT_OK(node_->datapath().CheckAttached());
    Dial(5);
  }
}

TEST_F(RestartTest, UpgradeUnderLoad) {
  servers_.Forget();
  Load load({node_->cgroup()}, vip_, 4);
  for (int round = 0; round < 5; ++round) {
    ASSERT_OK(load.WaitChecked(20));
    ASSERT_OK(node_->Open());
  }
  ASSERT_OK(load.WaitChecked(20));
  EXPECT_OK(load.Stop());
  EXPECT_TRUE(IsExact({servers_.Count(0), servers_.Count(1)}, {80, 20}));
}

TEST_F(RestartTest, NoDuplicatesAfterRestarts) {
  for (int round = 0; round < 3; ++round) ASSERT_OK(node_->Open());
  for (const auto& programs : AllAttachedPrograms(node_->cgroup())) EXPECT_EQ(programs.size(), 1U);
  EXPECT_EQ(FindPinned(node_->bpffs()).links.size(), LinkCount());
}

TEST_F(RestartTest, ResizeCarriesSplitAndCursor) {
  Dial(13);
  node_->options().max_endpoints = 8192;
  ASSERT_OK(node_->Open());
  Dial(13);
  node_->options().max_services = 32;
  ASSERT_OK(node_->Open());
  Dial(74);
  ASSERT_OK(node_->ApplyFull({Split(20)}));
  Dial(100);
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {80, 20}, {0, 1}));
}

TEST_F(RestartTest, ResizeThatDoesNotFitLeavesTheOldSplit) {
  Frontend second = Split(50);
  second.key.address = Address("127.96.0.2", 80);
  ASSERT_OK(node_->Apply(second));
  Dial(13);
  node_->options().max_services = 1;
  EXPECT_FALSE(node_->Open().ok());
  Dial(13);
  node_->options().max_services = 64;
  ASSERT_OK(node_->Open());
  Dial(74);
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {80, 20}, {0, 1}));
}

// Up to a hundred agents die, each somewhere in a loop of changes; no client notices, and each next one takes
// over.
TEST_F(RestartTest, KilledAtRandomMomentsOfChanges) {
  node_->Close();
  Load load({node_->cgroup()}, vip_, 2);
  load.BeginChange();
  load.EndChange(std::string("\0\1", 2));
  std::mt19937 random(3);
  Shared<std::atomic<uint32_t>> applied;
  // All hundred with WEIR_SLOW_TESTS (label slow); else it stops after a minute on a slow machine, not before
  // thirty.
  const bool slow = std::getenv("WEIR_SLOW_TESTS") != nullptr;
  const int floor = slow ? 100 : 30;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  int rounds = 0;
  for (int round = 0; round < 100 && (round < floor || std::chrono::steady_clock::now() < end);
       ++round, ++rounds) {
    *applied.get() = 0;
    ClientProcess agent(TheSandbox().cgroup + "/harness", [&]() -> Result<std::string> {
      RETURN_IF_ERROR(node_->Open());
      for (uint32_t i = 0;; ++i) {
        Frontend extra = Split(50);
        extra.key.address = Address(fmt::format("127.96.9.{}", i % 5 + 1), 80);
        RETURN_IF_ERROR(
            node_->Apply({Split(1 + i % 99), extra},
                         {{Address(fmt::format("127.96.9.{}", (i + 2) % 5 + 1), 80), Protocol::kTcp}}));
        ++*applied.get();
      }
    });
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    const uint32_t wanted = 1 + random() % 20;
    while (*applied.get() < wanted && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    ASSERT_GE(*applied.get(), wanted) << "round " << round;
    agent.Kill();
    ASSERT_OK(load.WaitChecked(1));
    if (round % 10 != 9) continue;
    ASSERT_OK(node_->Open());
    ASSERT_OK(node_->ApplyFull({Split(20)}));
    node_->Close();
  }
  EXPECT_OK(load.Stop());
  EXPECT_GE(rounds, floor);
  RecordProperty("agents_killed", rounds);
  std::cout << rounds << " agents were killed\n";
  ASSERT_OK(node_->Open());
  ASSERT_OK(node_->ApplyFull({Split(25)}));
  servers_.Forget();
  Dial(200);
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {75, 25}, {0, 1}));
  ExpectOneFrontendAndNoLeaks(node_->datapath());
}

}  // namespace
}  // namespace weir::kernel_test
