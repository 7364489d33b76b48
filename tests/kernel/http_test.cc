// HTTP/1.x on real sockets: what the kernel counted is what the two ends said, or the connection is opaque.
#include <linux/bpf.h>

#include <atomic>
#include <thread>

#include "tests/kernel/harness/figures.h"
#include "tests/kernel/harness/http_pair.h"
#include "tests/kernel/harness/programs.h"

namespace weir::kernel_test {
namespace {

using Codes = std::map<uint16_t, uint64_t>;

const std::string kGet = "GET /a HTTP/1.1\r\nHost: shop\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n";
const std::string kLikeRequest = "GET / HTTP/1.1\r\n\r\n";
const std::string kLikeResponse = "HTTP/1.1 500 Oh\r\n\r\n";

std::string Response(int code, const std::string& body = "") {
  return fmt::format("HTTP/1.1 {} x\r\nContent-Length: {}\r\n\r\n{}", code, body.size(), body);
}
std::string PostHead(size_t length) {
  return fmt::format("POST /p HTTP/1.1\r\nHost: shop\r\nContent-Length: {}\r\n\r\n", length);
}

class HttpTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) return;
    node_ = std::make_unique<TestNode>();
    ASSERT_OK(node_->Open());
    listener_ = std::make_unique<HttpListener>(endpoint_);
    ASSERT_OK(node_->Apply(Asking(true)));
  }

  Frontend Asking(bool http) {
    Frontend frontend = Named(MakeFrontend(vip_, {1}, {{endpoint_}}));
    frontend.http = http;
    return frontend;
  }
  HttpPair Connect() { return HttpPair(*node_, vip_, *listener_); }

  /// What was counted; every response has its place in a histogram.
  void Expect(uint64_t requests, const Codes& codes, uint64_t no_response = 0,
              const std::map<std::string, uint64_t>& opaque = {}) {
    const datapath::Series series = ReadSeries(*node_, "checkout", "v0");
    Codes found;
    for (const auto& [code, delays] : series.http_responses) found[code] = delays.count();
    EXPECT_EQ(series.http_requests, requests);
    EXPECT_EQ(found, codes);
    EXPECT_EQ(series.http_no_response, no_response);
    for (const auto& reason : series.http_opaque) {
      const auto wanted = opaque.find(reason.reason);
      EXPECT_EQ(reason.count, wanted == opaque.end() ? 0U : wanted->second) << reason.reason;
    }
  }

  const SocketAddress vip_ = Address("127.96.0.1", 80), endpoint_ = Address("127.1.0.1", 8080);
  std::unique_ptr<TestNode> node_;
  std::unique_ptr<HttpListener> listener_;
};

TEST_F(HttpTest, KeepAliveByExactCode) {
  for (int connection = 0; connection < 2; ++connection) {
    HttpPair pair = Connect();
    for (const int code : {200, 201, 404, 503, 503, 599, 200}) pair.Exchange(kGet, Response(code, "body"));
  }
  Expect(14, {{200, 4}, {201, 2}, {404, 2}, {503, 4}, {599, 2}});
  const datapath::Series series = ReadSeries(*node_, "checkout", "v0");
  EXPECT_EQ(series.http_connections, 2U);
  EXPECT_EQ(series.http_error_connections, 2U);
  EXPECT_TRUE(series.http);
}

TEST_F(HttpTest, DelayIsFromTheFirstByteToTheFirstByte) {
  HttpPair pair = Connect();
  const auto began = std::chrono::steady_clock::now();
  pair.Ask(kGet.substr(0, 3));
  std::this_thread::sleep_for(std::chrono::milliseconds{20});  // the delay to be measured
  pair.Ask(kGet.substr(3));
  pair.Answer(Response(200));
  const auto most = std::chrono::steady_clock::now() - began;
  const auto sum =
      std::chrono::nanoseconds{ReadSeries(*node_, "checkout", "v0").http_responses.at(200).sum_ns};
  EXPECT_GE(sum, std::chrono::milliseconds{20});
  EXPECT_LE(sum, most);
}

