// What the kernel counted of TCP connections, against what both their ends know.
#include "tests/kernel/harness/figures.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>

#include "tests/kernel/harness/fixture.h"
#include "tests/kernel/harness/pair.h"

namespace weir::kernel_test {
namespace {

using datapath::Series;

constexpr int kMptcp = 262;  // IPPROTO_MPTCP, netinet/in.h of newer C libraries

class FiguresTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) return;
    node_ = std::make_unique<TestNode>();
    ASSERT_OK(node_->Open());
    listener_ = std::make_unique<Listener>(endpoint_);
    listener6_ = std::make_unique<Listener>(endpoint6_);
    ASSERT_OK(node_->Apply({Named(MakeFrontend(vip_, {1}, {{endpoint_}})),
                            Named(MakeFrontend(vip6_, {1}, {{endpoint6_}}), "checkout6")}));
  }

  Series Read() { return ReadSeries(*node_, "checkout", "v0"); }
  /// Once everything that was opened is closed.
  Series ReadClosed() {
    Series series;
    EXPECT_TRUE(Eventually([&] {
      series = Read();
      return series.opened == series.closed;
    })) << series.opened
        << " opened, " << series.closed << " closed";
    return series;
  }
  /// One connect() to the frontend of that endpoint; its errno.
  int DialTo(const SocketAddress& endpoint) {
    EXPECT_OK(node_->Apply(Named(MakeFrontend(vip_, {1}, {{endpoint}}))));
    Socket socket = node_->OpenSocket(AF_INET, SOCK_STREAM);
    return socket.Connect(vip_);
  }

  const SocketAddress vip_ = Address("127.96.0.1", 80), vip6_ = Address("fd00::9600:1", 80);
  const SocketAddress endpoint_ = Address("127.1.0.1", 8080), endpoint6_ = Address("fd00::1:1", 8080);
  std::unique_ptr<Listener> listener_, listener6_;
  std::unique_ptr<TestNode> node_;
};

TEST_F(FiguresTest, ConnectionIsOpenThenClosed) {
  Pair pair = Connect(*node_, vip_, *listener_);
  Series series = Read();
  EXPECT_EQ(series.opened, 1U);
  EXPECT_EQ(series.closed, 0U);
  EXPECT_EQ(series.connect.count(), 1U);
  EXPECT_GT(series.connect.sum_ns, 0U);
  EXPECT_EQ(series.srtt.count(), 0U) << "taken as it closes";
  pair.client.Close();
  pair.server.Close();
  series = ReadClosed();
  EXPECT_EQ(series.srtt.count(), 1U);
  EXPECT_EQ(series.bytes_sent, 0U) << "neither SYN nor FIN";
  EXPECT_EQ(series.bytes_received, 0U);
  EXPECT_EQ(series.resets_received, 0U);
  EXPECT_EQ(Failed(series), 0U);
  EXPECT_TRUE(series.in_force);
}

TEST_F(FiguresTest, BytesOfLivingConnectionsAreExact) {
  Pair pair = Connect(*node_, vip_, *listener_);
  uint64_t sent = 0, received = 0;
  for (const size_t size : {1, 2, 1447, 1448, 1449, 65535, 65536, 3000001}) {
    Transfer(pair.client, pair.server, size);
    sent += size;
    EXPECT_EQ(Read().bytes_sent, sent);
    EXPECT_EQ(Read().bytes_received, received);
    Transfer(pair.server, pair.client, size + 7);
    received += size + 7;
    EXPECT_EQ(Read().bytes_sent, sent);
    EXPECT_EQ(Read().bytes_received, received);
  }
  // Half closed: a FIN is no byte, in either direction.
  shutdown(pair.client.fd(), SHUT_WR);
  EXPECT_EQ(Drain(pair.server), 0U);
  EXPECT_EQ(Read().bytes_sent, sent);
  Transfer(pair.server, pair.client, 100);
  shutdown(pair.server.fd(), SHUT_WR);
  EXPECT_EQ(Drain(pair.client), 0U);
  const Series series = ReadClosed();
  EXPECT_EQ(series.bytes_sent, sent);
  EXPECT_EQ(series.bytes_received, received + 100);
}

/// Ends a connection, the first end first: by close(), or by a half close that the other end answers.
void End(Socket& first, Socket& second, bool half) {
  if (half) {
    shutdown(first.fd(), SHUT_WR);
  } else {
    first.Close();
  }
  Drain(second);
  second.Close();
  if (half) Drain(first);
  first.Close();
}

