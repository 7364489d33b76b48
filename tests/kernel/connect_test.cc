// What a stream socket's connect() and getpeername() owe their caller, in every way a connection can be made.
#include <fcntl.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "tests/kernel/harness/fixture.h"

namespace weir::kernel_test {
namespace {

constexpr int kMptcp = 262;  // IPPROTO_MPTCP, netinet/in.h of newer C libraries

class ConnectTest : public NodeTest {
 protected:
  void Prepare() override {
    ASSERT_NO_FATAL_FAILURE(NodeTest::Prepare());
    servers_.AddTcp(first_, 0);
    servers_.AddTcp(second_, 1);
    servers_.AddTcp(first6_, 10);
    servers_.AddTcp(second6_, 11);
    ASSERT_OK(node_->Apply({MakeFrontend(vip_, {50, 50}, {{first_}, {second_}}),
                            MakeFrontend(vip6_, {50, 50}, {{first6_}, {second6_}})}));
  }

  /// The connections the kernel has counted for the VIP.
  uint64_t Selected(const SocketAddress& vip) {
    uint64_t out = 0;
    const auto counts = node_->datapath().ReadCounts();
    EXPECT_OK(counts);
    for (const auto& split : *counts) {
      if (split.key.address != vip) continue;
      for (const auto& variant : split.variants) out += variant.connections;
    }
    return out;
  }

  const SocketAddress vip_ = Address("127.96.0.1", 80);
  const SocketAddress vip6_ = Address("fd00::9600:1", 80);
  const SocketAddress first_ = Address("127.1.0.1", 8080), second_ = Address("127.1.1.1", 8081);
  const SocketAddress first6_ = Address("fd00::1:1", 8080), second6_ = Address("fd00::1:2", 8081);
  const SocketAddress nobody_ = Address("127.1.9.9", 8080);  // nothing listens there
};

TEST_F(ConnectTest, GetpeernameShowsTheVip) {
  struct Case {
    SocketAddress to;
    Mapped mapped;
  };
  for (const Case& c : {Case{vip_, Mapped::kNo}, Case{vip_, Mapped::kYes}, Case{vip6_, Mapped::kNo}}) {
    SCOPED_TRACE(ToString(c.to));
    EXPECT_OK(node_->Run([&]() -> Result<std::string> {
      for (int i = 0; i < 4; ++i) {
        const SockAddr to = ToSockAddr(c.to, c.mapped);
        Socket socket = Socket::Open(to.family(), SOCK_STREAM);
        CLIENT_CHECK(socket.Connect(to) == 0);
        SockAddr peer;
        peer.length = sizeof(peer.storage);
        CLIENT_CHECK(getpeername(socket.fd(), peer.get(), &peer.length) == 0);
        CLIENT_CHECK(peer.family() == to.family());
        CLIENT_CHECK(peer.length == to.length);
        CLIENT_CHECK(std::memcmp(peer.get(), to.get(), to.length) == 0);
      }
      return std::string();
    }));
  }
  EXPECT_OK(servers_.WaitForTotal(12));
  EXPECT_EQ(servers_.Total(), 12U);
}

TEST_F(ConnectTest, V4MappedOnAnIPv6SocketIsTheV4Vip) {
  const auto ids = node_->Run([&] { return FetchMany(vip_, 10, Mapped::kYes); });
  ASSERT_OK(ids);
  EXPECT_TRUE(IsExactAtEveryPrefix(*ids, {50, 50}, {0, 1}));
  EXPECT_EQ(Selected(vip_), 10U) << "once per connection, not once per hook";
}

TEST_F(ConnectTest, V4AndMappedClientsShareOneCursor) {
  const auto ids = node_->Run([&]() -> Result<std::string> {
    std::string out;
    for (int i = 0; i < 20; ++i) {
      ASSIGN_OR_RETURN(const uint8_t id, Fetch(vip_, i % 2 == 0 ? Mapped::kNo : Mapped::kYes));
      out.push_back(static_cast<char>(id));
    }
    return out;
  });
  ASSERT_OK(ids);
  EXPECT_TRUE(IsExactAtEveryPrefix(*ids, {50, 50}, {0, 1}));
}

TEST_F(ConnectTest, TheCallersSockaddrIsNotModified) {
  EXPECT_OK(node_->Run([&]() -> Result<std::string> {
    for (const auto& [vip, mapped] :
         {std::pair{vip_, Mapped::kNo}, {vip_, Mapped::kYes}, {vip6_, Mapped::kNo}}) {
      SockAddr to = ToSockAddr(vip, mapped);
      const SockAddr before = to;
      Socket socket = Socket::Open(to.family(), SOCK_STREAM);
      CLIENT_CHECK(socket.Connect(to) == 0);
      CLIENT_CHECK(std::memcmp(&to.storage, &before.storage, sizeof(to.storage)) == 0);
    }
    return std::string();
  }));
}

TEST_F(ConnectTest, RetryOnTheSameSocketSelectsAnew) {
  // Variants take turns: of two tries in a row one meets the variant that nobody serves.
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1, 1}, {{first_}, {nobody_}})));
  EXPECT_OK(node_->Run([&]() -> Result<std::string> {
    int refused = 0;
    for (int i = 0; i < 10; ++i) {
      Socket socket = Socket::Open(AF_INET, SOCK_STREAM);
      int error = socket.Connect(vip_);
      if (error == ECONNREFUSED) {
        ++refused;
        error = socket.Connect(vip_);
      }
      CLIENT_CHECK(error == 0);
      CLIENT_CHECK(socket.Peer() == vip_);
      const auto id = socket.Receive();
      CLIENT_CHECK(id.ok() && (*id)[0] == 0);
    }
    CLIENT_CHECK(refused >= 9);
    return std::string();
  }));
}

