// What a client gets when there is nothing to choose from: passed on, refused, or refused in proportion.
#include <fcntl.h>
#include <poll.h>

#include <cerrno>
#include <cstring>

#include "tests/kernel/harness/fixture.h"

namespace weir::kernel_test {
namespace {

class EmptyTest : public NodeTest {
 protected:
  void Prepare() override {
    ASSERT_NO_FATAL_FAILURE(NodeTest::Prepare());
    servers_.AddTcp(first_, 0);
    servers_.AddUdp(first_, 0);
    servers_.AddTcp(vip_, 99);  // whoever is behind the VIP when the call passes: kube-proxy, say
    servers_.AddUdp(vip_, 99);
    servers_.AddTcp(vip6_, 98);
  }

  Frontend Empty(OnEmpty on_empty, Protocol protocol, const SocketAddress& vip) {
    Frontend frontend = MakeFrontend(vip, {80, 20}, protocol);
    frontend.on_empty = on_empty;
    return frontend;
  }

  /// The errno of connect(), 0 when it worked, inside the node.
  int Connect(int type, const SocketAddress& to, Mapped mapped = Mapped::kNo, bool nonblocking = false) {
    const auto result = node_->Run([&]() -> Result<std::string> {
      const SockAddr address = ToSockAddr(to, mapped);
      Socket socket = Socket::Open(address.family(), type);
      if (nonblocking) fcntl(socket.fd(), F_SETFL, O_NONBLOCK);
      return std::to_string(socket.Connect(address));
    });
    EXPECT_OK(result);
    return result.ok() ? std::stoi(*result) : -1;
  }
  int SendTo(const SocketAddress& to, Mapped mapped = Mapped::kNo) {
    const auto result = node_->Run([&]() -> Result<std::string> {
      const SockAddr address = ToSockAddr(to, mapped);
      Socket socket = Socket::Open(address.family(), SOCK_DGRAM);
      return std::to_string(sendto(socket.fd(), "?", 1, 0, address.get(), address.length) == 1 ? 0 : errno);
    });
    EXPECT_OK(result);
    return result.ok() ? std::stoi(*result) : -1;
  }

