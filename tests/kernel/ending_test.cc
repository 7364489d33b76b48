// Ending connections that are open: whose, in which namespaces, what both ends see, and what stays untouched.
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/capability.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <future>
#include <thread>

#include "agent/datapath/kernel_ending.h"
#include "tests/kernel/harness/figures.h"
#include "tests/kernel/harness/fixture.h"
#include "tests/kernel/harness/pair.h"

namespace weir::kernel_test {
namespace {

using datapath::EndCounts;
using datapath::EndTarget;
using datapath::KernelEnding;
using datapath::Swept;

constexpr int kMptcp = 262;  // IPPROTO_MPTCP, netinet/in.h of newer C libraries

/// The error that waits on the socket, within the deadline; 0: none came.
int AwaitError(const Socket& socket, std::chrono::milliseconds limit = kSocketTimeout) {
  pollfd entry{.fd = socket.fd(), .events = 0, .revents = 0};  // POLLERR, POLLHUP come unasked
  if (poll(&entry, 1, static_cast<int>(limit.count())) <= 0) return 0;
  int error = 0;
  socklen_t length = sizeof error;
  EXPECT_EQ(getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &length), 0);
  return error;
}

/// Of the calling thread alone.
void DropSysAdmin() {
  const std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)> held(cap_get_proc(), cap_free);
  const cap_value_t which = CAP_SYS_ADMIN;
  ASSERT_EQ(cap_set_flag(held.get(), CAP_EFFECTIVE, 1, &which, CAP_CLEAR), 0);
  ASSERT_EQ(cap_set_flag(held.get(), CAP_PERMITTED, 1, &which, CAP_CLEAR), 0);
  ASSERT_EQ(cap_set_proc(held.get()), 0);
}

/// Nothing has happened to either end.
void ExpectAlive(Pair& pair) {
  Transfer(pair.client, pair.server, 100);
  Transfer(pair.server, pair.client, 100);
}

class EndingTest : public NodeTest {
 protected:
  void Prepare() override {
    ASSERT_NO_FATAL_FAILURE(NodeTest::Prepare());
    ASSERT_NO_FATAL_FAILURE(OpenEnding());
  }

  void OpenEnding() {
    ending_.reset();
    auto ending = KernelEnding::Open(node_->datapath().maps(), {.bpffs_dir = node_->bpffs()});
    ASSERT_OK(ending);
    ending_ = *std::move(ending);
  }

  Swept Sweep() {
    std::promise<Swept> promise;
    ending_->Sweep([&promise](Swept swept) { promise.set_value(std::move(swept)); });
    return promise.get_future().get();
  }

  /// Orders, and makes one pass.
  Swept End(const std::string& name, const std::vector<EndTarget>& targets) {
    EXPECT_OK(ending_->Order(name, targets));
    return Sweep();
  }

  EndCounts Count(const std::string& name) {
    const auto counts = ending_->Count(name);
    EXPECT_OK(counts);
    return *counts;
  }

  static EndTarget Target(const SocketAddress& vip, const std::string& revision,
                          Protocol protocol = Protocol::kTcp) {
    return {{vip, protocol}, revision};
  }

  const SocketAddress vip_ = Address("127.96.0.1", 80), other_vip_ = Address("127.96.0.2", 80);
  const SocketAddress vip6_ = Address("fd00::9600:1", 80);
  const SocketAddress stable_ = Endpoint(0), canary_ = Endpoint(1);
  const SocketAddress stable6_ = Address("fd00::1:1", 8080), canary6_ = Address("fd00::1:2", 8080);
  std::unique_ptr<KernelEnding> ending_;
};

