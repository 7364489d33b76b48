// The programs themselves: one weir-controller, weir-agents for two nodes, weirctl; kills, upgrades, refusals
// and removal while clients dial. The agents run outside of the nodes whose clients they steer.
#include <bpf/bpf.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/kernel/harness/load.h"
#include "tests/kernel/harness/programs.h"
#include "tests/kernel/harness/programs_fixture.h"
#include "tests/unit/common/test_certs.h"

namespace weir::kernel_test {
namespace {

constexpr int kFlips = 200;       // in CI
constexpr int kManyFlips = 1000;  // with WEIR_SLOW_TESTS set: label slow

bool Slow() { return std::getenv("WEIR_SLOW_TESTS") != nullptr; }

class ProcessesTest : public ProgramsTest {};

TEST_F(ProcessesTest, FlipsFromBothNodesUnderLoad) {
  StartController();
  const auto first = StartAgent(0), second = StartAgent(1);
  ApplyCheckout();
  ASSERT_TRUE(WaitForRollout({"\"phase\":\"Healthy\"", "\"nodesAcked\":2,"}));
  Apply(RolloutYaml("v2"));
  ASSERT_TRUE(WaitAcked(20, 2));
  Load load({nodes_[0]->cgroup(), nodes_[1]->cgroup()}, vip_, 1);
  ASSERT_OK(load.WaitChecked(3));
  const int flips = Slow() ? kManyFlips : kFlips;
  for (int i = 1; i <= flips; ++i) {
    const int weight = i % 2 == 1 ? 100 : 0;
    load.BeginChange();
    SetWeight(weight);
    ASSERT_TRUE(WaitAcked(weight, 2));
    load.EndChange(std::string(1, static_cast<char>(i % 2)));
    ASSERT_OK(load.WaitChecked(2));
  }
  EXPECT_OK(load.Stop());
}

// The agent is killed while weights change, and an upgrade is the same without the kill: a new process takes
// over.
TEST_F(ProcessesTest, AgentsAreKilledAndUpgradedInMidRollout) {
  StartController();
  auto agent = StartAgent(0);
  const auto other = StartAgent(1);
  ApplyCheckout();
  ASSERT_TRUE(WaitForRollout({"\"phase\":\"Healthy\"", "\"nodesAcked\":2,"}));
  Apply(RolloutYaml("v2"));
  ASSERT_TRUE(WaitAcked(20, 2));
  Load load({nodes_[0]->cgroup(), nodes_[1]->cgroup()}, vip_, 1);
  for (int round = 0; round < 4; ++round) {
    load.BeginChange();
    SetWeight(round % 2 == 0 ? 100 : 0);
    agent->Signal(round % 3 == 2 ? SIGTERM : SIGKILL);  // while the change is under way to it
    const int code = agent->Wait();
    ASSERT_EQ(code, round % 3 == 2 ? 0 : 128 + SIGKILL) << agent->seen;
    agent = StartAgent(0);
    ASSERT_TRUE(WaitAcked(round % 2 == 0 ? 100 : 0, 2));
    load.EndChange(std::string(1, round % 2 == 0 ? 1 : 0));
    ASSERT_OK(load.WaitChecked(5));
  }
  EXPECT_OK(load.Stop());

  SetWeight(30);
  ASSERT_TRUE(WaitAcked(30, 2));
  servers_.Forget();
  const auto dial = [&](int times) { EXPECT_OK(nodes_[0]->Run([&] { return FetchMany(vip_, times); })); };
  dial(33);
  agent->Signal(SIGKILL);
  agent->Wait();
  dial(33);
  agent = StartAgent(0);
  ASSERT_TRUE(WaitAcked(30, 2));
  dial(34);
  EXPECT_EQ(servers_.Total(), 100U);
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {70, 30}, {0, 1}))
      << "one sequence, kill and adoption between";
}

/// Ids of the programs or maps in the kernel whose name begins with "weir_".
template <typename Info>
std::set<uint32_t> Ours(int (*next)(uint32_t, uint32_t*), int (*open)(uint32_t)) {
  std::set<uint32_t> out;
  for (uint32_t id = 0; next(id, &id) == 0;) {
    const int fd = open(id);
    if (fd < 0) continue;  // gone meanwhile
    Info info{};
    uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0) {
      if (std::string_view(info.name).starts_with("weir_")) out.insert(id);
    }
    close(fd);
  }
  return out;
}

