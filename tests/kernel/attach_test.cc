// Sharing cgroups with others, and leaving the kernel as it was.
#include <unistd.h>

#include <optional>

#include "tests/kernel/harness/fixture.h"
#include "tests/kernel/harness/programs.h"

namespace weir::kernel_test {
namespace {

class AttachTest : public KernelTest {
 protected:
  void Prepare() override {
    node_ = std::make_unique<TestNode>();
    servers_.AddTcp(endpoint_, 1);
  }
  Frontend Split() { return MakeFrontend(vip_, {1}, {{endpoint_}}); }

  const SocketAddress vip_ = Address("127.96.0.1", 80), endpoint_ = Address("127.1.0.1", 8080);
  Servers servers_;
  std::unique_ptr<TestNode> node_;
};

TEST_F(AttachTest, DetachLeavesTheKernelAsItWas) {
  const auto before = AllAttachedPrograms(node_->cgroup());
  ASSERT_OK(node_->Open());
  ASSERT_OK(node_->Apply(Split()));
  const PinnedObjects ours = FindPinned(node_->bpffs());
  EXPECT_EQ(ours.links.size(), LinkCount());
  EXPECT_FALSE(ours.maps.empty());
  node_->Close();
  EXPECT_OK(datapath::KernelDatapath::Detach(node_->bpffs()));
  EXPECT_EQ(AllAttachedPrograms(node_->cgroup()), before);
  const PinnedObjects left = StillThere(ours);
  EXPECT_TRUE(left.programs.empty());
  EXPECT_TRUE(left.maps.empty());
  EXPECT_TRUE(left.links.empty());
  EXPECT_NE(access(node_->bpffs().c_str(), F_OK), 0) << "the directory itself";
  const auto again = datapath::KernelDatapath::Detach(node_->bpffs());
  ASSERT_OK(again);
  EXPECT_TRUE(again->empty());
}

TEST_F(AttachTest, AnAttachThatFailsHalfWayLeavesTheKernelAsItWas) {
  // Somebody has connect4 for himself; the hooks before it are free.
  std::optional<ForeignProgram> alone(std::in_place, node_->cgroup(), ForeignProgram::How::kAttachAlone);
  const auto before = AllAttachedPrograms(node_->cgroup());
  const Status status = node_->Open();
  ASSERT_FALSE(status.ok());
  EXPECT_NE(Message(status).find("attach connect4"), std::string::npos) << Message(status);
  EXPECT_EQ(AllAttachedPrograms(node_->cgroup()), before);
  const PinnedObjects left = FindPinned(node_->bpffs());
  EXPECT_TRUE(left.links.empty());
  EXPECT_TRUE(left.maps.empty());

  // What was pinned before stays: a split goes on under the programs it has.
  alone.reset();
  ASSERT_OK(node_->Open());
  ASSERT_OK(node_->Apply(Split()));
  node_->Close();
  ASSERT_EQ(unlink((node_->bpffs() + "/link_connect4").c_str()), 0);
  alone.emplace(node_->cgroup(), ForeignProgram::How::kAttachAlone);
  EXPECT_FALSE(node_->Open().ok());
  EXPECT_EQ(FindPinned(node_->bpffs()).links.size(), LinkCount() - 1);
  alone.reset();
  ASSERT_OK(node_->Open());
  const auto ids = node_->Run([&] { return FetchMany(vip_, 2); });
  ASSERT_OK(ids);
  EXPECT_EQ(*ids, std::string(2, 1));
}

TEST_F(AttachTest, ProgramsOfOthersSurviveAllWeDo) {
  ForeignProgram linked(node_->cgroup(), ForeignProgram::How::kLink);
  ForeignProgram attached(node_->cgroup(), ForeignProgram::How::kAttachMulti);
  const auto before = AllAttachedPrograms(node_->cgroup());
  ASSERT_OK(node_->Open());
  ASSERT_OK(node_->Apply(Split()));
  ASSERT_OK(node_->Open());
  EXPECT_EQ(AttachedPrograms(node_->cgroup(), BPF_CGROUP_INET4_CONNECT).size(), 3U);
  const auto ids = node_->Run([&] { return FetchMany(vip_, 5); });
  ASSERT_OK(ids);
  EXPECT_EQ(*ids, std::string(5, 1));
  EXPECT_EQ(linked.Runs(), 5U);
  EXPECT_EQ(attached.Runs(), 5U);
  node_->Close();
  ASSERT_OK(datapath::KernelDatapath::Detach(node_->bpffs()));
  EXPECT_EQ(AllAttachedPrograms(node_->cgroup()), before);
}

TEST_F(AttachTest, ProgramOfAChildCgroupRunsFirst) {
  const SocketAddress fake = Address("127.200.0.1", 9999);
  ASSERT_OK(node_->Open());
  ASSERT_OK(node_->Apply(Split()));
  const Cgroup child(node_->cgroup(), "child");
  const ForeignProgram rewriting(child.path(), ForeignProgram::How::kLink, vip_);
  const auto ids = RunIn(child.path(), [&] { return FetchMany(fake, 3); });
  ASSERT_OK(ids);
  EXPECT_EQ(*ids, std::string(3, 1)) << "the child's answer, our VIP, is what we saw";
  EXPECT_EQ(rewriting.LastSeen().ToString(), "127.200.0.1");
}

TEST_F(AttachTest, ProgramOfTheParentSeesTheEndpoint) {
  const Cgroup child(node_->cgroup(), "inner");
  const ForeignProgram parent(node_->cgroup(), ForeignProgram::How::kLink);
  node_->options().cgroup_path = child.path();
  ASSERT_OK(node_->Open());
  ASSERT_OK(node_->Apply(Split()));
  ASSERT_OK(RunIn(child.path(), [&] { return FetchMany(vip_, 1); }));
  EXPECT_EQ(parent.LastSeen().ToString(), "127.1.0.1");
}

TEST_F(AttachTest, CheckNoticesALinkThatIsGone) {
  ASSERT_OK(node_->Open());
  EXPECT_OK(node_->datapath().CheckAttached());
  const auto links = FindPinnedLinks(node_->bpffs());
  ASSERT_EQ(links.size(), LinkCount());
  for (const auto& link : links) {
    if (link.ends_with("connect4")) DetachPinnedLink(link);
  }
  const Status status = node_->datapath().CheckAttached();
  ASSERT_FALSE(status.ok());
  EXPECT_NE(Message(status).find("connect4"), std::string::npos) << Message(status);
  ASSERT_OK(node_->Open());
  EXPECT_OK(node_->datapath().CheckAttached());
}

TEST_F(AttachTest, CgroupThatDiedIsNoticedAndAnotherTaken) {
  ASSERT_OK(node_->Open());
  ASSERT_OK(node_->Apply(Split()));
  ASSERT_OK(node_->RemoveCgroup());
  EXPECT_FALSE(node_->datapath().CheckAttached().ok());
  const Cgroup next("successor");
  node_->options().cgroup_path = next.path();
  ASSERT_OK(node_->Open());
  EXPECT_OK(node_->datapath().CheckAttached());
  const auto ids = RunIn(next.path(), [&] { return FetchMany(vip_, 3); });
  ASSERT_OK(ids);
  EXPECT_EQ(*ids, std::string(3, 1));
}

TEST_F(AttachTest, TwoAgentsOnTwoCgroupsAreIndependent) {
  TestNode other;
  ASSERT_OK(node_->Open());
  ASSERT_OK(other.Open());
  ASSERT_OK(node_->Apply(Split()));
  ASSERT_OK(other.Apply(Split()));
  other.Close();
  ASSERT_OK(datapath::KernelDatapath::Detach(other.bpffs()));
  EXPECT_OK(node_->datapath().CheckAttached());
  EXPECT_OK(node_->Run([&] { return FetchMany(vip_, 3); }));
  EXPECT_FALSE(other.Run([&] { return FetchMany(vip_, 1); }).ok());
}

TEST_F(AttachTest, NotACgroup2DirectoryIsRefused) {
  for (const char* path : {"/proc", "/no/such/directory"}) {
    node_->options().cgroup_path = path;
    const Status status = node_->Open();
    ASSERT_FALSE(status.ok());
    EXPECT_NE(Message(status).find(path), std::string::npos) << Message(status);
    EXPECT_NE(Message(status).find("cgroup2"), std::string::npos) << Message(status);
  }
}

TEST_F(AttachTest, NotABpfFileSystemIsRefused) {
  const std::string proper = node_->bpffs();
  node_->options().bpffs_dir = "/proc/weir";
  const Status status = node_->Open();
  ASSERT_FALSE(status.ok());
  EXPECT_NE(Message(status).find("mount -t bpf"), std::string::npos) << Message(status);
  node_->options().bpffs_dir = proper;
}

}  // namespace
}  // namespace weir::kernel_test