TEST_F(EndingTest, ConnectionsOfOneRevisionEndAndNoOthers) {
  Listener stable(stable_), canary(canary_), stable6(stable6_), canary6(canary6_);
  const auto split = [&](uint32_t s, uint32_t c) {
    ASSERT_OK(node_->Apply({MakeFrontend(vip_, {s, c}, {{stable_}, {canary_}}),
                            MakeFrontend(vip6_, {s, c}, {{stable6_}, {canary6_}}),
                            MakeFrontend(other_vip_, {s, c}, {{stable_}, {canary_}})}));
  };
  split(1, 0);
  Pair stable4 = Connect(*node_, vip_, stable), stable_six = Connect(*node_, vip6_, stable6);
  split(0, 1);
  Pair pair4 = Connect(*node_, vip_, canary), pair6 = Connect(*node_, vip6_, canary6);
  Pair mapped{node_->OpenSocket(AF_INET6, SOCK_STREAM), {}};
  ASSERT_EQ(mapped.client.Connect(vip_, Mapped::kYes), 0);
  mapped.server = canary.Accept();
  Pair other_service = Connect(*node_, other_vip_, canary), direct = Connect(*node_, canary_, canary);
  split(1, 0);

  const Swept swept = End("a", {Target(vip_, "v1"), Target(vip6_, "v1")});
  EXPECT_TRUE(swept.failures.empty()) << swept.failures[0];
  EXPECT_EQ(swept.orders.at("a").left, 0U);
  EXPECT_EQ(swept.orders.at("a").namespaces.size(), 1U);
  EXPECT_EQ(Count("a"), (EndCounts{.tcp = 3, .udp = 0}));
  for (Pair* pair : {&pair4, &pair6, &mapped}) {
    EXPECT_EQ(AwaitError(pair->client), ECONNABORTED);
    EXPECT_EQ(AwaitError(pair->server), ECONNRESET);
  }
  for (Pair* pair : {&stable4, &stable_six, &other_service, &direct}) ExpectAlive(*pair);
}

TEST_F(EndingTest, IsCountedOnceAsClosedAndNotAsTheServersReset) {
  Listener canary(canary_);
  Frontend frontend = Named(MakeFrontend(vip_, {0, 1}, {{stable_}, {canary_}}));
  ASSERT_OK(node_->Apply(frontend));
  std::vector<Pair> pairs;
  pairs.reserve(10);
  for (int i = 0; i < 10; ++i) pairs.push_back(Connect(*node_, vip_, canary));
  for (Pair& pair : pairs) Transfer(pair.client, pair.server, 1000);
  frontend.variants[0].weight = 1;
  frontend.variants[1].weight = 0;
  ASSERT_OK(node_->Apply(frontend));
  End("a", {Target(vip_, "v1")});
  EXPECT_EQ(Count("a").tcp, 10U);
  pairs.clear();  // closed by their owners, too
  End("a", {Target(vip_, "v1")});
  EXPECT_EQ(Count("a").tcp, 10U);

  const datapath::Series series = ReadSeries(*node_, "checkout", "v1");
  EXPECT_EQ(series.opened, 10U);
  EXPECT_EQ(series.closed, 10U);
  EXPECT_EQ(series.resets_received, 0U);
  EXPECT_EQ(series.bytes_sent, 10'000U);
  EXPECT_EQ(Failed(series), 0U);
}

TEST_F(EndingTest, ConnectedUdpSocketsAreTold) {
  const SocketAddress vip = Address("127.96.0.1", 53), vip6 = Address("fd00::9600:1", 53);
  servers_.AddUdp(canary_, 1);
  servers_.AddUdp(canary6_, 2);
  const auto udp = [&](const SocketAddress& address, const SocketAddress& endpoint) {
    return MakeFrontend(address, {1}, {{endpoint}}, Protocol::kUdp);
  };
  ASSERT_OK(node_->Apply({udp(vip, canary_), udp(vip6, canary6_)}));
  Socket plain = node_->OpenSocket(AF_INET, SOCK_DGRAM), mapped = node_->OpenSocket(AF_INET6, SOCK_DGRAM);
  Socket six = node_->OpenSocket(AF_INET6, SOCK_DGRAM), direct = node_->OpenSocket(AF_INET, SOCK_DGRAM);
  Socket unconnected = node_->OpenSocket(AF_INET, SOCK_DGRAM), left = node_->OpenSocket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(plain.Connect(vip), 0);
  ASSERT_EQ(mapped.Connect(vip, Mapped::kYes), 0);
  ASSERT_EQ(six.Connect(vip6), 0);
  ASSERT_EQ(direct.Connect(canary_), 0);
  ASSERT_OK(unconnected.SendTo(vip, "?"));
  ASSERT_EQ(left.Connect(vip), 0);
  const sockaddr none{.sa_family = AF_UNSPEC, .sa_data = {}};
  ASSERT_EQ(connect(left.fd(), &none, sizeof none), 0);  // runs no hook: the record stays

  End("a", {Target(vip, "v0", Protocol::kUdp), Target(vip6, "v0", Protocol::kUdp)});
  EXPECT_EQ(Count("a"), (EndCounts{.tcp = 0, .udp = 3}));
  for (Socket* socket : {&plain, &mapped, &six}) {
    EXPECT_EQ(AwaitError(*socket), ECONNABORTED);
    EXPECT_EQ(send(socket->fd(), "?", 1, 0), -1) << "not connected any more";
    EXPECT_EQ(errno, EDESTADDRREQ);
  }
  ASSERT_OK(direct.Send("?"));
  EXPECT_OK(direct.Receive());
  EXPECT_OK(unconnected.ReceiveFrom());
  ASSERT_OK(left.SendTo(canary_, "?"));
  EXPECT_OK(left.ReceiveFrom());
}

// With its subflow ended neither end would be told, so it is not touched, and said to be left.
TEST_F(EndingTest, MptcpIsLeftAlone) {
  const int probe = socket(AF_INET, SOCK_STREAM, kMptcp);
  if (probe < 0) GTEST_SKIP() << "socket(IPPROTO_MPTCP): " << std::strerror(errno);
  close(probe);
  Listener canary(canary_, 16, kMptcp);
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{canary_}})));
  Pair pair = Connect(*node_, vip_, canary, kMptcp);
  Pair plain = Connect(*node_, vip_, canary);
  const Swept swept = End("a", {Target(vip_, "v0")});
  EXPECT_EQ(swept.orders.at("a").left, 1U);
  EXPECT_EQ(swept.orders.at("a").multipath, 1U);
  EXPECT_EQ(Count("a").tcp, 1U);
  EXPECT_EQ(AwaitError(plain.client), ECONNABORTED);
  ExpectAlive(pair);
}