TEST_F(ConnectTest, SecondConnectAfterEinprogressDoesNotSelectAgain) {
  EXPECT_OK(node_->Run([&]() -> Result<std::string> {
    for (int i = 0; i < 20; ++i) {
      Socket socket = Socket::Open(AF_INET, SOCK_STREAM);
      fcntl(socket.fd(), F_SETFL, O_NONBLOCK);
      CLIENT_CHECK(socket.Connect(vip_) == EINPROGRESS);
      const int again = socket.Connect(vip_);
      CLIENT_CHECK(again == 0 || again == EALREADY || again == EISCONN);
      pollfd waiting{socket.fd(), POLLOUT, 0};
      CLIENT_CHECK(poll(&waiting, 1, 5000) == 1);
      const int last = socket.Connect(vip_);
      CLIENT_CHECK(last == 0 || last == EISCONN);
      CLIENT_CHECK(socket.Peer() == vip_);
      fcntl(socket.fd(), F_SETFL, 0);
      CLIENT_CHECK(socket.Receive().ok());
    }
    return std::string();
  }));
  EXPECT_EQ(Selected(vip_), 20U);
  EXPECT_EQ(servers_.Total(), 20U);
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {50, 50}, {0, 1}));
}

TEST_F(ConnectTest, NonblockingRefusalIsReportedAsSuch) {
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{nobody_}})));
  EXPECT_OK(node_->Run([&]() -> Result<std::string> {
    Socket socket = Socket::Open(AF_INET, SOCK_STREAM);
    fcntl(socket.fd(), F_SETFL, O_NONBLOCK);
    int error = socket.Connect(vip_);
    if (error == EINPROGRESS) {
      pollfd waiting{socket.fd(), POLLOUT, 0};
      CLIENT_CHECK(poll(&waiting, 1, 5000) == 1);
      socklen_t size = sizeof(error);
      CLIENT_CHECK(getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &size) == 0);
    }
    CLIENT_CHECK(error == ECONNREFUSED);
    return std::string();
  }));
}

TEST_F(ConnectTest, SendtoWithMsgFastopen) {
  WriteFile("/proc/sys/net/ipv4/tcp_fastopen", "3");
  EXPECT_OK(node_->Run([&]() -> Result<std::string> {
    for (int i = 0; i < 10; ++i) {
      Socket socket = Socket::Open(AF_INET, SOCK_STREAM);
      const SockAddr to = ToSockAddr(vip_);
      CLIENT_CHECK(sendto(socket.fd(), "hello", 5, MSG_FASTOPEN, to.get(), to.length) == 5);
      CLIENT_CHECK(socket.Peer() == vip_);
      std::string all;
      while (all.size() < 6) {
        const auto data = socket.Receive();
        CLIENT_CHECK(data.ok() && !data->empty());
        all += *data;
      }
      CLIENT_CHECK(all.substr(1) == "hello");
    }
    return std::string();
  }));
  EXPECT_EQ(Selected(vip_), 10U);
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {50, 50}, {0, 1}));
}

