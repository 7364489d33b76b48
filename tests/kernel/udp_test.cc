// UDP: a socket keeps its endpoint while that may be chosen, and replies seem to come from the VIP.
#include <poll.h>

#include <cerrno>
#include <cstring>

#include "tests/kernel/harness/fixture.h"

namespace weir::kernel_test {
namespace {

class UdpTest : public NodeTest {
 protected:
  void Prepare() override {
    ASSERT_NO_FATAL_FAILURE(NodeTest::Prepare());
    servers_.AddUdp(first_, 0);
    servers_.AddUdp(second_, 1);
    servers_.AddUdp(first6_, 10);
    servers_.AddUdp(second6_, 11);
    ASSERT_OK(node_->Apply(
        {Split(vip_, {50, 50}), MakeFrontend(vip6_, {50, 50}, {{first6_}, {second6_}}, Protocol::kUdp)}));
  }

  Frontend Split(const SocketAddress& vip, const std::vector<uint32_t>& weights) {
    return MakeFrontend(vip, weights, {{first_}, {second_}}, Protocol::kUdp);
  }

  Socket OpenInside(int family) { return node_->OpenSocket(family, SOCK_DGRAM); }

  /// Sends to the VIP and returns the answering server's id; checks that the answer seems to come from the
  /// VIP.
  int Ask(Socket& socket, const SocketAddress& to, Mapped mapped = Mapped::kNo) {
    EXPECT_OK(socket.SendTo(to, "?", mapped));
    const auto answer = socket.ReceiveFrom();
    EXPECT_OK(answer);
    if (!answer.ok() || answer->data.empty()) return -1;
    EXPECT_EQ(ToString(answer->from), ToString(to));
    return static_cast<uint8_t>(answer->data[0]);
  }

  const SocketAddress vip_ = Address("127.96.0.1", 53);
  const SocketAddress vip6_ = Address("fd00::9600:1", 53);
  const SocketAddress first_ = Address("127.1.0.1", 5300), second_ = Address("127.1.1.1", 5301);
  const SocketAddress first6_ = Address("fd00::1:1", 5300), second6_ = Address("fd00::1:2", 5301);
};

TEST_F(UdpTest, ConnectedSocketKeepsItsEndpointAndSeesTheVip) {
  for (const auto& [vip, mapped] :
       {std::pair{vip_, Mapped::kNo}, {vip_, Mapped::kYes}, {vip6_, Mapped::kNo}}) {
    SCOPED_TRACE(ToString(vip));
    const SockAddr to = ToSockAddr(vip, mapped);
    for (int i = 0; i < 4; ++i) {
      Socket socket = OpenInside(to.family());
      ASSERT_EQ(socket.Connect(to), 0);
      EXPECT_EQ(ToString(socket.Peer()), ToString(vip));
      std::string ids;
      for (int datagram = 0; datagram < 5; ++datagram) {
        ASSERT_OK(socket.Send("?"));
        const auto answer = socket.ReceiveFrom();
        ASSERT_OK(answer);
        EXPECT_EQ(ToString(answer->from), ToString(vip)) << "recvfrom() on a connected socket";
        EXPECT_EQ(answer->family, to.family());
        ids.push_back(answer->data[0]);
      }
      EXPECT_EQ(ids, std::string(5, ids[0]));
    }
  }
  EXPECT_EQ(servers_.Count(0), 20U);
  EXPECT_EQ(servers_.Count(1), 20U);
}

TEST_F(UdpTest, UnconnectedSocketKeepsItsEndpointAndSeesTheVip) {
  for (const auto& [vip, mapped] :
       {std::pair{vip_, Mapped::kNo}, {vip_, Mapped::kYes}, {vip6_, Mapped::kNo}}) {
    SCOPED_TRACE(ToString(vip));
    int sum = 0;
    for (int i = 0; i < 4; ++i) {
      Socket socket = OpenInside(mapped == Mapped::kYes ? AF_INET6 : ToSockAddr(vip).family());
      const int id = Ask(socket, vip, mapped);
      sum += id % 10;
      for (int datagram = 0; datagram < 5; ++datagram) EXPECT_EQ(Ask(socket, vip, mapped), id);
    }
    EXPECT_EQ(sum, 2) << "four sockets, half of them to each";
  }
}

TEST_F(UdpTest, SocketsAreDividedExactlyDatagramsAreNot) {
  ASSERT_OK(node_->Apply(Split(vip_, {80, 20})));
  std::string ids;
  for (int i = 0; i < 100; ++i) {
    Socket socket = OpenInside(AF_INET);
    const int id = Ask(socket, vip_);
    for (int datagram = 0; datagram < i % 4; ++datagram) EXPECT_EQ(Ask(socket, vip_), id);
    ids.push_back(static_cast<char>(id));
  }
  EXPECT_TRUE(IsExactAtEveryPrefix(ids, {80, 20}, {0, 1}));
}

TEST_F(UdpTest, FlowMovesWhenItsEndpointIsGone) {
  Socket socket = OpenInside(AF_INET);
  const int before = Ask(socket, vip_);
  Frontend frontend = Split(vip_, {50, 50});
  frontend.variants[before].endpoints.clear();
  ASSERT_OK(node_->Apply(frontend));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask(socket, vip_), 1 - before);
  // Back to where it was only if it is chosen so: it keeps what it has now.
  ASSERT_OK(node_->Apply(Split(vip_, {50, 50})));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask(socket, vip_), 1 - before);
}