TEST_F(FiguresTest, BytesOfClosedConnectionsAreExact) {
  uint64_t sent = 0, received = 0, opened = 0;
  for (const size_t up : {0, 1, 1449, 200000}) {
    for (const size_t down : {0, 1, 65536, 1000000}) {
      for (const int how : {0, 1, 2, 3}) {
        Pair pair = Connect(*node_, vip_, *listener_);
        Transfer(pair.client, pair.server, up);
        Transfer(pair.server, pair.client, down);
        const bool client_first = how % 2 == 0;
        End(client_first ? pair.client : pair.server, client_first ? pair.server : pair.client, how >= 2);
        sent += up;
        received += down;
        ++opened;
        const Series series = ReadClosed();
        ASSERT_EQ(series.bytes_sent, sent) << up << " " << down << " " << how;
        ASSERT_EQ(series.bytes_received, received) << up << " " << down << " " << how;
      }
    }
  }
  const Series series = Read();
  EXPECT_EQ(series.opened, opened);
  EXPECT_EQ(series.resets_received, 0U);
  EXPECT_EQ(series.srtt.count(), opened);
}

TEST_F(FiguresTest, ResetsReceivedAreThoseOfThePeer) {
  Pair pair = Connect(*node_, vip_, *listener_);
  Transfer(pair.client, pair.server, 10);
  const linger reset{.l_onoff = 1, .l_linger = 0};
  ASSERT_EQ(setsockopt(pair.server.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
  pair.server.Close();
  Series series = ReadClosed();
  EXPECT_EQ(series.resets_received, 1U);
  EXPECT_EQ(series.bytes_sent, 10U);

  // The client's own reset is none.
  pair = Connect(*node_, vip_, *listener_);
  ASSERT_EQ(setsockopt(pair.client.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
  pair.client.Close();
  series = ReadClosed();
  EXPECT_EQ(series.opened, 2U);
  EXPECT_EQ(series.resets_received, 1U);

  // Nor is one without a connection: that is a refusal.
  EXPECT_EQ(DialTo(Address("127.1.9.9", 8080)), ECONNREFUSED);
  series = Read();
  EXPECT_EQ(series.resets_received, 1U);
  EXPECT_EQ(Failed(series, "refused"), 1U);

  // After the peer's FIN the kernel says EPIPE instead of ECONNRESET: a reset all the same.
  ASSERT_OK(node_->Apply(Named(MakeFrontend(vip_, {1}, {{endpoint_}}))));
  pair = Connect(*node_, vip_, *listener_);
  pair.server.Close();
  EXPECT_EQ(Drain(pair.client), 0U);
  ASSERT_EQ(send(pair.client.fd(), "late", 4, MSG_NOSIGNAL), 4);
  series = ReadClosed();
  EXPECT_EQ(series.resets_received, 2U);
  EXPECT_EQ(series.bytes_sent, 14U);
}

TEST_F(FiguresTest, RefusedConnections) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(DialTo(Address("127.1.9.9", 8080)), ECONNREFUSED);
  const Series series = Read();
  EXPECT_EQ(Failed(series, "refused"), 3U);
  EXPECT_EQ(Failed(series), 3U);
  EXPECT_EQ(series.opened, 0U);
  EXPECT_EQ(series.closed, 0U);
  EXPECT_EQ(series.connect.count(), 0U);
}

TEST_F(FiguresTest, UnreachableBeforeASynIsSent) {
  ASSERT_EQ(std::system("ip route add unreachable 127.9.0.1/32 table local && "
                        "ip route add prohibit 127.9.0.2/32 table local"),
            0);
  EXPECT_EQ(DialTo(Address("127.9.0.1", 8080)), EHOSTUNREACH);
  EXPECT_EQ(Failed(Read(), "unreachable"), 1U) << "counted when the socket was closed";
  EXPECT_EQ(DialTo(Address("127.9.0.2", 8080)), EACCES);
  EXPECT_EQ(Failed(Read(), "unreachable"), 2U);

  // The same socket again: the former attempt is counted with the next, and with one to somewhere else.
  ASSERT_OK(node_->Apply(Named(MakeFrontend(vip_, {1}, {{Address("127.9.0.1", 8080)}}))));
  Socket socket = node_->OpenSocket(AF_INET, SOCK_STREAM);
  EXPECT_EQ(socket.Connect(vip_), EHOSTUNREACH);
  EXPECT_EQ(socket.Connect(vip_), EHOSTUNREACH);
  EXPECT_EQ(Failed(Read(), "unreachable"), 3U);
  EXPECT_EQ(socket.Connect(endpoint_), 0);
  EXPECT_EQ(Failed(Read(), "unreachable"), 4U);
  socket.Close();
  const Series series = Read();
  EXPECT_EQ(Failed(series), 4U);
  EXPECT_EQ(series.opened, 0U) << "the endpoint itself is not the VIP";
  EXPECT_EQ(std::system("ip route del unreachable 127.9.0.1/32 table local && "
                        "ip route del prohibit 127.9.0.2/32 table local"),
            0);
}

TEST_F(FiguresTest, TimedOutAndCanceled) {
  // A full queue of connections that nobody accepts: further SYNs are dropped.
  const SocketAddress full = Address("127.1.0.9", 8080);
  Listener silent(full, 0);
  WriteFile("/proc/sys/net/ipv4/tcp_syn_linear_timeouts", "0");
  ASSERT_OK(node_->Apply(Named(MakeFrontend(vip_, {1}, {{full}}))));
  Socket filler = Socket::Open(AF_INET, SOCK_STREAM);
  ASSERT_EQ(filler.Connect(full), 0);

  Socket patient = node_->OpenSocket(AF_INET, SOCK_STREAM);
  const int once = 1;
  ASSERT_EQ(setsockopt(patient.fd(), IPPROTO_TCP, TCP_SYNCNT, &once, sizeof once), 0);

  Socket hasty = node_->OpenSocket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
  EXPECT_EQ(hasty.Connect(vip_), EINPROGRESS);
  Series series = Read();
  EXPECT_EQ(series.opened, 0U);
  EXPECT_EQ(Failed(series), 0U);
  hasty.Close();
  series = Read();
  EXPECT_EQ(Failed(series, "canceled"), 1U);

  EXPECT_EQ(patient.Connect(vip_), ETIMEDOUT);
  series = Read();
  EXPECT_EQ(Failed(series, "timeout"), 1U);
  EXPECT_EQ(Failed(series), 2U);
  EXPECT_EQ(series.opened, 0U);
  EXPECT_EQ(series.retransmits, 1U) << "the SYN";
}

TEST_F(FiguresTest, NoLocalPortIsAFailureOfItsOwn) {
  Pair pair = Connect(*node_, vip_, *listener_);
  Socket second = node_->OpenSocket(AF_INET, SOCK_STREAM);
  // The very port of the other connection to the same endpoint.
  const int on = 1;
  ASSERT_EQ(setsockopt(second.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
  const SocketAddress local = pair.client.Local();
  Socket first = node_->OpenSocket(AF_INET, SOCK_STREAM);
  ASSERT_EQ(setsockopt(first.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
  const SocketAddress chosen = Address("127.0.0.1", static_cast<uint16_t>(local.port ^ 1));
  ASSERT_OK(first.Bind(chosen));
  ASSERT_OK(second.Bind(chosen));
  EXPECT_EQ(first.Connect(vip_), 0);
  EXPECT_EQ(second.Connect(vip_), EADDRNOTAVAIL);
  const Series series = Read();
  EXPECT_EQ(Failed(series, "other"), 1U);
  EXPECT_EQ(Failed(series), 1U);
  EXPECT_EQ(series.opened, 2U);
}

TEST_F(FiguresTest, OneSocketSeveralConnections) {
  uint64_t sent = 0;
  Socket socket = OpenOrderly(*node_, AF_INET);
  for (uint64_t round = 1; round <= 5; ++round) {
    ASSERT_EQ(socket.Connect(vip_), 0);
    Socket server = listener_->Accept();
    Transfer(socket, server, 1000 * round);
    sent += 1000 * round;
    Series series = Read();
    EXPECT_EQ(series.opened, round);
    EXPECT_EQ(series.closed, round - 1);
    EXPECT_EQ(series.bytes_sent, sent);
    const sockaddr none{.sa_family = AF_UNSPEC, .sa_data = {}};
    ASSERT_EQ(connect(socket.fd(), &none, sizeof none), 0);
    series = Read();
    EXPECT_EQ(series.closed, round);
    EXPECT_EQ(series.bytes_sent, sent);
  }
  // Refused, then accepted: one failure, one more connection.
  EXPECT_EQ(DialTo(Address("127.1.9.9", 8080)), ECONNREFUSED);
  EXPECT_EQ(socket.Connect(vip_), ECONNREFUSED);
  ASSERT_OK(node_->Apply(Named(MakeFrontend(vip_, {1}, {{endpoint_}}))));
  EXPECT_EQ(socket.Connect(vip_), 0);
  socket.Close();
  const Series series = ReadClosed();
  EXPECT_EQ(Failed(series, "refused"), 2U);
  EXPECT_EQ(series.opened, 6U);
  EXPECT_EQ(series.bytes_sent, sent);
}

TEST_F(FiguresTest, AbortedByTheAdministrator) {
  Pair pair = Connect(*node_, vip_, *listener_);
  Transfer(pair.client, pair.server, 5);
  // SOCK_DESTROY: what bpf_sock_destroy() does, too.
  ASSERT_EQ(std::system("ss -K dst 127.1.0.1 dport = 8080 > /dev/null"), 0);
  const Series series = ReadClosed();
  EXPECT_EQ(series.opened, 1U);
  EXPECT_EQ(series.bytes_sent, 5U);
  EXPECT_EQ(series.resets_received, 0U);
}

TEST_F(FiguresTest, FastOpen) {
  WriteFile("/proc/sys/net/ipv4/tcp_fastopen", "519");  // both sides, no cookie needed
  Listener fast(Address("127.1.0.7", 8080));
  ASSERT_OK(node_->Apply(Named(MakeFrontend(vip_, {1}, {{Address("127.1.0.7", 8080)}}))));
  const SockAddr to = ToSockAddr(vip_);
  for (uint64_t round = 1; round <= 3; ++round) {
    Socket socket = OpenOrderly(*node_, AF_INET);
    ASSERT_EQ(sendto(socket.fd(), "hello", 5, MSG_FASTOPEN | MSG_NOSIGNAL, to.get(), to.length), 5);
    Socket server = fast.Accept();
    socket.Close();
    EXPECT_EQ(Drain(server), 5U);
    server.Close();
    const Series series = ReadClosed();
    EXPECT_EQ(series.opened, round);
    EXPECT_EQ(series.bytes_sent, 5 * round);
    EXPECT_EQ(series.bytes_received, 0U);
    EXPECT_EQ(Failed(series), 0U);
  }
}

TEST_F(FiguresTest, FastOpenConnectIsCountedOnce) {
  WriteFile("/proc/sys/net/ipv4/tcp_fastopen", "519");
  Listener fast(Address("127.1.0.7", 8080));
  ASSERT_OK(node_->Apply(Named(MakeFrontend(vip_, {1}, {{Address("127.1.0.7", 8080)}}))));
  for (uint64_t round = 1; round <= 3; ++round) {
    Socket socket = OpenOrderly(*node_, AF_INET);
    const int on = 1;
    ASSERT_EQ(setsockopt(socket.fd(), IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on), 0);
    ASSERT_EQ(socket.Connect(vip_), 0) << "nothing is sent before the first write";
    ASSERT_EQ(send(socket.fd(), "hello", 5, MSG_NOSIGNAL), 5);
    Socket server = fast.Accept();
    socket.Close();
    EXPECT_EQ(Drain(server), 5U);
    server.Close();
    const Series series = ReadClosed();
    EXPECT_EQ(series.opened, round);
    EXPECT_EQ(series.bytes_sent, 5 * round);
    EXPECT_EQ(Failed(series), 0U);
  }
}

TEST_F(FiguresTest, FastOpenThatIsRefusedIsOneFailure) {
  WriteFile("/proc/sys/net/ipv4/tcp_fastopen", "519");
  ASSERT_OK(node_->Apply(Named(MakeFrontend(vip_, {1}, {{Address("127.1.9.9", 8080)}}))));
  const SockAddr to = ToSockAddr(vip_);
  Socket by_message = OpenOrderly(*node_, AF_INET);
  EXPECT_EQ(sendto(by_message.fd(), "hello", 5, MSG_FASTOPEN | MSG_NOSIGNAL, to.get(), to.length), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  Socket by_option = OpenOrderly(*node_, AF_INET);
  const int on = 1;
  ASSERT_EQ(setsockopt(by_option.fd(), IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on), 0);
  ASSERT_EQ(by_option.Connect(vip_), 0);
  // Whether the write hears of it or the read after it is the kernel's.
  char byte = 0;
  if (send(by_option.fd(), "hello", 5, MSG_NOSIGNAL) == 5) {
    EXPECT_EQ(recv(by_option.fd(), &byte, 1, 0), -1);
  }
  by_message.Close();
  by_option.Close();
  const Series series = Read();
  EXPECT_EQ(Failed(series, "refused"), 2U);
  EXPECT_EQ(Failed(series), 2U);
  EXPECT_EQ(series.opened, 0U);
}

TEST_F(FiguresTest, IpOptionsMakeNoDifference) {
  Socket client = OpenOrderly(*node_, AF_INET);
  const unsigned char options[] = {1, 1, 1, 1, 7, 7, 4, 0, 0, 0, 0, 0};  // no-operations, record route, end
  ASSERT_EQ(setsockopt(client.fd(), IPPROTO_IP, IP_OPTIONS, options, sizeof options), 0);
  ASSERT_EQ(client.Connect(vip_), 0);
  Socket server = listener_->Accept();
  Transfer(client, server, 100'000);
  Transfer(server, client, 777);
  client.Close();
  Drain(server);
  server.Close();
  const Series series = ReadClosed();
  EXPECT_EQ(series.opened, 1U);
  EXPECT_EQ(series.bytes_sent, 100'000U);
  EXPECT_EQ(series.bytes_received, 777U);
  EXPECT_EQ(Failed(series), 0U);
}

/// The Internet checksum (RFC 1071) of a TCP segment without options.
uint16_t ChecksumOf(const sockaddr_in& from, const sockaddr_in& to, const tcphdr& segment) {
  uint32_t sum = htons(IPPROTO_TCP) + htons(sizeof segment);
  const auto add = [&sum](const void* bytes, size_t size) {
    for (size_t i = 0; i + 1 < size; i += 2) {
      uint16_t word = 0;
      std::memcpy(&word, static_cast<const char*>(bytes) + i, 2);
      sum += word;
    }
  };
  add(&from.sin_addr, 4);
  add(&to.sin_addr, 4);
  add(&segment, sizeof segment);
  while (sum >> 16U != 0) sum = (sum & 0xffffU) + (sum >> 16U);
  return static_cast<uint16_t>(~sum);
}

// Refused is a RST that answers a SYN; reset is one that comes later, with both ends' SYNs seen: here the
// endpoint's host sends a SYN of its own (a simultaneous open, RFC 9293) and then denies all of it.
TEST_F(FiguresTest, AConnectThatIsResetIsToldFromARefusal) {
  // A full listener answers no SYN.
  const SocketAddress silent = Address("127.1.0.8", 8080);
  Listener full(silent, 0);
  std::vector<Socket> fill;
  for (int i = 0; i < 2; ++i) {
    fill.push_back(Socket::Open(AF_INET, SOCK_STREAM | SOCK_NONBLOCK));
    fill.back().Connect(silent);
  }
  ASSERT_OK(node_->Apply(Named(MakeFrontend(vip_, {1}, {{silent}}))));
  Socket client = node_->OpenSocket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
  ASSERT_EQ(client.Connect(vip_), EINPROGRESS);
  sockaddr_in mine{};
  socklen_t length = sizeof mine;
  ASSERT_EQ(getsockname(client.fd(), reinterpret_cast<sockaddr*>(&mine), &length), 0);

  sockaddr_in theirs{};
  std::memcpy(&theirs, ToSockAddr(silent).get(), sizeof theirs);
  tcphdr syn{};
  syn.source = theirs.sin_port;
  syn.dest = mine.sin_port;
  syn.seq = htonl(1000);
  syn.doff = sizeof syn / 4;
  syn.syn = 1;
  syn.window = htons(1024);
  syn.check = ChecksumOf(theirs, mine, syn);
  const UniqueFd raw(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP));
  ASSERT_TRUE(raw.valid());
  sockaddr_in from = theirs, to = mine;
  from.sin_port = to.sin_port = 0;
  ASSERT_EQ(bind(raw.get(), reinterpret_cast<sockaddr*>(&from), sizeof from), 0);
  ASSERT_EQ(sendto(raw.get(), &syn, sizeof syn, 0, reinterpret_cast<sockaddr*>(&to), sizeof to),
            static_cast<ssize_t>(sizeof syn));

  pollfd ready{client.fd(), POLLOUT, 0};
  ASSERT_EQ(poll(&ready, 1, 10'000), 1);
  int error = 0;
  socklen_t size = sizeof error;
  ASSERT_EQ(getsockopt(client.fd(), SOL_SOCKET, SO_ERROR, &error, &size), 0);
  EXPECT_EQ(error, ECONNRESET);
  client.Close();
  const Series series = Read();
  EXPECT_EQ(Failed(series, "reset"), 1U);
  EXPECT_EQ(Failed(series), 1U);
  EXPECT_EQ(series.opened, 0U);
}

TEST_F(FiguresTest, MptcpIsNotCountedTwice) {
  const int probe = socket(AF_INET, SOCK_STREAM, kMptcp);
  if (probe < 0) GTEST_SKIP() << "socket(IPPROTO_MPTCP): " << std::strerror(errno);
  close(probe);
  Listener multipath(Address("127.1.0.7", 8080), 4096, kMptcp);
  ASSERT_OK(node_->Apply(Named(MakeFrontend(vip_, {1}, {{Address("127.1.0.7", 8080)}}))));
  Pair pair = Connect(*node_, vip_, multipath, kMptcp);
  Transfer(pair.client, pair.server, 3000);
  Transfer(pair.server, pair.client, 500);
  Series series = Read();
  EXPECT_EQ(series.opened, 1U);
  EXPECT_EQ(series.bytes_sent, 3000U);
  EXPECT_EQ(series.bytes_received, 500U);
  pair.client.Close();
  pair.server.Close();
  series = ReadClosed();
  EXPECT_EQ(series.opened, 1U);
  EXPECT_EQ(series.bytes_sent, 3000U);
  EXPECT_EQ(series.bytes_received, 500U);

  EXPECT_EQ(DialTo(Address("127.1.9.9", 8080)), ECONNREFUSED);
  Socket refused = node_->OpenSocket(AF_INET, SOCK_STREAM, kMptcp);
  EXPECT_EQ(refused.Connect(vip_), ECONNREFUSED);
  // The socket itself goes through states as well, and its record is still there: an address too short fails
  // before the hook, so nothing was chosen and nothing failed that is ours.
  sockaddr_in short_of{};
  short_of.sin_family = AF_INET;
  EXPECT_EQ(::connect(refused.fd(), reinterpret_cast<sockaddr*>(&short_of), 4), -1);
  EXPECT_EQ(errno, EINVAL);
  refused.Close();
  EXPECT_EQ(Failed(Read(), "refused"), 2U);
  EXPECT_EQ(Failed(Read()), 2U);
}

TEST_F(FiguresTest, Ipv6AndMappedAddresses) {
  Pair six = Connect(*node_, vip6_, *listener6_);
  Transfer(six.client, six.server, 11);
  EXPECT_EQ(ReadSeries(*node_, "checkout6", "v0").bytes_sent, 11U);
  EXPECT_EQ(ReadSeries(*node_, "checkout6", "v0").opened, 1U);
  Socket mapped = node_->OpenSocket(AF_INET6, SOCK_STREAM);
  ASSERT_EQ(mapped.Connect(vip_, Mapped::kYes), 0);
  Socket server = listener_->Accept();
  Transfer(mapped, server, 12);
  EXPECT_EQ(Read().bytes_sent, 12U);
  EXPECT_EQ(Read().opened, 1U);
}

TEST_F(FiguresTest, SocketsOfEveryNetworkNamespaceAreSeen) {
  const NetNamespace other;
  std::unique_ptr<Listener> there;
  Pair pair;
  Status joined = JoinCgroup(node_->cgroup());
  RunInNamespace(other.fd(), [&] {
    there = std::make_unique<Listener>(endpoint_);
    pair.client = Socket::Open(AF_INET, SOCK_STREAM);
    if (pair.client.Connect(vip_) != 0) std::abort();
    pair.server = there->Accept();
  });
  ASSERT_OK(JoinCgroup(TheSandbox().cgroup + "/harness"));
  ASSERT_OK(joined);
  Transfer(pair.client, pair.server, 4711);
  EXPECT_EQ(Read().bytes_sent, 4711U);
  EXPECT_EQ(Read().opened, 1U);
}

}  // namespace
}  // namespace weir::kernel_test