TEST_F(ConnectTest, TcpFastopenConnect) {
  WriteFile("/proc/sys/net/ipv4/tcp_fastopen", "3");
  EXPECT_OK(node_->Run([&]() -> Result<std::string> {
    for (int i = 0; i < 10; ++i) {
      Socket socket = Socket::Open(AF_INET, SOCK_STREAM);
      const int on = 1;
      CLIENT_CHECK(setsockopt(socket.fd(), IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on)) == 0);
      CLIENT_CHECK(socket.Connect(vip_) == 0);  // with a cookie, nothing is sent before the first write
      CLIENT_CHECK(socket.Send("hello").ok());
      CLIENT_CHECK(socket.Peer() == vip_);
      CLIENT_CHECK(socket.Receive().ok());
    }
    return std::string();
  }));
  EXPECT_EQ(Selected(vip_), 10U) << "the deferred connect must not select twice";
  EXPECT_EQ(servers_.Total(), 10U);
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {50, 50}, {0, 1}));
}

TEST_F(ConnectTest, IoUringConnect) {
  const auto outcome = node_->Run([&]() -> Result<std::string> {
    io_uring ring;
    if (const int error = io_uring_queue_init(8, &ring, 0); error < 0)
      return "skip: " + std::string(strerror(-error));
    for (int i = 0; i < 10; ++i) {
      for (const auto& [vip, mapped] : {std::pair{vip_, Mapped::kNo}, {vip_, Mapped::kYes}}) {
        const SockAddr to = ToSockAddr(vip, mapped);
        Socket socket = Socket::Open(to.family(), SOCK_STREAM);
        io_uring_sqe* entry = io_uring_get_sqe(&ring);
        io_uring_prep_connect(entry, socket.fd(), to.get(), to.length);
        CLIENT_CHECK(io_uring_submit(&ring) == 1);
        io_uring_cqe* done = nullptr;
        CLIENT_CHECK(io_uring_wait_cqe(&ring, &done) == 0);
        CLIENT_CHECK(done->res == 0);
        io_uring_cqe_seen(&ring, done);
        CLIENT_CHECK(socket.Peer() == vip_);
        CLIENT_CHECK(socket.Receive().ok());
      }
    }
    io_uring_queue_exit(&ring);
    return std::string();
  });
  ASSERT_OK(outcome);
  if (outcome->starts_with("skip")) GTEST_SKIP() << "io_uring_setup: " << *outcome;
  EXPECT_EQ(Selected(vip_), 20U);
  EXPECT_EQ(servers_.Total(), 20U);
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {50, 50}, {0, 1}));
}

TEST_F(ConnectTest, Mptcp) {
  const int probe = socket(AF_INET, SOCK_STREAM, kMptcp);
  if (probe < 0) GTEST_SKIP() << "socket(IPPROTO_MPTCP): " << std::strerror(errno);
  close(probe);
  const std::vector<SocketAddress> endpoints = {Address("127.1.2.1", 8080), Address("127.1.2.2", 8080)};
  for (int i = 0; i < 2; ++i) servers_.AddTcp(endpoints[i], i, -1, kMptcp);
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {50, 50}, {{endpoints[0]}, {endpoints[1]}})));
  EXPECT_OK(node_->Run([&]() -> Result<std::string> {
    for (int i = 0; i < 10; ++i) {
      for (const Mapped mapped : {Mapped::kNo, Mapped::kYes}) {
        const SockAddr to = ToSockAddr(vip_, mapped);
        Socket socket = Socket::Open(to.family(), SOCK_STREAM, kMptcp);
        CLIENT_CHECK(socket.Connect(to) == 0);
        CLIENT_CHECK(socket.Peer() == vip_);
        CLIENT_CHECK(socket.Receive().ok());
        CLIENT_CHECK(socket.Peer() == vip_);
      }
    }
    return std::string();
  }));
  EXPECT_EQ(Selected(vip_), 20U);
  EXPECT_EQ(servers_.Total(), 20U);
  EXPECT_TRUE(IsExactAtEveryPrefix(servers_.Log(), {50, 50}, {0, 1}));
}

