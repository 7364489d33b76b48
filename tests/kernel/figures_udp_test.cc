// What the kernel counted of datagrams, against what both ends know.
#include <netinet/udp.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "tests/kernel/harness/figures.h"
#include "tests/kernel/harness/fixture.h"
#include "tests/kernel/harness/pair.h"
#include "tests/kernel/harness/programs.h"

namespace weir::kernel_test {
namespace {

using datapath::Series;

class FiguresUdpTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) return;
    node_ = std::make_unique<TestNode>();
    ASSERT_OK(node_->Open());
    servers_.AddUdp(first_, 0);
    servers_.AddUdp(second_, 1);
    servers_.AddUdp(first6_, 10);
    servers_.AddUdp(second6_, 11);
    ASSERT_OK(node_->Apply({Split(vip_, first_, second_), Split(vip6_, first6_, second6_)}));
  }

  static Frontend Split(const SocketAddress& vip, const SocketAddress& first, const SocketAddress& second) {
    return Named(MakeFrontend(vip, {1, 1}, {{first}, {second}}, Protocol::kUdp), "dns");
  }
  Series Read(int variant) { return ReadSeries(*node_, "dns", "v" + std::to_string(variant)); }
  /// What a variant is expected to have had: `bytes` were sent in `datagrams`, and each was answered by one
  /// that is a byte longer.
  void Expect(int variant, uint64_t datagrams, uint64_t bytes) {
    const Series series = Read(variant);
    EXPECT_EQ(series.udp_datagrams_sent, datagrams) << variant;
    EXPECT_EQ(series.udp_bytes_sent, bytes) << variant;
    EXPECT_EQ(series.udp_datagrams_received, datagrams) << variant;
    EXPECT_EQ(series.udp_bytes_received, bytes + datagrams) << variant;
    EXPECT_EQ(series.opened, 0U) << "no TCP";
  }
  /// The variant that answered.
  int Ask(Socket& socket, const std::string& question) {
    EXPECT_OK(socket.Send(question));
    return Answer(socket);
  }
  int Ask(Socket& socket, const std::string& question, const SocketAddress& to, Mapped mapped = Mapped::kNo) {
    EXPECT_OK(socket.SendTo(to, question, mapped));
    return Answer(socket);
  }
  static int Answer(Socket& socket) {
    const auto answer = socket.ReceiveFrom();
    EXPECT_OK(answer);
    return answer.ok() && !answer->data.empty() ? static_cast<uint8_t>(answer->data[0]) % 10 : -1;
  }

  const SocketAddress vip_ = Address("127.96.0.1", 53), vip6_ = Address("fd00::9600:1", 53);
  const SocketAddress first_ = Address("127.1.0.1", 5300), second_ = Address("127.1.1.1", 5301);
  const SocketAddress first6_ = Address("fd00::1:1", 5300), second6_ = Address("fd00::1:2", 5301);
  Servers servers_;
  std::unique_ptr<TestNode> node_;
};

TEST_F(FiguresUdpTest, ConnectedAndUnconnectedOfBothFamilies) {
  uint64_t datagrams[2] = {}, bytes[2] = {};
  const auto note = [&](int variant, size_t size) {
    ASSERT_GE(variant, 0);
    ++datagrams[variant];
    bytes[variant] += size;
  };
  for (const auto& [vip, mapped] :
       {std::pair{vip_, Mapped::kNo}, {vip_, Mapped::kYes}, {vip6_, Mapped::kNo}}) {
    const SockAddr to = ToSockAddr(vip, mapped);
    for (int i = 0; i < 4; ++i) {
      Socket connected = node_->OpenSocket(to.family(), SOCK_DGRAM);
      ASSERT_EQ(connected.Connect(to), 0);
      Socket unconnected = node_->OpenSocket(to.family(), SOCK_DGRAM);
      for (const size_t size : {0, 1, 700, 4000}) {
        note(Ask(connected, std::string(size, 'x')), size);
        note(Ask(unconnected, std::string(size, 'x'), vip, mapped), size);
      }
    }
  }
  EXPECT_EQ(datagrams[0] + datagrams[1], 96U);
  Expect(0, datagrams[0], bytes[0]);
  Expect(1, datagrams[1], bytes[1]);
}

TEST_F(FiguresUdpTest, DatagramsToOthersAreNotCounted) {
  Socket socket = node_->OpenSocket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(socket.Connect(vip_), 0);
  const int variant = Ask(socket, "counted");
  const SocketAddress other = variant == 0 ? second_ : first_;
  EXPECT_OK(socket.SendTo(other, "not counted"));  // a connected socket may; the answer is not let in
  const sockaddr none{.sa_family = AF_UNSPEC, .sa_data = {}};
  ASSERT_EQ(connect(socket.fd(), &none, sizeof none), 0);
  Ask(socket, "not counted", variant == 0 ? first_ : second_);
  Ask(socket, "not counted", other);
  Expect(variant, 1, 7);
  Expect(1 - variant, 0, 0);
}

