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
#include "tests/integration/process.h"
#include "tests/kernel/harness/bpf_filter.h"
#include "tests/kernel/harness/fixture.h"
#include "tests/kernel/harness/programs.h"
#include "tests/unit/common/test_certs.h"

namespace weir::kernel_test {
namespace {

constexpr char kManifests[] = R"(
apiVersion: v1
kind: Service
metadata: {name: checkout, namespace: shop}
spec: {clusterIP: 127.96.0.1, ports: [{name: http, port: 80, appProtocol: http}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: checkout-v1, namespace: shop, labels: {kubernetes.io/service-name: checkout, weir.dev/revision: v1}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [ADDRESS]}]
---
apiVersion: weir.dev/v1alpha1
kind: Rollout
metadata: {name: checkout, namespace: shop}
spec: {service: checkout, revision: v1, strategy: {canary: {steps: [{setWeight: 20}, {pause: {}}]}}}
)";

class LackingTest : public KernelTest {
 protected:
  void Prepare() override {
    node_ = std::make_unique<TestNode>();
    servers_.AddTcp(Endpoint(0), 0);
  }

  /// An agent on a kernel that answers so.
  void StartAgent(BpfFilter::Verdict verdict, const std::string& controller = "127.0.0.1:1") {
    filter_ = std::make_unique<BpfFilter>(std::move(verdict));
    agent_ = std::make_unique<Process>(
        std::vector<std::string>{WEIR_AGENT, "--node-name", "node", "--cgroup", node_->cgroup(), "--bpffs",
                                 node_->bpffs(), "--controller", controller, "--http", "127.0.0.1:0"},
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
    for (const auto& programs : AllAttachedPrograms(node_->cgroup())) EXPECT_TRUE(programs.empty());
    EXPECT_EQ(FindPinnedLinks(node_->bpffs()), std::vector<std::string>{});
  }
  /// It divides, and says `text` of what it does without; `ability` is not among those it tells the
  /// controller.
  void ExpectWorksWithout(BpfFilter::Verdict verdict, const std::string& text, const std::string& ability) {
    const TempDir files;
    Process controller({WEIR_CONTROLLER, "--state", files.path() + "/state", "--listen", "127.0.0.1:0",
                        "--http", "127.0.0.1:0"});
    const std::string address = controller.WordAfter("grpc=");
    ASSERT_FALSE(address.empty()) << controller.seen;
    ASSERT_NO_FATAL_FAILURE(StartAgent(std::move(verdict), address));
    if (!agent_) return;
    ASSERT_TRUE(agent_->WaitFor("http=")) << agent_->seen;
    std::string manifests = kManifests;
    manifests.replace(manifests.find("ADDRESS"), 7, Endpoint(0).address.ToString());
    const auto weirctl = [&](std::vector<std::string> arguments) {
      arguments.insert(arguments.begin(), {WEIRCTL, "--server", address});
      Process process(arguments);
      EXPECT_EQ(process.Wait(), 0) << process.seen;
      return process.seen;
    };
    weirctl({"apply", "-f", files.Write("all.yaml", manifests)});
    // Until the node has it; the controller counts it from the moment it is welcomed.
    Process watch(
        {WEIRCTL, "--server", address, "get", "rollouts", "-n", "shop", "checkout", "-w", "-o", "json"});
    ASSERT_TRUE(watch.WaitFor("\"nodesAcked\":1,")) << watch.seen << agent_->seen;
    EXPECT_OK(node_->Run([] { return FetchMany(Address("127.96.0.1", 80), 5); }));
    const std::string nodes = weirctl({"get", "nodes", "-o", "json"});
    EXPECT_NE(nodes.find("\"connect4\""), std::string::npos) << nodes;
    EXPECT_EQ(nodes.find("\"" + ability + "\""), std::string::npos) << nodes;
    EXPECT_TRUE(agent_->WaitFor(text)) << agent_->seen;
  }

  Servers servers_;
  std::unique_ptr<TestNode> node_;
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