/// How many subflows beside the first one an MPTCP socket has; -1 when it cannot be told.
int FurtherSubflows(const Socket& socket) {
  constexpr int kSolMptcp = 284, kMptcpInfo = 1;  // linux/mptcp.h: the first byte is mptcpi_subflows
  std::array<unsigned char, 256> info{};
  socklen_t length = info.size();
  return getsockopt(socket.fd(), kSolMptcp, kMptcpInfo, info.data(), &length) == 0 ? info[0] : -1;
}

// The kernel's path manager connects further subflows itself, to the endpoint's own address. They come
// through the hook like any connect(), and are no connections of the client.
TEST_F(ConnectTest, MptcpKeepsItsPeersNameWithAFurtherSubflow) {
  const int probe = socket(AF_INET, SOCK_STREAM, kMptcp);
  if (probe < 0) GTEST_SKIP() << "socket(IPPROTO_MPTCP): " << std::strerror(errno);
  close(probe);
  if (std::system("ip mptcp limits set subflows 2 add_addr_accepted 2 && "
                  "ip mptcp endpoint add 127.0.0.9 dev lo subflow") != 0)
    GTEST_SKIP() << "ip mptcp: not available";
  const SocketAddress endpoint = Address("127.1.2.1", 8080);
  servers_.AddTcp(endpoint, 0, -1, kMptcp);
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{endpoint}})));
  EXPECT_OK(node_->Run([&]() -> Result<std::string> {
    Socket socket = Socket::Open(AF_INET, SOCK_STREAM, kMptcp);
    CLIENT_CHECK(socket.Connect(vip_) == 0);
    CLIENT_CHECK(socket.Receive().ok());
    for (int i = 0; i < 1000 && FurtherSubflows(socket) < 1; ++i) {
      // The other end must have been heard of before there is a second one.
      CLIENT_CHECK(socket.Send("x").ok() && socket.Receive().ok());
      usleep(1000);
    }
    CLIENT_CHECK(FurtherSubflows(socket) >= 1);
    CLIENT_CHECK(socket.Peer() == vip_);
    CLIENT_CHECK(socket.Send("y").ok() && socket.Receive().ok());
    CLIENT_CHECK(socket.Peer() == vip_);
    return std::string();
  }));
  EXPECT_EQ(std::system("ip mptcp endpoint flush"), 0);
  EXPECT_EQ(servers_.Total(), 1U);
}

TEST_F(ConnectTest, MptcpSocketThatWasRefusedAtTheVipAndThenDialsTheEndpointItself) {
  const int probe = socket(AF_INET, SOCK_STREAM, kMptcp);
  if (probe < 0) GTEST_SKIP() << "socket(IPPROTO_MPTCP): " << std::strerror(errno);
  close(probe);
  const SocketAddress late = Address("127.1.2.9", 8080);
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{late}})));
  Socket client = node_->OpenSocket(AF_INET, SOCK_STREAM, kMptcp);
  ASSERT_EQ(client.Connect(vip_), ECONNREFUSED);
  servers_.AddTcp(late, 5, -1, kMptcp);
  ASSERT_EQ(client.Connect(late), 0);
  EXPECT_EQ(ToString(client.Peer()), ToString(late));
}

// The record of the first connection must not be taken for the second's.
TEST_F(ConnectTest, SocketThatReconnectsToTheEndpointItselfIsNotTranslated) {
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{first_}})));
  EXPECT_OK(node_->Run([&]() -> Result<std::string> {
    Socket socket = Socket::Open(AF_INET, SOCK_STREAM);
    CLIENT_CHECK(socket.Connect(vip_) == 0);
    CLIENT_CHECK(socket.Peer() == vip_);
    const sockaddr none{.sa_family = AF_UNSPEC, .sa_data = {}};
    CLIENT_CHECK(connect(socket.fd(), &none, sizeof(none)) == 0);
    CLIENT_CHECK(socket.Peer() == SocketAddress());
    CLIENT_CHECK(socket.Connect(first_) == 0);
    CLIENT_CHECK(socket.Peer() == first_);
    CLIENT_CHECK(connect(socket.fd(), &none, sizeof(none)) == 0);
    CLIENT_CHECK(socket.Connect(vip_) == 0);
    CLIENT_CHECK(socket.Peer() == vip_);
    return std::string();
  }));
}