TEST_F(FiguresUdpTest, SegmentsOfOneSendCountAsDatagrams) {
  Socket socket = node_->OpenSocket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(socket.Connect(vip_), 0);
  const int size = 500;
  if (setsockopt(socket.fd(), SOL_UDP, UDP_SEGMENT, &size, sizeof size) != 0)
    GTEST_SKIP() << "UDP_SEGMENT: " << std::strerror(errno);
  ASSERT_OK(socket.Send(std::string(10 * 500 + 123, 'x')));
  int variant = -1;
  for (int i = 0; i < 11; ++i) variant = Answer(socket);
  ASSERT_GE(variant, 0);
  Expect(variant, 11, 5123);
}

TEST_F(FiguresUdpTest, TheKernelsOwnBundlesCountAsDatagrams) {
  // A client with UDP_GRO gets several datagrams as one packet where they come as one.
  const SocketAddress bundler = Address("127.1.0.9", 5300);
  const SockAddr wire = ToSockAddr(bundler);
  Socket server = Socket::Open(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(bind(server.fd(), wire.get(), wire.length), 0);
  ASSERT_OK(node_->Apply(Named(MakeFrontend(vip_, {1}, {{bundler}}, Protocol::kUdp), "dns")));
  Socket client = node_->OpenSocket(AF_INET, SOCK_DGRAM);
  const int on = 1, size = 400;
  ASSERT_EQ(setsockopt(client.fd(), SOL_UDP, UDP_GRO, &on, sizeof on), 0);
  ASSERT_EQ(client.Connect(vip_), 0);
  ASSERT_OK(client.Send("?"));
  const auto question = server.ReceiveFrom();
  ASSERT_OK(question);
  ASSERT_EQ(setsockopt(server.fd(), SOL_UDP, UDP_SEGMENT, &size, sizeof size), 0);
  ASSERT_OK(server.SendTo(question->from, std::string(5 * 400, 'x')));
  for (size_t received = 0; received < 2000;) {
    const auto part = client.Receive();
    ASSERT_OK(part);
    received += part->size();
  }
  const Series series = Read(0);
  EXPECT_EQ(series.udp_datagrams_received, 5U);
  EXPECT_EQ(series.udp_bytes_received, 2000U);
  EXPECT_EQ(series.udp_datagrams_sent, 1U);
}

TEST_F(FiguresUdpTest, AFlowThatMovesCountsWhereItGoes) {
  Socket socket = node_->OpenSocket(AF_INET, SOCK_DGRAM);
  const int before = Ask(socket, "one", vip_);
  Frontend frontend = Split(vip_, first_, second_);
  frontend.variants[before].weight = 0;
  ASSERT_OK(node_->Apply(frontend));
  EXPECT_EQ(Ask(socket, "three", vip_), 1 - before);
  Expect(before, 1, 3);
  Expect(1 - before, 1, 5);
}

TEST_F(FiguresUdpTest, PacketsAreLookedAtOnlyWhileSomebodyNeedsIt) {
  const std::vector<bpf_attach_type> hooks = {BPF_CGROUP_INET_EGRESS, BPF_CGROUP_INET_INGRESS};
  const auto attached = [&] {
    size_t count = 0;
    for (const bpf_attach_type hook : hooks) count += AttachedPrograms(node_->cgroup(), hook).size();
    return count;
  };
  EXPECT_EQ(attached(), 2U);
  const Frontend tcp = MakeFrontend(vip_, {1}, {{first_}});
  ASSERT_OK(node_->ApplyFull({tcp}));
  EXPECT_EQ(attached(), 0U);
  EXPECT_OK(node_->datapath().CheckAttached());
  ASSERT_OK(node_->Open());
  EXPECT_EQ(attached(), 0U);
  Frontend http = tcp;
  http.http = true;
  ASSERT_OK(node_->Apply(http));
  EXPECT_EQ(attached(), 2U);
  ASSERT_OK(node_->Open());
  EXPECT_EQ(attached(), 2U) << "adopted, not doubled";
  EXPECT_OK(node_->datapath().CheckAttached());
  ASSERT_OK(node_->Apply(tcp));
  EXPECT_EQ(attached(), 0U);
  ASSERT_OK(node_->Apply(Split(vip6_, first6_, second6_)));
  EXPECT_EQ(attached(), 2U);

  for (const std::string& link : FindPinnedLinks(node_->bpffs())) {
    if (link.ends_with("egress")) DetachPinnedLink(link);
  }
  const Status status = node_->datapath().CheckAttached();
  EXPECT_NE(Message(status).find("egress"), std::string::npos) << Message(status);
}

}  // namespace
}  // namespace weir::kernel_test
