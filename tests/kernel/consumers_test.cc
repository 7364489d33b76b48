// Clients of one namespace that have a split of their own: told by the pod's cgroup, exact for themselves,
// and nobody else's business.
#include <sched.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <future>
#include <thread>

#include "agent/datapath/kernel_ending.h"
#include "tests/kernel/harness/fixture.h"
#include "tests/kernel/harness/pair.h"

namespace weir::kernel_test {
namespace {

constexpr uint32_t kShop = 0x5409, kLab = 0x1ab;  // numbers of namespaces

uint64_t CgroupId(const std::string& path) {
  struct stat about {};
  EXPECT_EQ(stat(path.c_str(), &about), 0) << path;
  return about.st_ino;
}

/// A pod as a kubelet makes it: its cgroup some levels below the node's, its container's below that, and a
/// network namespace.
class Pod {
 public:
  Pod(const std::string& parent, const std::string& name)
      : pod_(parent, "kubepods-burstable-pod" + name + ".slice"),
        container_(pod_.path(), "cri-" + name + ".scope") {}

  uint64_t id() const { return CgroupId(pod_.path()); }
  int netns() const { return netns_.fd(); }
  const std::string& container() const { return container_.path(); }
  const std::string& cgroup() const { return pod_.path(); }

  Result<std::string> Run(const ClientFunction& function, const std::string& in = "") const {
    return RunIn(in.empty() ? container() : in, [&]() -> Result<std::string> {
      if (setns(netns_.fd(), CLONE_NEWNET) != 0) return ErrnoStatus(errno, "setns");
      return function();
    });
  }

 private:
  Cgroup pod_, container_;
  NetNamespace netns_;
};

class ConsumersTest : public NodeTest {
 protected:
  void Prepare() override {
    ASSERT_NO_FATAL_FAILURE(NodeTest::Prepare());
    kubepods_ = std::make_unique<Cgroup>(node_->cgroup(), "kubepods.slice");
    burstable_ = std::make_unique<Cgroup>(kubepods_->path(), "kubepods-burstable.slice");
    for (int i = 0; i < 3; ++i) pods_.push_back(std::make_unique<Pod>(burstable_->path(), std::to_string(i)));
    for (int v = 0; v < 3; ++v) {
      servers_.AddTcp(Endpoint(v, 0), v);
      for (const auto& pod : pods_) servers_.AddTcp(Endpoint(v, 0), v, pod->netns());
    }
    ASSERT_OK(node_->datapath().SetPods({{pods_[0]->id(), kShop}, {pods_[1]->id(), kLab}}));
  }
  void TearDown() override {
    pods_.clear();
    burstable_.reset();
    kubepods_.reset();
  }

  /// Weights of three variants, for everybody or for those consumers.
  Frontend Split(const std::vector<uint32_t>& weights, uint32_t consumers = 0) const {
    Frontend frontend = MakeFrontend(vip_, weights, {{Endpoint(0, 0)}, {Endpoint(1, 0)}, {Endpoint(2, 0)}});
    frontend.key.consumers = consumers;
    frontend.has_consumers = consumers == 0;
    return frontend;
  }

  std::string Dial(const Pod& pod, int times, const std::string& in = "") const {
    const auto ids = pod.Run([&] { return FetchMany(vip_, times); }, in);
    EXPECT_OK(ids);
    return ids.ok() ? *ids : "";
  }
  /// From the node itself: no pod.
  std::string DialOutside(int times) const {
    const auto ids = node_->Run([&] { return FetchMany(vip_, times); });
    EXPECT_OK(ids);
    return ids.ok() ? *ids : "";
  }