/// A client process inside the node and a network namespace, whose connections the test can count on.
struct Elsewhere {
  struct State {
    std::atomic<uint32_t> connected{0}, aborted{0};
  };

  Elsewhere(TestNode& node, const NetNamespace& netns, const SocketAddress& vip, uint32_t connections)
      : client(node.cgroup(), [this, &netns, vip, connections]() -> Result<std::string> {
          CLIENT_CHECK(setns(netns.fd(), CLONE_NEWNET) == 0);
          std::vector<Socket> sockets;
          for (uint32_t i = 0; i < connections; ++i) {
            sockets.push_back(Socket::Open(AF_INET, SOCK_STREAM));
            CLIENT_CHECK(sockets.back().Connect(vip) == 0);
          }
          state->connected = connections;
          for (const Socket& socket : sockets) {
            CLIENT_CHECK(AwaitError(socket) == ECONNABORTED);
            ++state->aborted;
          }
          return std::string();
        }) {}

  Shared<State> state;
  ClientProcess client;
};

TEST_F(EndingTest, EveryNetworkNamespaceIsEntered) {
  constexpr uint32_t kEach = 5;
  NetNamespace first, second;
  for (const NetNamespace* netns : {&first, &second}) servers_.AddTcp(canary_, 1, netns->fd());
  servers_.AddTcp(canary_, 1);
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{canary_}})));
  Elsewhere a(*node_, first, vip_, kEach), b(*node_, second, vip_, kEach);
  Socket here = node_->OpenSocket(AF_INET, SOCK_STREAM);
  ASSERT_EQ(here.Connect(vip_), 0);
  ASSERT_TRUE(Eventually([&] { return a.state->connected == kEach && b.state->connected == kEach; }));

  const Swept swept = End("a", {Target(vip_, "v0")});
  EXPECT_TRUE(swept.failures.empty()) << swept.failures[0];
  EXPECT_EQ(swept.orders.at("a").namespaces.size(), 3U);
  EXPECT_EQ(swept.orders.at("a").left, 0U);
  EXPECT_EQ(Count("a").tcp, 2 * kEach + 1);
  EXPECT_OK(a.client.Wait());
  EXPECT_OK(b.client.Wait());
  EXPECT_EQ(AwaitError(here), ECONNABORTED);
}