TEST_F(HttpTest, StatusLineAndRequestInPieces) {
  HttpPair pair = Connect();
  for (const char byte : PostHead(3) + "GET") pair.Ask(std::string(1, byte));
  pair.AnswerInPieces(Response(201));
  pair.Ask("G");
  pair.Ask(kGet.substr(1));
  pair.AnswerInPieces(Response(404));
  Expect(2, {{201, 1}, {404, 1}});
}

TEST_F(HttpTest, IpOptionsMoveWhereTheTextBegins) {
  const unsigned char options[] = {1, 1, 1, 1, 7, 7, 4, 0, 0, 0, 0, 0};  // no-operations, record route, end
  HttpPair pair = Connect();
  pair.Exchange(kGet, Response(200));
  for (Socket* socket : {&pair.client(), &pair.server()})
    ASSERT_EQ(setsockopt(socket->fd(), IPPROTO_IP, IP_OPTIONS, options, sizeof options), 0);
  pair.Exchange(kGet, Response(404));
  for (const char byte : kGet) pair.Ask(std::string(1, byte));
  pair.AnswerInPieces(Response(503, "body"));
  ASSERT_EQ(setsockopt(pair.server().fd(), IPPROTO_IP, IP_OPTIONS, nullptr, 0), 0);
  pair.Exchange(kGet, Response(201));
  Expect(4, {{200, 1}, {201, 1}, {404, 1}, {503, 1}});
}

TEST_F(HttpTest, InterimResponsesAreNotCounted) {
  const std::string hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
  HttpPair pair = Connect();
  pair.Ask("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 18\r\n\r\n");
  pair.Answer("HTTP/1.1 100 Continue\r\n\r\n");
  pair.Ask(kLikeRequest);
  pair.Answer(hints.substr(0, 37));
  pair.Answer(hints.substr(37) + hints + Response(200));
  pair.Ask(kGet);
  pair.Answer(hints + "HTTP/1");
  pair.Answer(".1 404 x\r\n\r\n");
  Expect(2, {{200, 1}, {404, 1}});
}

TEST_F(HttpTest, UpgradeIsOpaqueFromThere) {
  HttpPair pair = Connect();
  pair.Exchange(kGet, Response(200));
  pair.Exchange(kGet, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
  pair.Exchange(kLikeRequest, kLikeResponse);
  pair.Close();
  Expect(2, {{101, 1}, {200, 1}}, 0, {{"upgraded", 1}});
}

TEST_F(HttpTest, BodiesThatLookLikeHttp) {
  HttpPair pair = Connect();
  for (int i = 0; i < 3; ++i) {
    pair.Ask(PostHead(2 * kLikeRequest.size()));
    pair.Ask(kLikeRequest);
    pair.Ask(kLikeRequest);
    pair.Answer(fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * kLikeResponse.size()));
    pair.Answer(kLikeResponse);
    pair.Answer(kLikeResponse);
  }
  Expect(3, {{200, 3}});
}