TEST_F(ConnectTest, TwoConnectionsToOneEndpointOneThroughTheVip) {
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{first_}})));
  EXPECT_OK(node_->Run([&]() -> Result<std::string> {
    Socket through = Socket::Open(AF_INET, SOCK_STREAM), direct = Socket::Open(AF_INET, SOCK_STREAM);
    CLIENT_CHECK(through.Connect(vip_) == 0 && direct.Connect(first_) == 0);
    CLIENT_CHECK(through.Peer() == vip_ && direct.Peer() == first_);
    return std::string();
  }));
}

// Without NAT the 4-tuple is the real one: the kernel itself keeps a bound source port from being used twice.
TEST_F(ConnectTest, SameSourcePortThroughTheVipAndDirectly) {
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{first_}})));
  EXPECT_OK(node_->Run([&]() -> Result<std::string> {
    Socket direct = Socket::Open(AF_INET, SOCK_STREAM), through = Socket::Open(AF_INET, SOCK_STREAM);
    const SocketAddress source = Address("127.0.0.1", 9777);
    RETURN_IF_ERROR(direct.Bind(source));
    RETURN_IF_ERROR(through.Bind(source));
    CLIENT_CHECK(direct.Connect(first_) == 0);
    CLIENT_CHECK(through.Connect(vip_) == EADDRNOTAVAIL);
    direct.Close();
    CLIENT_CHECK(through.Connect(vip_) == 0);
    CLIENT_CHECK(through.Receive().ok());
    return std::string();
  }));
}

// IP_BIND_ADDRESS_NO_PORT leaves the port to connect(): more connections than ports, to two endpoints.
TEST_F(ConnectTest, BindAddressNoPortSharesPortsBetweenEndpoints) {
  EXPECT_OK(node_->Run([&]() -> Result<std::string> {
    WriteFile("/proc/sys/net/ipv4/ip_local_port_range", "20000 20019");
    std::vector<Socket> sockets;
    for (int i = 0; i < 40; ++i) {
      sockets.push_back(Socket::Open(AF_INET, SOCK_STREAM));
      const int on = 1;
      CLIENT_CHECK(setsockopt(sockets.back().fd(), IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &on,
                              sizeof(on)) == 0);
      RETURN_IF_ERROR(sockets.back().Bind(Address("127.0.0.1", 0)));
      const int error = sockets.back().Connect(vip_);
      if (error != 0) return Error(absl::StatusCode::kInternal, "connection {}: {}", i, std::strerror(error));
    }
    return std::string();
  }));
  WriteFile("/proc/sys/net/ipv4/ip_local_port_range", "10000 65000");
}

TEST_F(ConnectTest, UnknownAddressesAreLeftAlone) {
  const SocketAddress other_port = Address("127.96.0.1", 81), other_address = Address("127.96.0.2", 80);
  servers_.AddTcp(other_port, 50);
  servers_.AddTcp(other_address, 51);
  const auto ids = node_->Run([&]() -> Result<std::string> {
    std::string out;
    for (const auto& to : {other_port, other_address, first_, second6_}) {
      Socket socket = Socket::Open(ToSockAddr(to).family(), SOCK_STREAM);
      CLIENT_CHECK(socket.Connect(to) == 0);
      CLIENT_CHECK(socket.Peer() == to);
      const auto id = socket.Receive();
      CLIENT_CHECK(id.ok());
      out += *id;
    }
    return out;
  });
  ASSERT_OK(ids);
  EXPECT_EQ(*ids, std::string({50, 51, 0, 11}));
  EXPECT_EQ(Selected(vip_), 0U);
}

TEST_F(ConnectTest, TheSameAddressOfTheOtherProtocolIsLeftAlone) {
  servers_.AddUdp(vip_, 60);
  const auto id = node_->Run([&]() -> Result<std::string> {
    ASSIGN_OR_RETURN(const uint8_t from, FetchUdp(vip_));
    return std::string(1, static_cast<char>(from));
  });
  ASSERT_OK(id);
  EXPECT_EQ(*id, std::string(1, 60));
  EXPECT_EQ(Selected(vip_), 0U);
}