TEST_F(UdpTest, FlowMovesWhenItsVariantHasNoWeight) {
  Socket socket = OpenInside(AF_INET);
  const int before = Ask(socket, vip_);
  ASSERT_OK(
      node_->Apply(Split(vip_, before == 0 ? std::vector<uint32_t>{0, 1} : std::vector<uint32_t>{1, 0})));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask(socket, vip_), 1 - before);
}

TEST_F(UdpTest, FlowStaysWhenOtherEndpointsChange) {
  const std::vector<SocketAddress> more = {Address("127.1.0.2", 5300), Address("127.1.0.3", 5300)};
  servers_.AddUdp(more[0], 2);
  servers_.AddUdp(more[1], 3);
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{first_}}, Protocol::kUdp)));
  Socket socket = OpenInside(AF_INET);
  ASSERT_EQ(Ask(socket, vip_), 0);
  for (const auto& endpoints :
       {std::vector{more[0], first_}, {more[0], more[1], first_}, {first_, more[1]}}) {
    ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {endpoints}, Protocol::kUdp)));
    EXPECT_EQ(Ask(socket, vip_), 0);
  }
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {more}, Protocol::kUdp)));
  EXPECT_NE(Ask(socket, vip_), 0);
}

TEST_F(UdpTest, FlowStaysWhenWeightsChange) {
  Socket socket = OpenInside(AF_INET);
  const int before = Ask(socket, vip_);
  for (uint32_t weight = 1; weight < 100; weight += 7) {
    ASSERT_OK(node_->Apply(Split(vip_, {weight, 100 - weight})));
    EXPECT_EQ(Ask(socket, vip_), before);
  }
}

TEST_F(UdpTest, TwoVipsOnOneSocket) {
  const SocketAddress other = Address("127.96.0.2", 53);
  ASSERT_OK(node_->Apply({MakeFrontend(vip_, {1}, {{first_}}, Protocol::kUdp),
                          MakeFrontend(other, {1}, {{second_}}, Protocol::kUdp)}));
  Socket socket = OpenInside(AF_INET);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Ask(socket, vip_), 0);
    EXPECT_EQ(Ask(socket, other), 1);
  }
}

TEST_F(UdpTest, SeventeenthFlowTakesTheOldestsPlace) {
  std::vector<Frontend> frontends;
  std::vector<SocketAddress> vips;
  for (int i = 0; i < 17; ++i) {
    const SocketAddress endpoint = Address(fmt::format("127.1.5.{}", i + 1), 5300);
    servers_.AddUdp(endpoint, 100 + i);
    vips.push_back(Address(fmt::format("127.96.5.{}", i + 1), 53));
    frontends.push_back(MakeFrontend(vips.back(), {1}, {{endpoint}}, Protocol::kUdp));
  }
  ASSERT_OK(node_->Apply(frontends));
  Socket socket = OpenInside(AF_INET);
  for (int i = 0; i < 16; ++i) EXPECT_EQ(Ask(socket, vips[i]), 100 + i);
  for (int i = 0; i < 16; ++i) EXPECT_EQ(Ask(socket, vips[i]), 100 + i) << "all sixteen are known";
  EXPECT_EQ(Ask(socket, vips[16]), 116) << "the seventeenth works";
  for (int i = 16; i >= 1; --i) EXPECT_EQ(Ask(socket, vips[i]), 100 + i);
  EXPECT_EQ(Ask(socket, vips[0]), 100) << "the one that gave way works again";
}