TEST_F(ProcessesTest, DetachRemovesWhatIsOursAndNothingElse) {
  const ForeignProgram linked(nodes_[0]->cgroup(), ForeignProgram::How::kLink);
  const ForeignProgram attached(nodes_[0]->cgroup(), ForeignProgram::How::kAttachMulti);
  const auto before = AllAttachedPrograms(nodes_[0]->cgroup());
  StartController();
  auto agent = StartAgent(0);
  ApplyCheckout();
  ASSERT_TRUE(WaitForRollout({"\"phase\":\"Healthy\"", "\"nodesAcked\":1,"}));
  const PinnedObjects pinned = FindPinned(nodes_[0]->bpffs());
  const auto programs = Ours<bpf_prog_info>(bpf_prog_get_next_id, bpf_prog_get_fd_by_id);
  const auto maps = Ours<bpf_map_info>(bpf_map_get_next_id, bpf_map_get_fd_by_id);
  EXPECT_GE(programs.size(), kHooks.size()) << "our programs can be found by their names";
  EXPECT_FALSE(maps.empty());
  agent->Signal(SIGTERM);
  EXPECT_EQ(agent->Wait(), 0) << agent->seen;
  EXPECT_OK(nodes_[0]->Run([&] { return FetchMany(vip_, 5); }));

  Process detach({WEIR_AGENT, "--detach", "--bpffs", nodes_[0]->bpffs()});
  EXPECT_EQ(detach.Wait(), 0) << detach.seen;
  EXPECT_EQ(AllAttachedPrograms(nodes_[0]->cgroup()), before) << "programs of others stay";
  const PinnedObjects left = StillThere(pinned);
  EXPECT_TRUE(left.links.empty() && left.maps.empty() && left.programs.empty());
  EXPECT_FALSE(std::filesystem::exists(nodes_[0]->bpffs()));
  EXPECT_FALSE(nodes_[0]->Run([&] { return FetchMany(vip_, 1); }).ok()) << "nobody steers any more";
}

TEST_F(ProcessesTest, AFullMapIsShownByTheRolloutAndTheOldSplitStays) {
  StartController();
  const auto small = StartAgent(0, {"--max-endpoints", "4"}), large = StartAgent(1);
  ApplyCheckout();
  ASSERT_TRUE(WaitForRollout({"\"phase\":\"Healthy\"", "\"nodesAcked\":2,"}));
  Apply(RolloutYaml("v2"));
  ASSERT_TRUE(WaitAcked(20, 2));
  servers_.Forget();
  EXPECT_OK(nodes_[0]->Run([&] { return FetchMany(vip_, 50); }));

  std::vector<SocketAddress> many;
  for (int i = 0; i < 40; ++i) many.push_back(Endpoint(1, i));
  Apply(SliceYaml("v2", many));
  SetWeight(30);
  ASSERT_TRUE(
      WaitForRollout({"\"canaryWeight\":30,", "node-0: ", "raise --max-endpoints", "\"nodesAcked\":1,"}));
  const Outcome status = Weirctl({"status", "-n", "shop", "checkout"});
  EXPECT_NE(status.output.find("node-0: "), std::string::npos) << status.output;
  EXPECT_NE(status.output.find("raise --max-endpoints"), std::string::npos) << status.output;
  EXPECT_OK(nodes_[0]->Run([&] { return FetchMany(vip_, 50); }));
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {80, 20}, {0, 1}))
      << "where the map is full the old split stays";
  Apply(SliceYaml("v2", {Endpoint(1)}));
  ASSERT_TRUE(WaitForRollout({"\"canaryWeight\":30,", "\"nodesRefusing\":[]", "\"nodesAcked\":2,"}))
      << "what fits is taken";
  servers_.Forget();
  EXPECT_OK(nodes_[0]->Run([&] { return FetchMany(vip_, 50); }));
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {70, 30}, {0, 1}));
}

TEST_F(ProcessesTest, MutualTlsFromEndToEnd) {
  const TestCa authority;
  const std::string ca = files_.Write("ca.pem", authority.pem());
  const auto flags = [&](const std::string& name) -> std::vector<std::string> {
    const PemPair pair = authority.Issue(name);
    return {"--tls-ca",   ca,
            "--tls-cert", files_.Write(name + ".pem", pair.cert),
            "--tls-key",  files_.Write(name + ".key", pair.key)};
  };
  StartController(flags("controller"));
  weirctl_flags_ = flags("person");
  const auto agent = StartAgent(0, flags("agent"));
  ApplyCheckout();
  ASSERT_TRUE(WaitForRollout({"\"phase\":\"Healthy\"", "\"nodesAcked\":1,"}));
  const auto ids = nodes_[0]->Run([&] { return FetchMany(vip_, 3); });
  ASSERT_OK(ids);
  EXPECT_EQ(*ids, std::string(3, 0));
  weirctl_flags_ = {"--tls-ca", ca};
  EXPECT_EQ(Weirctl({"get", "nodes"}).code, 1) << "weirctl without a certificate of its own";
}

}  // namespace
}  // namespace weir::kernel_test