TEST_F(ConnectTest, RemovedVipIsLeftAlone) {
  servers_.AddTcp(vip_, 70);
  ASSERT_OK(node_->Apply({}, {{vip_, Protocol::kTcp}}));
  const auto ids = node_->Run([&] { return FetchMany(vip_, 3); });
  ASSERT_OK(ids);
  EXPECT_EQ(*ids, std::string(3, 70));
}

TEST_F(ConnectTest, ClientsOutsideTheCgroupAreLeftAlone) {
  servers_.AddTcp(vip_, 70);
  const Cgroup elsewhere("elsewhere");
  const auto ids = RunIn(elsewhere.path(), [&] { return FetchMany(vip_, 3); });
  ASSERT_OK(ids);
  EXPECT_EQ(*ids, std::string(3, 70));
}

TEST_F(ConnectTest, ClientsInCgroupsBelowAreSteered) {
  const Cgroup below(node_->cgroup(), "pod");
  const Cgroup deeper(below.path(), "container");
  const auto ids = RunIn(deeper.path(), [&] { return FetchMany(vip_, 10); });
  ASSERT_OK(ids);
  EXPECT_TRUE(IsExactAtEveryPrefix(*ids, {50, 50}, {0, 1}));
}

// A container may have a cgroup namespace of its own: its root is not the machine's.
TEST_F(ConnectTest, ClientsInACgroupNamespaceAreSteered) {
  const Cgroup below(node_->cgroup(), "namespaced");
  const auto ids = RunIn(below.path(), [&]() -> Result<std::string> {
    CLIENT_CHECK(unshare(CLONE_NEWCGROUP) == 0);
    return FetchMany(vip_, 10);
  });
  ASSERT_OK(ids);
  EXPECT_TRUE(IsExactAtEveryPrefix(*ids, {50, 50}, {0, 1}));
}

// A server that dials its own Service and is chosen itself.
TEST_F(ConnectTest, ServiceThatDialsItself) {
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{first_}})));
  EXPECT_OK(node_->Run([&]() -> Result<std::string> {
    Socket listener = Socket::Open(AF_INET, SOCK_STREAM), client = Socket::Open(AF_INET, SOCK_STREAM);
    const SocketAddress self = Address("127.1.7.7", 8080);
    RETURN_IF_ERROR(listener.Bind(self));
    CLIENT_CHECK(listen(listener.fd(), 8) == 0);
    RETURN_IF_ERROR(client.Bind(Address("127.1.7.7", 0)));
    CLIENT_CHECK(client.Connect(vip_) == 0);
    CLIENT_CHECK(client.Peer() == vip_);
    CLIENT_CHECK(client.Local().address == self.address);
    return std::string();
  }));
}

// Connections that were made stay where they are, whatever becomes of the split.
TEST_F(ConnectTest, EstablishedConnectionsOutliveTheirEndpointsWeight) {
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{first_}})));
  Socket client = node_->OpenSocket(AF_INET, SOCK_STREAM);
  ASSERT_EQ(client.Connect(vip_), 0);
  ASSERT_EQ(*client.Receive(), std::string(1, 0));
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {0, 1}, {{first_}, {second_}})));
  ASSERT_OK(client.Send("still there?"));
  EXPECT_EQ(*client.Receive(), "still there?");
  ASSERT_OK(node_->Apply({}, {{vip_, Protocol::kTcp}}));
  ASSERT_OK(client.Send("and now?"));
  EXPECT_EQ(*client.Receive(), "and now?");
  EXPECT_EQ(ToString(client.Peer()), ToString(vip_));
}

TEST_F(ConnectTest, NothingWentWrongInTheHooks) {
  ASSERT_OK(node_->Run([&] { return FetchMany(vip_, 50); }));
  const auto stats = node_->datapath().ReadStats();
  ASSERT_OK(stats);
  ASSERT_FALSE(stats->counters.empty());
  for (const auto& counter : stats->counters) {
    if (counter.is_error) {
      EXPECT_EQ(counter.count, 0U) << counter.name;
    }
  }
}

}  // namespace
}  // namespace weir::kernel_test