// A thread without CAP_SYS_ADMIN ends what is in its own namespace and says what it could not do.
TEST_F(EndingTest, WithoutCapSysAdminTheOwnNamespaceStillWorks) {
  NetNamespace other;
  servers_.AddTcp(canary_, 1, other.fd());
  servers_.AddTcp(canary_, 1);
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{canary_}})));
  Elsewhere elsewhere(*node_, other, vip_, 3);
  Socket here = node_->OpenSocket(AF_INET, SOCK_STREAM);
  ASSERT_EQ(here.Connect(vip_), 0);
  ASSERT_TRUE(Eventually([&] { return elsewhere.state->connected == 3; }));

  ending_.reset();
  auto weaker = KernelEnding::Open(node_->datapath().maps(),
                                   {.bpffs_dir = node_->bpffs(), .on_thread_start = [] { DropSysAdmin(); }});
  ASSERT_OK(weaker);
  ending_ = *std::move(weaker);
  const Swept swept = End("a", {Target(vip_, "v0")});
  EXPECT_EQ(AwaitError(here), ECONNABORTED);
  EXPECT_EQ(Count("a").tcp, 1U);
  EXPECT_EQ(swept.orders.at("a").left, 3U);
  ASSERT_EQ(swept.failures.size(), 1U);
  EXPECT_NE(swept.failures[0].find("CAP_SYS_ADMIN"), std::string::npos) << swept.failures[0];

  OpenEnding();  // one that may: the order and its count are still there
  End("a", {Target(vip_, "v0")});
  EXPECT_EQ(Count("a").tcp, 4U);
  EXPECT_OK(elsewhere.client.Wait());
}

TEST_F(EndingTest, ThousandsInOnePass) {
  constexpr size_t kConnections = 4000;
  Listener canary(canary_), stable(stable_);
  ASSERT_OK(node_->Apply({MakeFrontend(vip_, {1}, {{canary_}}), MakeFrontend(other_vip_, {1}, {{stable_}})}));
  std::vector<Pair> pairs, others;
  for (size_t i = 0; i < kConnections; ++i) {
    pairs.push_back(Connect(*node_, vip_, canary));
    if (i % 4 == 0) others.push_back(Connect(*node_, other_vip_, stable));
  }
  const Swept swept = End("a", {Target(vip_, "v0")});
  EXPECT_EQ(Count("a").tcp, kConnections);
  EXPECT_EQ(swept.orders.at("a").left, 0U);
  for (const Pair& pair : pairs) ASSERT_EQ(AwaitError(pair.client), ECONNABORTED);
  for (Pair& pair : others) ExpectAlive(pair);
}

TEST_F(EndingTest, SocketsOfOtherStatesAreNotTouched) {
  Listener canary(canary_);
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{canary_}})));
  const sockaddr none{.sa_family = AF_UNSPEC, .sa_data = {}};
  // A listener that was a client before: its record is of the past.
  Socket listener = node_->OpenSocket(AF_INET, SOCK_STREAM);
  ASSERT_EQ(listener.Connect(vip_), 0);
  Socket accepted = canary.Accept();
  ASSERT_EQ(connect(listener.fd(), &none, sizeof none), 0);
  ASSERT_OK(listener.Bind(Address("127.1.7.7", 7777)));
  ASSERT_EQ(listen(listener.fd(), 16), 0);
  // One in TIME_WAIT, one both ends have closed whose process is gone.
  {
    Pair orderly{OpenOrderly(*node_, AF_INET), {}};
    ASSERT_EQ(orderly.client.Connect(vip_), 0);
    orderly.server = canary.Accept();
    ASSERT_EQ(shutdown(orderly.client.fd(), SHUT_WR), 0);
    EXPECT_EQ(Drain(orderly.server), 0U);
  }
  Socket waiting = node_->OpenSocket(AF_INET, SOCK_STREAM);
  ASSERT_EQ(waiting.Connect(Address("127.1.7.7", 7777)), 0);  // accepted by nobody yet
  const Swept swept = End("a", {Target(vip_, "v0")});
  EXPECT_EQ(swept.orders.at("a").left, 0U);
  EXPECT_EQ(Count("a").tcp, 0U);
  Socket served(accept(listener.fd(), nullptr, nullptr));
  EXPECT_GE(served.fd(), 0);
  EXPECT_EQ(AwaitError(waiting, std::chrono::milliseconds(0)), 0);
}

