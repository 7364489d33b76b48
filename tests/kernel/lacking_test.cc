// Kernels that lack a hook, a type or their description: what must be there is named, with the Linux that has
// it, and nothing is left behind; what may be missing is done without. The real agent; the kernel's refusals
// are played.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mount.h>

#include <filesystem>
#include <fstream>

#include "agent/datapath/object.h"
#include "rejected.skel.h"
#include "tests/kernel/harness/bpf_filter.h"
#include "tests/kernel/harness/programs.h"
#include "tests/kernel/harness/programs_fixture.h"

namespace weir::kernel_test {
namespace {

class LackingTest : public ProgramsTest {
 protected:
  /// An agent on a kernel that answers so.
  void StartAgent(BpfFilter::Verdict verdict) {
    filter_ = std::make_unique<BpfFilter>(std::move(verdict));
    agent_ = std::make_unique<Process>(
        std::vector<std::string>{WEIR_AGENT, "--node-name", "node", "--cgroup", nodes_[0]->cgroup(),
                                 "--bpffs", nodes_[0]->bpffs(), "--controller",
                                 controller_ ? address_ : "127.0.0.1:1", "--http", "127.0.0.1:0"},
        [this] { filter_->InChild(); });
    if (!filter_->Attach(agent_->pid())) {
      agent_.reset();
      GTEST_SKIP() << "seccomp's user notifications are not available";
    }
  }
  /// It ends with an error that has all of these, and has left nothing.
  void ExpectRefusal(const std::vector<std::string>& texts) {
    if (!agent_) return;
    EXPECT_EQ(agent_->Wait(), 1) << agent_->seen;
    for (const std::string& text : texts)
      EXPECT_NE(agent_->seen.find(text), std::string::npos) << "no \"" << text << "\" in: " << agent_->seen;
    for (const auto& programs : AllAttachedPrograms(nodes_[0]->cgroup())) EXPECT_TRUE(programs.empty());
    EXPECT_EQ(FindPinnedLinks(nodes_[0]->bpffs()), std::vector<std::string>{});
  }
  /// It divides, and says `text` of what it does without; `ability` is not among those it tells the
  /// controller.
  void ExpectWorksWithout(BpfFilter::Verdict verdict, const std::string& text, const std::string& ability) {
    ASSERT_NO_FATAL_FAILURE(StartController());
    ASSERT_NO_FATAL_FAILURE(StartAgent(std::move(verdict)));
    if (!agent_) return;
    ASSERT_TRUE(agent_->WaitFor("http=")) << agent_->seen;
    Apply(kHttpServiceYaml + SliceYaml("v1", {Endpoint(0)}) + RolloutYaml("v1"));
    // Until the node has it; the controller counts it from the moment it is welcomed.
    ASSERT_TRUE(WaitForRollout({"\"nodesAcked\":1,"})) << agent_->seen;
    EXPECT_OK(nodes_[0]->Run([this] { return FetchMany(vip_, 5); }));
    const Outcome nodes = Weirctl({"get", "nodes", "-o", "json"});
    EXPECT_EQ(nodes.code, 0) << nodes.output;
    EXPECT_NE(nodes.output.find("\"connect4\""), std::string::npos) << nodes.output;
    EXPECT_EQ(nodes.output.find("\"" + ability + "\""), std::string::npos) << nodes.output;
    EXPECT_TRUE(agent_->WaitFor(text)) << agent_->seen;
  }

  std::unique_ptr<BpfFilter> filter_;
  std::unique_ptr<Process> agent_;  // goes before its filter
};

TEST_F(LackingTest, OneHook) {
  ASSERT_NO_FATAL_FAILURE(StartAgent(WithoutAttachTypes({BPF_CGROUP_INET6_CONNECT})));
  ExpectRefusal({"load the BPF programs", "lacks connect6 (Linux 4.17 or later has it)", "this kernel, "});
}

TEST_F(LackingTest, SeveralHooksAreAllNamed) {
  ASSERT_NO_FATAL_FAILURE(StartAgent(WithoutAttachTypes(
      {BPF_CGROUP_INET4_GETPEERNAME, BPF_CGROUP_INET6_GETPEERNAME, BPF_CGROUP_UDP4_RECVMSG})));
  ExpectRefusal({"getpeername4 (Linux 5.8 or later has it)", "getpeername6 (Linux 5.8 or later has it)",
                 "recvmsg4 (Linux 5.2 or later has it)"});
}

TEST_F(LackingTest, LinksToAHook) {
  // Before Linux 5.7 there are no links to cgroups. The first hook is refused already, so nothing is left.
  ASSERT_NO_FATAL_FAILURE(
      StartAgent([](int command, const bpf_attr&) { return command == BPF_LINK_CREATE ? EINVAL : 0; }));
  ExpectRefusal(
      {"attach getpeername4 (this kernel may lack the hook or links to it; Linux 5.8 or later has it)"});
}

TEST_F(LackingTest, ATypeOfMap) {
  ASSERT_NO_FATAL_FAILURE(StartAgent([](int command, const bpf_attr& attr) {
    return command == BPF_MAP_CREATE && attr.map_type == BPF_MAP_TYPE_SK_STORAGE ? EINVAL : 0;
  }));
  ExpectRefusal({"load the BPF programs (Linux 5.18 or later", "weir_socks"});
}

TEST_F(LackingTest, WithoutTheTracepointNothingIsMeasured) {
  ExpectWorksWithout(WithoutPrograms({"weir_state_chan"}), "nothing is measured on this kernel",
                     "inet_sock_set_state");
}

TEST_F(LackingTest, WithoutTheReleaseHookNothingIsMeasuredAndItIsNamed) {
  ExpectWorksWithout(WithoutAttachTypes({BPF_CGROUP_INET_SOCK_RELEASE}),
                     "lacks sock_release (Linux 5.9 or later has it)", "sock_release");
}

TEST_F(LackingTest, WithoutPacketHooksHttpIsNotMeasured) {
  ExpectWorksWithout(WithoutPrograms({"weir_ingress"}), "datagrams and HTTP are not measured", "no such");
}

TEST_F(LackingTest, WithoutSockDestroyNoConnectionIsEnded) {
  ExpectWorksWithout(WithoutPrograms({"weir_end_"}), "Linux 6.5 or later is needed", "sock_destroy");
}

TEST_F(LackingTest, ARejectedProgramIsToldByTheEndOfTheVerifiersLog) {
  datapath::CollectLibbpfMessages();
  const std::unique_ptr<weir_rejected, void (*)(weir_rejected*)> skeleton(weir_rejected__open(),
                                                                          weir_rejected__destroy);
  ASSERT_NE(skeleton, nullptr);
  const int failed = bpf_object__load(skeleton->obj);
  ASSERT_NE(failed, 0);
  const std::string message(Message(datapath::LoadError(-failed, skeleton->obj)));
  EXPECT_NE(message.find("invalid mem access 'scalar'"), std::string::npos) << message;
  EXPECT_NE(message.find("prog 'weir_rejected': -- BEGIN PROG LOAD LOG --"), std::string::npos) << message;
  EXPECT_NE(message.find("[...]"), std::string::npos) << "all of it is a log of thousands of lines";
  EXPECT_LT(message.size(), 10'000U);
}

}  // namespace
}  // namespace weir::kernel_test