TEST_F(UdpTest, LateReplyOfTheEndpointThatWasLeft) {
  Socket slow = Socket::Open(AF_INET, SOCK_DGRAM);
  const SocketAddress slow_address = Address("127.1.6.1", 5300);
  ASSERT_OK(slow.Bind(slow_address));
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{slow_address}}, Protocol::kUdp)));
  Socket client = OpenInside(AF_INET);
  ASSERT_OK(client.SendTo(vip_, "old"));
  const auto question = slow.ReceiveFrom();
  ASSERT_OK(question);
  // The client moves on to another endpoint, and is answered by it.
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{first_}}, Protocol::kUdp)));
  EXPECT_EQ(Ask(client, vip_), 0);
  ASSERT_OK(slow.SendTo(question->from, "late"));
  const auto late = client.ReceiveFrom();
  ASSERT_OK(late);
  EXPECT_EQ(late->data, "late");
  EXPECT_EQ(ToString(late->from), ToString(vip_));
}

TEST_F(UdpTest, LateReplyAfterTheVipIsRemoved) {
  Socket slow = Socket::Open(AF_INET, SOCK_DGRAM);
  const SocketAddress slow_address = Address("127.1.6.1", 5300);
  ASSERT_OK(slow.Bind(slow_address));
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{slow_address}}, Protocol::kUdp)));
  Socket client = OpenInside(AF_INET);
  ASSERT_OK(client.SendTo(vip_, "?"));
  const auto question = slow.ReceiveFrom();
  ASSERT_OK(question);
  ASSERT_OK(node_->Apply({}, {{vip_, Protocol::kUdp}}));
  ASSERT_OK(slow.SendTo(question->from, "late"));
  const auto late = client.ReceiveFrom();
  ASSERT_OK(late);
  EXPECT_EQ(ToString(late->from), ToString(vip_)) << "the client sent to the VIP: it knows no other name";
}

TEST_F(UdpTest, ServerThatRepliesSeveralTimesToSeveralSockets) {
  Socket server = Socket::Open(AF_INET, SOCK_DGRAM);
  const SocketAddress address = Address("127.1.6.2", 5300);
  ASSERT_OK(server.Bind(address));
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{address}}, Protocol::kUdp)));
  std::vector<Socket> clients;
  std::vector<SocketAddress> sources;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(OpenInside(AF_INET));
    ASSERT_OK(clients.back().SendTo(vip_, "?"));
    const auto question = server.ReceiveFrom();
    ASSERT_OK(question);
    sources.push_back(question->from);
  }
  for (int round = 0; round < 3; ++round) {
    for (int i = 4; i >= 0; --i) ASSERT_OK(server.SendTo(sources[i], std::to_string(i)));
  }
  for (int i = 0; i < 5; ++i) {
    for (int round = 0; round < 3; ++round) {
      const auto answer = clients[i].ReceiveFrom();
      ASSERT_OK(answer);
      EXPECT_EQ(answer->data, std::to_string(i));
      EXPECT_EQ(ToString(answer->from), ToString(vip_));
    }
  }
}

TEST_F(UdpTest, SocketThatNeverDialledTheVipSeesTheEndpoint) {
  Socket client = OpenInside(AF_INET);
  ASSERT_OK(client.SendTo(first_, "?"));
  const auto answer = client.ReceiveFrom();
  ASSERT_OK(answer);
  EXPECT_EQ(ToString(answer->from), ToString(first_));
}

TEST_F(UdpTest, ReconnectedToTheEndpointItselfIsNotTranslated) {
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{first_}}, Protocol::kUdp)));
  Socket client = OpenInside(AF_INET);
  ASSERT_EQ(client.Connect(vip_), 0);
  ASSERT_EQ(ToString(client.Peer()), ToString(vip_));
  ASSERT_EQ(client.Connect(first_), 0);
  EXPECT_EQ(ToString(client.Peer()), ToString(first_));
  ASSERT_OK(client.Send("?"));
  const auto answer = client.ReceiveFrom();
  ASSERT_OK(answer);
  EXPECT_EQ(ToString(answer->from), ToString(first_));
}