TEST_F(EndingTest, HalfClosedConnectionsAreOpen) {
  Listener canary(canary_);
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{canary_}})));
  Pair by_client = Connect(*node_, vip_, canary), by_server = Connect(*node_, vip_, canary);
  ASSERT_EQ(shutdown(by_client.client.fd(), SHUT_WR), 0);
  EXPECT_EQ(Drain(by_client.server), 0U);
  ASSERT_EQ(shutdown(by_server.server.fd(), SHUT_WR), 0);
  EXPECT_EQ(Drain(by_server.client), 0U);
  End("a", {Target(vip_, "v0")});
  EXPECT_EQ(Count("a").tcp, 2U);
  EXPECT_EQ(AwaitError(by_client.client), ECONNABORTED);
  EXPECT_EQ(AwaitError(by_server.client), ECONNABORTED);
}

// The record must not be taken for the socket's present connection.
TEST_F(EndingTest, SocketThatHasReconnectedElsewhereIsNotTouched) {
  Listener canary(canary_), stable(stable_);
  ASSERT_OK(node_->Apply({MakeFrontend(vip_, {1}, {{canary_}}), MakeFrontend(other_vip_, {1}, {{stable_}})}));
  const sockaddr none{.sa_family = AF_UNSPEC, .sa_data = {}};
  Pair to_service = Connect(*node_, vip_, canary), to_endpoint = Connect(*node_, vip_, canary);
  ASSERT_EQ(connect(to_service.client.fd(), &none, sizeof none), 0);
  ASSERT_EQ(to_service.client.Connect(other_vip_), 0);
  to_service.server = stable.Accept();
  ASSERT_EQ(connect(to_endpoint.client.fd(), &none, sizeof none), 0);
  ASSERT_EQ(to_endpoint.client.Connect(canary_), 0);
  to_endpoint.server = canary.Accept();
  End("a", {Target(vip_, "v0")});
  EXPECT_EQ(Count("a").tcp, 0U);
  ExpectAlive(to_service);
  ExpectAlive(to_endpoint);
}

// It would hang for minutes: nobody answers its SYN.
TEST_F(EndingTest, ConnectToADeadEndpointEndsAtOnce) {
  Listener full(canary_, 0);  // holds one connection; further SYNs are dropped
  Socket holder = node_->OpenSocket(AF_INET, SOCK_STREAM);
  ASSERT_EQ(holder.Connect(canary_), 0);
  ASSERT_OK(node_->Apply(Named(MakeFrontend(vip_, {1}, {{canary_}}))));
  Socket hanging = node_->OpenSocket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
  ASSERT_EQ(hanging.Connect(vip_), EINPROGRESS);
  End("a", {{{vip_, Protocol::kTcp}, "", canary_}});
  EXPECT_EQ(AwaitError(hanging), ECONNABORTED);
  EXPECT_EQ(AwaitError(holder, std::chrono::milliseconds(0)), 0) << "not through a frontend";
  const datapath::Series series = ReadSeries(*node_, "checkout", "v0");
  EXPECT_EQ(series.opened, 0U);
  EXPECT_EQ(Failed(series), 1U);
}

TEST_F(EndingTest, AnEndpointsConnectionsEndThroughOneFrontend) {
  const SocketAddress second = Endpoint(1, 1);
  Listener gone(canary_), stays(second);
  const auto all_of = [](const SocketAddress& vip, const SocketAddress& endpoint) {
    Frontend frontend = MakeFrontend(vip, {1}, {{endpoint}});
    frontend.endpoints_known = true;
    return frontend;
  };
  ASSERT_OK(node_->Apply({all_of(vip_, canary_), all_of(other_vip_, canary_)}));
  Pair a = Connect(*node_, vip_, gone), b = Connect(*node_, other_vip_, gone);
  ASSERT_OK(node_->Apply(all_of(vip_, second)));
  Pair c = Connect(*node_, vip_, stays);
  std::promise<std::vector<datapath::Living>> listed;
  ending_->List([&listed](std::vector<datapath::Living> living) { listed.set_value(std::move(living)); });
  const auto living = listed.get_future().get();
  ASSERT_EQ(living.size(), 3U);
  EXPECT_EQ(living[0], (datapath::Living{{vip_, Protocol::kTcp}, canary_}));
  EXPECT_EQ(living[1], (datapath::Living{{vip_, Protocol::kTcp}, second}));
  EXPECT_EQ(living[2], (datapath::Living{{other_vip_, Protocol::kTcp}, canary_}));
  End("gone", {{{vip_, Protocol::kTcp}, "", canary_}});
  EXPECT_EQ(AwaitError(a.client), ECONNABORTED);
  ExpectAlive(b);
  ExpectAlive(c);
}