  const SocketAddress vip_ = Address("127.96.0.1", 80);
  const std::vector<int> variant_of_ = {0, 1, 2};
  std::unique_ptr<Cgroup> kubepods_, burstable_;
  std::vector<std::unique_ptr<Pod>> pods_;  // of shop, of lab, of a third namespace
};

TEST_F(ConsumersTest, EachNamespaceHasItsOwnSplitAndItsOwnCount) {
  const std::vector<uint32_t> everybody = {90, 10, 0}, shop = {0, 30, 70}, lab = {1, 1, 1};
  ASSERT_OK(node_->Apply({Split(everybody), Split(shop, kShop), Split(lab, kLab)}));
  std::string of_shop, of_lab, of_third, of_node;
  for (int round = 0; round < 20; ++round) {  // in turns: a number taken from another's count would show
    of_shop += Dial(*pods_[0], 7);
    of_lab += Dial(*pods_[1], 5);
    of_third += Dial(*pods_[2], 3);
    of_node += DialOutside(2);
    ASSERT_TRUE(IsExactAtEveryPrefix(of_shop, shop, variant_of_));
    ASSERT_TRUE(IsExactAtEveryPrefix(of_lab, lab, variant_of_));
  }
  uint64_t canary = 0;
  for (const char id : of_third + of_node) canary += id == 1 ? 1 : 0;
  EXPECT_EQ(canary, 10U) << "100 connections of all others, from one count";
  EXPECT_EQ(servers_.Total(), 140U + 100 + 60 + 40);
}

TEST_F(ConsumersTest, AProcessBelowThePodsCgroupIsThePods) {
  ASSERT_OK(node_->Apply({Split({1, 0, 0}), Split({0, 0, 1}, kShop)}));
  Cgroup inner(pods_[0]->container(), "init.scope");  // a container that runs systemd
  Cgroup deep(inner.path(), "session");
  EXPECT_EQ(Dial(*pods_[0], 2, inner.path()), "\2\2");
  EXPECT_EQ(Dial(*pods_[0], 2, deep.path()), "\2\2");
  EXPECT_EQ(Dial(*pods_[0], 2, pods_[0]->cgroup()), "\2\2");
}

TEST_F(ConsumersTest, APodOfTheHostsNetworkIsToldFromTheHost) {
  ASSERT_OK(node_->Apply({Split({1, 0, 0}), Split({0, 0, 1}, kShop)}));
  const auto ids = RunIn(pods_[0]->container(), [&] { return FetchMany(vip_, 2); });
  ASSERT_OK(ids);
  EXPECT_EQ(*ids, "\2\2");
  EXPECT_EQ(DialOutside(2), std::string(2, '\0'));
}

TEST_F(ConsumersTest, RacingClientsOfAllAreExact) {
  const std::vector<uint32_t> everybody = {97, 3, 0}, shop = {13, 29, 58};
  ASSERT_OK(node_->Apply({Split(everybody), Split(shop, kShop)}));
  const auto dial = [&]() -> Result<std::string> {
    std::vector<std::string> seen(8);
    std::vector<std::thread> threads;
    threads.reserve(seen.size());
    for (std::string& ids : seen) threads.emplace_back([&] { ids = FetchMany(vip_, 125).value_or(""); });
    for (std::thread& thread : threads) thread.join();
    std::string all;
    for (const std::string& ids : seen) all += ids;
    return all;
  };
  Result<std::string> own = std::string();
  std::thread other([&] { own = pods_[0]->Run(dial); });
  const auto theirs = pods_[2]->Run(dial);
  other.join();
  ASSERT_OK(own);
  ASSERT_OK(theirs);
  const auto counts = [](const std::string& ids) {
    std::vector<uint64_t> counted(3);
    for (const char id : ids) ++counted.at(static_cast<size_t>(id));
    return counted;
  };
  EXPECT_EQ(own->size(), 1000U);
  EXPECT_TRUE(IsExact(counts(*own), shop));
  EXPECT_TRUE(IsExact(counts(*theirs), everybody));
}

TEST_F(ConsumersTest, AChangeOfOneLeavesTheOthersCount) {
  const std::vector<uint32_t> shop = {50, 50, 0};
  ASSERT_OK(node_->Apply({Split({70, 30, 0}), Split(shop, kShop)}));
  std::string of_third = Dial(*pods_[2], 7), of_shop = Dial(*pods_[0], 3);
  ASSERT_OK(node_->Apply(Split({0, 0, 1}, kShop)));
  EXPECT_EQ(Dial(*pods_[0], 3), "\2\2\2");
  of_third += Dial(*pods_[2], 6);
  EXPECT_TRUE(IsExactAtEveryPrefix(of_third, {70, 30, 0}, variant_of_));
  ASSERT_OK(node_->Apply({Split({0, 1, 0})}));
  EXPECT_EQ(Dial(*pods_[2], 2), "\1\1");
  EXPECT_EQ(Dial(*pods_[0], 2), "\2\2");
}

TEST_F(ConsumersTest, WhoseSplitIsGoneIsOneOfAll) {
  ASSERT_OK(node_->Apply({Split({1, 0, 0}), Split({0, 0, 1}, kShop), Split({0, 1, 0}, kLab)}));
  ASSERT_OK(node_->Apply({}, {Split({1, 0, 0}, kShop).key}));
  EXPECT_EQ(Dial(*pods_[0], 2), std::string(2, '\0'));
  EXPECT_EQ(Dial(*pods_[1], 2), "\1\1");
  Frontend alone = Split({1, 0, 0});
  alone.has_consumers = false;
  ASSERT_OK(node_->ApplyFull({alone}));
  EXPECT_EQ(Dial(*pods_[1], 2), std::string(2, '\0'));
  const auto stats = node_->datapath().ReadStats();
  ASSERT_OK(stats);
  EXPECT_EQ(stats->frontends, 1U);
  for (const datapath::MapFill& fill : stats->fill) {
    if (fill.map == "weir_splits" || fill.map == "weir_endpoints") {
      EXPECT_EQ(fill.used, 1U) << fill.map << ": something of the others is left";
    }
  }
}

TEST_F(ConsumersTest, APodCountsFromTheMomentItIsSaid) {
  ASSERT_OK(node_->Apply({Split({1, 0, 0}), Split({0, 0, 1}, kShop)}));
  EXPECT_EQ(Dial(*pods_[2], 1), std::string(1, '\0'));
  ASSERT_OK(node_->datapath().SetPods({{pods_[2]->id(), kShop}, {pods_[1]->id(), kLab}}));
  EXPECT_EQ(Dial(*pods_[2], 2), "\2\2");
  EXPECT_EQ(Dial(*pods_[0], 2), std::string(2, '\0')) << "it is named no more";
}

TEST_F(ConsumersTest, AllOfItOutlivesTheAgent) {
  const std::vector<uint32_t> shop = {10, 30, 60};
  ASSERT_OK(node_->Apply({Split({1, 0, 0}), Split(shop, kShop)}));
  std::string of_shop = Dial(*pods_[0], 13);
  node_->Close();
  of_shop += Dial(*pods_[0], 14);
  ASSERT_OK(node_->Open());
  of_shop += Dial(*pods_[0], 15);
  ASSERT_OK(node_->ApplyFull({Split({1, 0, 0}), Split(shop, kShop)}));
  of_shop += Dial(*pods_[0], 16);
  EXPECT_TRUE(IsExactAtEveryPrefix(of_shop, shop, variant_of_));
  EXPECT_OK(node_->datapath().CheckAttached());
  // Other sizes: everything moves to other maps.
  node_->Close();
  node_->options().max_services *= 2;
  ASSERT_OK(node_->Open());
  of_shop += Dial(*pods_[0], 17);
  EXPECT_TRUE(IsExactAtEveryPrefix(of_shop, shop, variant_of_));
  EXPECT_EQ(Dial(*pods_[2], 2), std::string(2, '\0'));
}

TEST_F(ConsumersTest, TheRestOfTheNodeFlipsWholeWhileTheyDial) {
  // Own and everybody's lead to different endpoints in each generation: a mix would meet the third.
  ASSERT_OK(node_->Apply({Split({1, 0, 0}), Split({0, 1, 0}, kShop)}));
  Shared<std::atomic<bool>> stop, dialled;
  ClientProcess client(pods_[0]->container(), [&]() -> Result<std::string> {
    if (setns(pods_[0]->netns(), CLONE_NEWNET) != 0) return ErrnoStatus(errno, "setns");
    std::string all;
    while (!stop->load()) {
      ASSIGN_OR_RETURN(const std::string ids, FetchMany(vip_, 10));
      all += ids;
      dialled->store(true);
    }
    return all;
  });
  ASSERT_TRUE(Eventually([&] { return dialled->load(); }));
  for (int i = 0; i < 200; ++i) {
    ASSERT_OK(node_->Apply({Split({i % 2 == 0 ? 0U : 1U, 0, i % 2 == 0 ? 1U : 0U})}));
    ASSERT_OK(node_->Apply({Split({0, 1, 0}, kLab)}));
    ASSERT_OK(node_->Apply({}, {Split({1, 0, 0}, kLab).key}));
  }
  stop->store(true);
  const auto ids = client.Wait();
  ASSERT_OK(ids);
  EXPECT_EQ(*ids, std::string(ids->size(), '\1'));
}

TEST_F(ConsumersTest, WhatASplitThatDoesNotKnowAllGaveIsNotListedAsLed) {
  // What is listed is ended once it is in no EndpointSlice that the node was told of.
  auto ending = datapath::KernelEnding::Open(node_->datapath().maps(), {.bpffs_dir = node_->bpffs()});
  ASSERT_OK(ending);
  Frontend everybody = Split({1, 0, 0});
  everybody.endpoints_known = true;
  ASSERT_OK(node_->Apply({everybody, Split({0, 0, 1}, kShop)}));
  Shared<std::atomic<bool>> dialled, stop;
  const auto hold = [&]() -> Result<std::string> {
    Socket socket = Socket::Open(AF_INET, SOCK_STREAM);
    CLIENT_CHECK(socket.Connect(vip_) == 0);
    dialled->store(true);
    while (!stop->load()) std::this_thread::yield();
    return std::string();
  };
  ClientProcess own(pods_[0]->container(), hold);
  ASSERT_TRUE(Eventually([&] { return dialled->exchange(false); }));
  ClientProcess other(pods_[2]->container(), hold);
  ASSERT_TRUE(Eventually([&] { return dialled->load(); }));
  std::promise<std::vector<datapath::Living>> listed;
  (*ending)->List([&listed](std::vector<datapath::Living> living) { listed.set_value(std::move(living)); });
  const std::vector<datapath::Living> living = listed.get_future().get();
  stop->store(true);
  EXPECT_OK(own.Wait());
  EXPECT_OK(other.Wait());
  ASSERT_EQ(living.size(), 1U);
  EXPECT_EQ(living[0].endpoint, Endpoint(0, 0));
}

}  // namespace
}  // namespace weir::kernel_test