TEST_F(UdpTest, ReconnectSelectsAnew) {
  Socket client = OpenInside(AF_INET);
  std::string ids;
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(client.Connect(vip_), 0);
    EXPECT_EQ(ToString(client.Peer()), ToString(vip_));
    ASSERT_OK(client.Send("?"));
    ids += client.Receive()->substr(0, 1);
  }
  EXPECT_TRUE(IsExactAtEveryPrefix(ids, {50, 50}, {0, 1}));
}

TEST_F(UdpTest, DisconnectedByAfUnspecThenSentToTheEndpointItself) {
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{first_}}, Protocol::kUdp)));
  Socket client = OpenInside(AF_INET);
  ASSERT_EQ(client.Connect(vip_), 0);
  const sockaddr none{.sa_family = AF_UNSPEC, .sa_data = {}};
  ASSERT_EQ(connect(client.fd(), &none, sizeof(none)), 0);
  EXPECT_EQ(client.Peer(), SocketAddress());
  ASSERT_OK(client.SendTo(first_, "?"));
  const auto answer = client.ReceiveFrom();
  ASSERT_OK(answer);
  EXPECT_EQ(ToString(answer->from), ToString(first_))
      << "the record of the connection that ended must not serve";
  EXPECT_EQ(Ask(client, vip_), 0) << "and the VIP works unconnected";
}

TEST_F(UdpTest, SendtoElsewhereOnAConnectedSocket) {
  const SocketAddress other = Address("127.96.0.2", 53);
  ASSERT_OK(node_->Apply({MakeFrontend(vip_, {1}, {{first_}}, Protocol::kUdp),
                          MakeFrontend(other, {1}, {{second_}}, Protocol::kUdp)}));
  Socket client = OpenInside(AF_INET);
  ASSERT_EQ(client.Connect(vip_), 0);
  ASSERT_OK(client.SendTo(other, "?"));  // its answer is not from the peer: the kernel drops it
  ASSERT_OK(client.Send("?"));
  const auto answer = client.ReceiveFrom();
  ASSERT_OK(answer);
  EXPECT_EQ(answer->data[0], 0);
  EXPECT_EQ(ToString(answer->from), ToString(vip_));
  EXPECT_OK(servers_.WaitForCount(1, 1));
  EXPECT_EQ(servers_.Count(1), 1U) << "the datagram went to the other VIP's endpoint";
}

// A connected socket runs no hook on send(): what is left of it when its endpoint is gone is an error the
// client sees.
TEST_F(UdpTest, ConnectedSocketWhoseEndpointDiedIsToldSo) {
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{first_}}, Protocol::kUdp)));
  Socket client = OpenInside(AF_INET);
  ASSERT_EQ(client.Connect(vip_), 0);
  servers_.Remove(first_);
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{second_}}, Protocol::kUdp)));
  ASSERT_OK(client.Send("?"));
  const auto answer = client.Receive();
  ASSERT_FALSE(answer.ok());
  EXPECT_NE(Message(answer.status()).find("refused"), std::string::npos) << Message(answer.status());
  ASSERT_EQ(client.Connect(vip_), 0) << "dialling again finds the new endpoint";
  ASSERT_OK(client.Send("?"));
  EXPECT_EQ((*client.Receive())[0], 1);
}

TEST_F(UdpTest, AbandonedSocketsLeaveNothingBehind) {
  // Storage dies with the socket: thousands of flows, no map to fill, no other flow disturbed.
  Socket keeper = OpenInside(AF_INET);
  const int id = Ask(keeper, vip_);
  EXPECT_OK(node_->Run([&]() -> Result<std::string> {
    for (int i = 0; i < 3000; ++i) {
      Socket socket = Socket::Open(AF_INET, SOCK_DGRAM);
      RETURN_IF_ERROR(socket.SendTo(vip_, "?"));
      CLIENT_CHECK(socket.ReceiveFrom().ok());
    }
    return std::string();
  }));
  EXPECT_EQ(Ask(keeper, vip_), id);
}

}  // namespace
}  // namespace weir::kernel_test