TEST_F(EndingTest, VoidOrdersEndNothing) {
  Listener canary(canary_);
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{canary_}})));
  Pair pair = Connect(*node_, vip_, canary);
  ASSERT_OK(ending_->Order("a", {Target(vip_, "v0")}));
  ASSERT_OK(ending_->Void("a"));
  Sweep();
  ExpectAlive(pair);
  ASSERT_OK(ending_->Order("b", {Target(vip_, "v0")}));
  ASSERT_OK(ending_->VoidAllBut({"c"}));
  Sweep();
  ExpectAlive(pair);
}

// An agent is killed between the deed and the answer: the next one knows what was done, and does not count
// anew.
TEST_F(EndingTest, CountsOutliveTheAgent) {
  Listener canary(canary_);
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1}, {{canary_}})));
  Pair first = Connect(*node_, vip_, canary), second = Connect(*node_, vip_, canary);
  End("a", {Target(vip_, "v0")});
  Pair later = Connect(*node_, vip_, canary);
  for (const uint32_t services : {64U, 128U}) {  // a restart; a restart with maps of another size
    ending_.reset();
    node_->options().max_services = services;
    ASSERT_OK(node_->Open());
    ASSERT_NO_FATAL_FAILURE(OpenEnding());
    ASSERT_OK(ending_->Order("a", {Target(vip_, "v0")}));
    EXPECT_EQ(Count("a").tcp, 2U);
  }
  // One made before the restarts is known after them.
  Sweep();
  EXPECT_EQ(AwaitError(later.client), ECONNABORTED);
  EXPECT_EQ(Count("a").tcp, 3U);
  ASSERT_OK(ending_->Order("b", {Target(vip_, "v0")}));  // another order about the same
  EXPECT_EQ(Count("a").tcp, 0U);
  EXPECT_EQ(Count("b").tcp, 0U);
}

// Whatever was given to the revision before the weight became 0 is found, even where connect() had not come
// as far as its SYN when the pass began.
TEST_F(EndingTest, NoneOfARaceIsLeft) {
  struct State {
    std::atomic<bool> stop{false};
    std::atomic<uint64_t> connected{0};
  };
  for (const int id : {0, 1}) servers_.AddTcp(Endpoint(id), static_cast<uint8_t>(id));
  Shared<State> state;
  ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1, 1}, {{stable_}, {canary_}})));
  ClientProcess client(node_->cgroup(), [&]() -> Result<std::string> {
    std::vector<std::thread> threads;
    threads.reserve(4);
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        std::deque<Socket> open;
        while (!state->stop) {
          Socket socket = Socket::Open(AF_INET, SOCK_STREAM);
          if (socket.Connect(vip_) != 0) continue;
          ++state->connected;
          open.push_back(std::move(socket));
          if (open.size() > 50) open.pop_front();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return std::string();
  });
  uint64_t ended = 0;
  for (int round = 0; round < 20; ++round) {
    ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1, 1}, {{stable_}, {canary_}})));
    const uint64_t before = state->connected;
    ASSERT_TRUE(Eventually([&] { return state->connected > before + 100; }));
    ASSERT_OK(node_->Apply(MakeFrontend(vip_, {1, 0}, {{stable_}, {canary_}})));
    const std::string name = fmt::format("round {}", round);
    const Swept swept = End(name, {Target(vip_, "v1")});
    EXPECT_EQ(swept.orders.at(name).left, 0U);
    ended += Count(name).tcp;
    // Nothing new may come, so nothing is left for a second pass.
    const uint64_t counted = Count(name).tcp;
    Sweep();
    EXPECT_EQ(Count(name).tcp, counted);
    ASSERT_OK(ending_->Void(name));
  }
  EXPECT_GT(ended, 20U);
  state->stop = true;
  EXPECT_OK(client.Wait());
}

}  // namespace
}  // namespace weir::kernel_test