TEST_F(HttpTest, Chunked) {
  HttpPair pair = Connect();
  for (int i = 0; i < 3; ++i) {
    pair.Ask("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    pair.Ask("12\r\n");
    pair.Ask(kLikeRequest);
    pair.Ask("\r\n12;x=y\r\n" + kLikeRequest + "\r\n0\r\nA: b\r\n");
    pair.Ask("\r\n");
    pair.Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n13\r\n");
    pair.Answer(kLikeResponse);
    pair.Answer("\r\n0\r\n\r\n");
  }
  Expect(3, {{200, 3}});
}

TEST_F(HttpTest, EarlyResponse) {
  HttpPair pair = Connect();
  for (int i = 0; i < 3; ++i) {
    pair.Ask(PostHead(3 * kLikeRequest.size()));
    pair.Ask(kLikeRequest);
    pair.Answer(Response(413));
    pair.Ask(kLikeRequest);
    pair.Ask(kLikeRequest + kGet);  // the next request shares a packet with the body
    pair.Answer(Response(200));
  }
  Expect(6, {{200, 3}, {413, 3}});
}

TEST_F(HttpTest, HeadAndResponsesWithoutABody) {
  HttpPair pair = Connect();
  for (int i = 0; i < 3; ++i) {
    pair.Exchange("HEAD / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    pair.Exchange("DELETE / HTTP/1.1\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n");
    pair.Exchange(kGet, "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n");
  }
  Expect(9, {{200, 3}, {204, 3}, {304, 3}});
}

TEST_F(HttpTest, ResponseThatEndsWithTheConnection) {
  for (int i = 0; i < 3; ++i) {
    HttpPair pair = Connect();
    pair.Exchange("GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nto the end");
    pair.Answer(kLikeResponse);
    pair.server().Close();
  }
  Expect(3, {{200, 3}});
}

TEST_F(HttpTest, PipeliningIsOpaque) {
  HttpPair one = Connect();
  one.Exchange(kGet, Response(200));
  one.Ask(kGet + kGet + kGet);
  for (int i = 0; i < 3; ++i) one.Answer(Response(404));
  one.Close();
  HttpPair several = Connect();
  for (int i = 0; i < 3; ++i) several.Ask(kGet);
  for (int i = 0; i < 3; ++i) several.Answer(Response(404));
  several.Close();
  Expect(3, {{200, 1}}, 0, {{"pipelined", 2}});
}

TEST_F(HttpTest, ResetAndCloseWithARequestOutstanding) {
  HttpPair reset = Connect();
  reset.Exchange(kGet, Response(200));
  reset.Ask(kGet);
  reset.ResetByServer();
  HttpPair closed = Connect();
  closed.Ask(kGet);
  closed.Answer("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 2");
  closed.Close();
  HttpPair idle = Connect();
  idle.Exchange(kGet, Response(200));
  idle.ResetByServer();
  Expect(4, {{200, 2}}, 2);
}

TEST_F(HttpTest, LargeBodiesBothWays) {
  const std::string much(8 << 20, 'H');
  HttpPair pair = Connect();
  for (int i = 0; i < 2; ++i) {
    pair.Exchange(PostHead(much.size()) + much, Response(200, much));
    pair.Exchange(kGet, Response(404));
  }
  Expect(4, {{200, 2}, {404, 2}});
}

TEST_F(HttpTest, LargeHeaders) {
  HttpPair pair = Connect();
  const std::string cookies = "GET / HTTP/1.1\r\nCookie: " + std::string(20000, 'x') + "\r\n\r\n";
  for (int i = 0; i < 3; ++i) pair.Exchange(cookies, Response(431));
  Expect(3, {{431, 3}});
}

TEST_F(HttpTest, LossBothWays) {
  std::atomic<uint64_t> exchanges{0};
  {
    std::vector<HttpPair> pairs;
    pairs.reserve(10);
    for (int i = 0; i < 10; ++i) pairs.push_back(Connect());
    LossyCgroup client(node_->cgroup(), 12), server(TheSandbox().cgroup + "/harness", 12);
    std::vector<std::thread> threads;
    for (HttpPair& pair : pairs) {
      threads.emplace_back([&] {
        for (int i = 0; i < 15; ++i) {
          pair.Ask(PostHead(9000) + std::string(500 * kLikeRequest.size(), 'x'));
          pair.Answer(Response(200, std::string(3000, 'y') + kLikeResponse));
          ++exchanges;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  const datapath::Series series = ReadSeries(*node_, "checkout", "v0");
  EXPECT_GT(series.retransmits, 0U);
  Expect(exchanges, {{200, exchanges}});
}

TEST_F(HttpTest, Ipv6) {
  const SocketAddress vip = Address("fd00::60:1", 80), endpoint = Address("fd00::1:1", 8080);
  HttpListener listener(endpoint);
  Frontend frontend = Named(MakeFrontend(vip, {1}, {{endpoint}}));
  frontend.http = true;
  ASSERT_OK(node_->Apply(frontend));
  HttpPair pair(*node_, vip, listener);
  pair.Exchange(kGet, Response(200));
  pair.Ask(PostHead(18));
  pair.Ask(kLikeRequest);
  pair.AnswerInPieces(Response(500));
  pair.Ask(kGet);
  pair.Close();
  Expect(3, {{200, 1}, {500, 1}}, 1);
}

TEST_F(HttpTest, OtherProtocolsHaveFiguresOfTcpAlone) {
  for (int i = 0; i < 3; ++i) {
    HttpPair pair = Connect();
    pair.Answer("+OK ready\r\n");
    pair.Exchange("*1\r\n$4\r\nPING\r\n", "+PONG\r\n");
    pair.Exchange(kGet, kLikeResponse);
    pair.Close();
  }
  Expect(0, {}, 0, {{"not_http", 3}});
  const datapath::Series series = ReadSeries(*node_, "checkout", "v0");
  EXPECT_EQ(series.opened, 3U);
  EXPECT_EQ(series.closed, 3U);
  EXPECT_EQ(series.bytes_sent, 3 * (14 + kGet.size()));
}

TEST_F(HttpTest, MptcpIsOpaque) {
  HttpListener listener(Address("127.1.0.1", 8081), IPPROTO_MPTCP);
  Frontend frontend = Asking(true);
  frontend.variants[0].endpoints = {Address("127.1.0.1", 8081)};
  ASSERT_OK(node_->Apply(frontend));
  HttpPair pair(*node_, vip_, listener, IPPROTO_MPTCP);
  pair.Exchange(kGet, Response(200));
  pair.Close();
  Expect(0, {}, 0, {{"other", 1}});
}

TEST_F(HttpTest, ASocketThatDialsAgainBeginsAnew) {
  HttpPair pair = Connect();
  pair.Ask(kGet);
  sockaddr nowhere{};
  nowhere.sa_family = AF_UNSPEC;
  ASSERT_EQ(connect(pair.client().fd(), &nowhere, sizeof nowhere), 0);
  ASSERT_EQ(pair.client().Connect(vip_), 0);
  Socket server = listener_->Accept();
  ASSERT_OK(pair.client().Send(kGet));
  ASSERT_OK(server.Receive());
  ASSERT_OK(server.Send(Response(200)));
  ASSERT_OK(pair.client().Receive());
  Expect(2, {{200, 1}}, 1);
}

TEST_F(HttpTest, AttachedOnlyWhileAskedFor) {
  const auto attached = [&] {
    return AttachedPrograms(node_->cgroup(), BPF_CGROUP_INET_EGRESS).size() +
           AttachedPrograms(node_->cgroup(), BPF_CGROUP_INET_INGRESS).size();
  };
  EXPECT_EQ(attached(), 2U);
  ASSERT_OK(node_->Apply(Asking(false)));
  EXPECT_EQ(attached(), 0U);
  HttpPair pair = Connect();
  pair.Exchange(kGet, Response(200));
  ASSERT_OK(node_->Apply(Asking(true)));
  EXPECT_EQ(attached(), 2U);
  pair.Exchange(kGet, Response(200));  // older than the wish: not looked at
  Expect(0, {});
}

TEST_F(HttpTest, WhatPassedUnseenIsNotCalledUnanswered) {
  HttpPair outstanding = Connect(), between = Connect();
  outstanding.Ask(kGet);
  between.Exchange(kGet, Response(200));
  ASSERT_OK(node_->Apply(Asking(false)));
  outstanding.Answer(Response(200));
  between.Exchange(kGet, Response(404));
  outstanding.Close();
  ASSERT_OK(node_->Apply(Asking(true)));
  between.Exchange(kGet, Response(404));
  between.Close();
  Expect(2, {{200, 1}}, 0, {{"other", 2}});
}

TEST_F(HttpTest, TheWishChangesWithoutANewCursor) {
  Servers servers;
  const SocketAddress a = Address("127.1.0.1", 9090), b = Address("127.1.1.1", 9090);
  servers.AddTcp(a, 0);
  servers.AddTcp(b, 1);
  Frontend frontend = Named(MakeFrontend(Address("127.96.0.2", 80), {70, 30}, {{a}, {b}}));
  for (int i = 0; i < 10; ++i) {
    frontend.http = i % 2 == 1;
    ASSERT_OK(node_->Apply(frontend));
    ASSERT_OK(node_->Run([&] { return FetchMany(Address("127.96.0.2", 80), 7); }));
  }
  EXPECT_TRUE(IsExactAtEveryPrefix(servers.Log(), {70, 30}, {0, 1}));
}

}  // namespace
}  // namespace weir::kernel_test