  const SocketAddress vip_ = Address("127.96.0.1", 80), vip6_ = Address("fd00::9600:1", 80);
  const SocketAddress first_ = Address("127.1.0.1", 8080);
};

TEST_F(EmptyTest, PassLeavesTheCallUnchanged) {
  ASSERT_OK(
      node_->Apply({Empty(OnEmpty::kPass, Protocol::kTcp, vip_), Empty(OnEmpty::kPass, Protocol::kUdp, vip_),
                    Empty(OnEmpty::kPass, Protocol::kTcp, vip6_)}));
  const auto ids = node_->Run([&]() -> Result<std::string> {
    ASSIGN_OR_RETURN(const uint8_t tcp, Fetch(vip_));
    ASSIGN_OR_RETURN(const uint8_t mapped, Fetch(vip_, Mapped::kYes));
    ASSIGN_OR_RETURN(const uint8_t udp, FetchUdp(vip_));
    ASSIGN_OR_RETURN(const uint8_t tcp6, Fetch(vip6_));
    return std::string(
        {static_cast<char>(tcp), static_cast<char>(mapped), static_cast<char>(udp), static_cast<char>(tcp6)});
  });
  ASSERT_OK(ids);
  EXPECT_EQ(*ids, std::string({99, 99, 99, 98}));
}

TEST_F(EmptyTest, RefuseIsEconnrefusedForEveryCall) {
  ASSERT_OK(node_->Apply(
      {Empty(OnEmpty::kRefuse, Protocol::kTcp, vip_), Empty(OnEmpty::kRefuse, Protocol::kUdp, vip_),
       Empty(OnEmpty::kRefuse, Protocol::kTcp, vip6_), Empty(OnEmpty::kRefuse, Protocol::kUdp, vip6_)}));
  EXPECT_EQ(Connect(SOCK_STREAM, vip_), ECONNREFUSED);
  EXPECT_EQ(Connect(SOCK_STREAM, vip_, Mapped::kNo, true), ECONNREFUSED) << "non-blocking";
  EXPECT_EQ(Connect(SOCK_STREAM, vip_, Mapped::kYes), ECONNREFUSED);
  EXPECT_EQ(Connect(SOCK_STREAM, vip6_), ECONNREFUSED);
  EXPECT_EQ(Connect(SOCK_DGRAM, vip_), ECONNREFUSED);
  EXPECT_EQ(Connect(SOCK_DGRAM, vip_, Mapped::kYes), ECONNREFUSED);
  EXPECT_EQ(Connect(SOCK_DGRAM, vip6_), ECONNREFUSED);
  EXPECT_EQ(SendTo(vip_), ECONNREFUSED);
  EXPECT_EQ(SendTo(vip_, Mapped::kYes), ECONNREFUSED);
  EXPECT_EQ(SendTo(vip6_), ECONNREFUSED);
  EXPECT_EQ(servers_.Total(), 0U);
}

TEST_F(EmptyTest, RefusedSocketCanBeUsedAgain) {
  Frontend frontend = Empty(OnEmpty::kRefuse, Protocol::kTcp, vip_);
  ASSERT_OK(node_->Apply(frontend));
  Socket socket = node_->OpenSocket(AF_INET, SOCK_STREAM);
  EXPECT_EQ(socket.Connect(vip_), ECONNREFUSED);
  frontend.variants[0].endpoints = {first_};
  ASSERT_OK(node_->Apply(frontend));
  EXPECT_EQ(socket.Connect(vip_), 0);
  EXPECT_EQ(ToString(socket.Peer()), ToString(vip_));
}

TEST_F(EmptyTest, EmptyVariantGivesItsShareToTheOthers) {
  Frontend frontend = Empty(OnEmpty::kRefuse, Protocol::kTcp, vip_);
  frontend.variants[0].endpoints = {first_};
  ASSERT_OK(node_->Apply(frontend));
  const auto ids = node_->Run([&] { return FetchMany(vip_, 50); });
  ASSERT_OK(ids);
  EXPECT_EQ(*ids, std::string(50, 0));
}

// Three variants of which one is empty: the others keep their proportion to one another.
TEST_F(EmptyTest, EmptyVariantsShareGoesInProportion) {
  const SocketAddress second = Address("127.1.1.1", 8080);
  servers_.AddTcp(second, 1);
  Frontend frontend = MakeFrontend(vip_, {60, 30, 10}, {{first_}, {second}, {}});
  ASSERT_OK(node_->Apply(frontend));
  const auto ids = node_->Run([&] { return FetchMany(vip_, 100); });
  ASSERT_OK(ids);
  EXPECT_TRUE(IsExactAtEveryPrefix(*ids, {60, 30}, {0, 1}));
}

TEST_F(EmptyTest, VariantOfWeightZeroIsNoSubstitute) {
  Frontend frontend = MakeFrontend(vip_, {100, 0}, {{}, {first_}});
  frontend.on_empty = OnEmpty::kRefuse;
  ASSERT_OK(node_->Apply(frontend));
  EXPECT_EQ(Connect(SOCK_STREAM, vip_), ECONNREFUSED);
}

TEST_F(EmptyTest, ProportionalRefusalIsExact) {
  Frontend frontend = Empty(OnEmpty::kRefuseShare, Protocol::kTcp, vip_);
  frontend.variants[0].endpoints = {first_};
  ASSERT_OK(node_->Apply(frontend));
  const auto outcomes = node_->Run([&] { return TryMany(vip_, 200); });
  ASSERT_OK(outcomes);
  EXPECT_TRUE(IsExactAtEveryPrefix(*outcomes, {80, 20}, {0, 1}));
}

TEST_F(EmptyTest, ProportionalRefusalWithNothingAtAllRefusesAll) {
  ASSERT_OK(node_->Apply({Empty(OnEmpty::kRefuseShare, Protocol::kTcp, vip_),
                          Empty(OnEmpty::kRefuseShare, Protocol::kUdp, vip_)}));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Connect(SOCK_STREAM, vip_), ECONNREFUSED);
    EXPECT_EQ(SendTo(vip_), ECONNREFUSED);
  }
}

TEST_F(EmptyTest, FlowOfASocketIsRefusedWhenItsServiceEmpties) {
  Frontend frontend = Empty(OnEmpty::kRefuse, Protocol::kUdp, vip_);
  frontend.variants[0].endpoints = {first_};
  ASSERT_OK(node_->Apply(frontend));
  Socket socket = node_->OpenSocket(AF_INET, SOCK_DGRAM);
  ASSERT_OK(socket.SendTo(vip_, "?"));
  ASSERT_OK(socket.ReceiveFrom());
  frontend.variants[0].endpoints.clear();
  ASSERT_OK(node_->Apply(frontend));
  const Status refused = socket.SendTo(vip_, "?");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(Message(refused).find("refused"), std::string::npos) << Message(refused);
  frontend.variants[0].endpoints = {first_};
  ASSERT_OK(node_->Apply(frontend));
  ASSERT_OK(socket.SendTo(vip_, "?"));
  EXPECT_OK(socket.ReceiveFrom());
}

TEST_F(EmptyTest, RefusalsAndPassesAreCounted) {
  ASSERT_OK(node_->Apply(
      {Empty(OnEmpty::kRefuse, Protocol::kTcp, vip_), Empty(OnEmpty::kPass, Protocol::kTcp, vip6_)}));
  for (int i = 0; i < 3; ++i) Connect(SOCK_STREAM, vip_);
  for (int i = 0; i < 2; ++i) Connect(SOCK_STREAM, vip6_);
  const auto stats = node_->datapath().ReadStats();
  ASSERT_OK(stats);
  uint64_t threes = 0, twos = 0, others = 0;
  for (const auto& counter : stats->counters) {
    if (counter.count == 3)
      ++threes;
    else if (counter.count == 2)
      ++twos;
    else if (counter.count != 0)
      ++others;
  }
  EXPECT_EQ(threes, 1U);
  EXPECT_EQ(twos, 1U);
  EXPECT_EQ(others, 0U);
}

}  // namespace
}  // namespace weir::kernel_test
