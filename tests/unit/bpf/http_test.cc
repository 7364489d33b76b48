// The HTTP recogniser on packets made by hand: counts equal the truth, or the connection is opaque.
#include <gtest/gtest.h>

#include "tests/unit/bpf/http_model.h"

namespace weir::testing {
namespace {

using Responses = std::map<uint32_t, uint64_t>;

const std::string kGet = "GET /a?b=c HTTP/1.1\r\nHost: shop\r\nUser-Agent: t\r\n\r\n";
const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

std::string Post(std::string_view body) {
  return "POST /p HTTP/1.1\r\nHost: shop\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         std::string(body);
}

void ExpectClean(const HttpConnection& connection, uint64_t requests, const Responses& responses,
                 uint64_t no_response = 0) {
  const HttpFigures& figures = connection.figures();
  EXPECT_FALSE(figures.is_opaque());
  EXPECT_EQ(figures.requests, requests);
  EXPECT_EQ(figures.responses, responses);
  EXPECT_EQ(figures.no_response, no_response);
}

/// One opaque count, for this reason, after so many requests and responses.
void ExpectOpaque(const HttpConnection& connection, weir_opaque_reason reason, uint64_t requests,
                  const Responses& responses) {
  const HttpFigures& figures = connection.figures();
  for (unsigned i = 0; i < WEIR_OPAQUE_MAX; ++i) EXPECT_EQ(figures.opaque.at(i), i == reason ? 1 : 0) << i;
  EXPECT_EQ(figures.requests, requests);
  EXPECT_EQ(figures.responses, responses);
  EXPECT_EQ(figures.no_response, 0U);
}

TEST(HttpTest, KeepAlive) {
  HttpConnection connection;
  connection.Open();
  for (const char* code : {"200", "404", "500", "503", "999", "200"}) {
    connection.Send(kGet);
    connection.Pass(1500);
    connection.Receive("HTTP/1.1 " + std::string(code) + " x\r\nContent-Length: 0\r\n\r\n");
  }
  connection.Close();
  ExpectClean(connection, 6, {{200, 2}, {404, 1}, {500, 1}, {503, 1}, {999, 1}});
  EXPECT_EQ(connection.figures().connections, 1U);
  EXPECT_EQ(connection.figures().error_connections, 1U);
  EXPECT_EQ(connection.figures().delay_ns, 6 * 1500U);
}

TEST(HttpTest, EveryCutOfRequestAndResponse) {
  const std::string request =
      "PUT /x HTTP/1.1\r\nHost: shop\r\ncOnTeNt-LeNgTh: \t12 \r\nContent-Lengthy: 7\r\nCookie: a\tb\r\nE: "
      "f\r\n\r\n"
      "GET / HTTP/1";
  for (size_t cut = 1; cut < request.size(); ++cut) {
    for (size_t second = 1; second < 20; ++second) {
      HttpConnection connection(0xffffffff - static_cast<uint32_t>(cut), 0xfffffff0);
      connection.Open();
      for (int i = 0; i < 2; ++i) {
        connection.Send(request.substr(0, cut));
        connection.Send(request.substr(cut));
        connection.Receive(kOk.substr(0, second));
        connection.Receive(kOk.substr(second));
      }
      connection.Close();
      ExpectClean(connection, 2, {{200, 2}});
    }
  }
}

TEST(HttpTest, ByteByByte) {
  HttpConnection connection;
  connection.Open();
  const std::string request =
      "\r\nPOST / HTTP/1.0\r\nA:b\r\nContent-Length:3\r\nExpect: 100-continue\r\n\r\nGET";
  for (int i = 0; i < 3; ++i) {
    for (const char byte : request) connection.Send(std::string(1, byte));
    for (const char byte : "HTTP/1.1 103 Early Hints\r\nLink: \r\n\r\n" + kOk)
      connection.Receive(std::string(1, byte));
  }
  ExpectClean(connection, 3, {{200, 3}});
}

TEST(HttpTest, BodiesThatLookLikeHttp) {
  const std::string like = "GET / HTTP/1.1\r\n\r\n";
  HttpConnection connection;
  connection.Open();
  const std::string request = Post(like + like);
  connection.Send(request.substr(0, request.size() - 2 * like.size()));
  connection.Send(like);
  connection.Send(like);
  connection.Receive("HTTP/1.1 200 OK\r\nContent-Length: 34\r\n\r\n");
  connection.Receive("HTTP/1.1 500 no\r\n");
  connection.Receive("HTTP/1.1 500 no\r\n");
  connection.Send(Post(like));
  connection.Receive("HTTP/1.1 204 No Content\r\n\r\n");
  ExpectClean(connection, 2, {{200, 1}, {204, 1}});
}

TEST(HttpTest, ChunkedRequests) {
  const std::string head = "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked \r\nExpect: x\r\n\r\n";
  const std::string body =
      "5\r\nGET /\r\n0015;a=\"b\"\r\n HTTP/1.1\r\nHost:x\r\n\r\n\r\n00\r\nContent-Length: 9\r\n\r\n";
  const std::string all = head + body;
  for (size_t cut = 1; cut < all.size(); ++cut) {
    HttpConnection connection;
    connection.Open();
    for (int i = 0; i < 2; ++i) {
      connection.Send(all.substr(0, cut));
      connection.Send(all.substr(cut));
      connection.Receive(kOk);
    }
    ExpectClean(connection, 2, {{200, 2}});
  }
}

TEST(HttpTest, EarlyResponseThenTheRestOfTheBody) {
  const std::string like = "GET / HTTP/1.1\r\n\r\n";
  HttpConnection connection;
  connection.Open();
  const std::string request = Post(like + like + like);
  connection.Send(request.substr(0, request.size() - 2 * like.size()));
  connection.Receive("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
  connection.Send(like);
  connection.Send(like);
  connection.Send(kGet);
  connection.Receive(kOk);
  ExpectClean(connection, 2, {{200, 1}, {413, 1}});
}

TEST(HttpTest, NextRequestSharesAPacketWithUnsentBody) {
  HttpConnection connection;
  connection.Open();
  const std::string request = Post("GET / HTTP/1.1\r\n\r\n");
  connection.Send(request.substr(0, request.size() - 10));
  connection.Receive("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
  connection.Send(request.substr(request.size() - 10) + kGet);
  connection.Receive(kOk);
  ExpectClean(connection, 2, {{200, 1}, {413, 1}});
}

TEST(HttpTest, Retransmissions) {
  HttpConnection connection;
  connection.Open();
  connection.Send(kGet);
  connection.SendAt(0, kGet);
  connection.Receive(kOk);
  connection.ReceiveAt(0, kOk, connection.sent());
  connection.SendAt(0, kGet);
  connection.SendAt(0, kGet + kGet);  // what was sent, and the next request behind it
  connection.set_sent(2 * kGet.size());
  connection.ReceiveAt(0, kOk + "HTTP/1.1 404 Not Found\r\n\r\n", connection.sent());
  connection.Close();
  ExpectClean(connection, 2, {{200, 1}, {404, 1}});
}

TEST(HttpTest, ReorderedResponses) {
  HttpConnection connection;
  connection.Open();
  connection.Send(kGet);
  const uint64_t sent = connection.sent();
  connection.ReceiveAt(15, kOk.substr(15), sent);
  connection.ReceiveAt(9, kOk.substr(9, 6), sent);
  connection.ReceiveAt(4, kOk.substr(4, 7), sent);
  EXPECT_TRUE(connection.figures().responses.empty());
  connection.ReceiveAt(0, kOk.substr(0, 4), sent);
  connection.set_received(kOk.size());
  connection.Send(kGet);
  connection.Receive(kOk);
  ExpectClean(connection, 2, {{200, 2}});
}

TEST(HttpTest, InterimResponses) {
  const std::string hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n";
  const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
  const std::string all = go_on + hints + hints + kOk;
  for (size_t cut = 1; cut < all.size(); ++cut) {
    HttpConnection connection;
    connection.Open();
    connection.Send(kGet);
    connection.Receive(all.substr(0, cut));
    connection.Receive(all.substr(cut));
    connection.Close();
    ExpectClean(connection, 1, {{200, 1}});
  }
}

TEST(HttpTest, InterimResponseOutOfOrderIsOpaque) {
  const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
  HttpConnection connection;
  connection.Open();
  connection.Send(kGet);
  connection.ReceiveAt(go_on.size(), kOk, connection.sent());
  connection.ReceiveAt(0, go_on, connection.sent());
  connection.Close();
  ExpectOpaque(connection, WEIR_OPAQUE_OTHER, 1, {});

  HttpConnection whole;  // the one that was lost comes again together with what followed it
  whole.Open();
  whole.Send(kGet);
  whole.ReceiveAt(go_on.size(), kOk, whole.sent());
  whole.ReceiveAt(0, go_on + kOk, whole.sent());
  whole.Close();
  ExpectClean(whole, 1, {{200, 1}});

  HttpConnection gap;
  gap.Open();
  gap.Send(kGet);
  gap.Receive(go_on.substr(0, 20));
  gap.ReceiveAt(22, go_on.substr(22) + kOk, gap.sent());
  gap.Close();
  ExpectOpaque(gap, WEIR_OPAQUE_OTHER, 1, {});

  HttpConnection split;  // the status line's end before its beginning, and all that follows with it
  split.Open();
  split.Send(kGet);
  split.ReceiveAt(9, go_on.substr(9) + kOk, split.sent());
  split.ReceiveAt(0, go_on.substr(0, 9), split.sent());
  split.Close();
  ExpectOpaque(split, WEIR_OPAQUE_OTHER, 1, {});
}

TEST(HttpTest, UpgradeIsCountedThenOpaque) {
  HttpConnection connection;
  connection.Open();
  connection.Send(kGet);
  connection.Receive("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
  connection.Send(kGet);
  connection.Receive(kOk);
  connection.Close();
  ExpectOpaque(connection, WEIR_OPAQUE_UPGRADED, 1, {{101, 1}});
}

TEST(HttpTest, ConnectAndHttp2AreOpaque) {
  for (const char* request : {"CONNECT a:1 HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}) {
    HttpConnection connection;
    connection.Open();
    connection.Send(request);
    connection.Receive(kOk);
    connection.Close();
    ExpectOpaque(connection, WEIR_OPAQUE_UPGRADED, 0, {});
  }
}

TEST(HttpTest, PipeliningIsOpaque) {
  HttpConnection one;
  one.Open();
  one.Send(kGet + kGet + kGet);
  one.Receive(kOk + kOk + kOk);
  one.Close();
  ExpectOpaque(one, WEIR_OPAQUE_PIPELINED, 1, {});

  HttpConnection several;
  several.Open();
  several.Send(kGet);
  several.Receive(kOk);
  several.Send(kGet);
  several.Send(kGet);
  several.Receive(kOk);
  several.Close();
  ExpectOpaque(several, WEIR_OPAQUE_PIPELINED, 2, {{200, 1}});
}

TEST(HttpTest, RequestBeforeTheEndOfAResponseIsOpaque) {
  HttpConnection connection;
  connection.Open();
  connection.Send(kGet);
  const uint64_t sent = connection.sent();
  connection.Receive("HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n");
  connection.Send(kGet);
  // sent before the server had the second request
  connection.ReceiveAt(connection.received(), "HTTP/1.1 500 no\r\n", sent);
  connection.Close();
  ExpectOpaque(connection, WEIR_OPAQUE_BAD_RESPONSE, 2, {{200, 1}});
}

TEST(HttpTest, OtherProtocolsAreOneOpaqueCount) {
  for (const char* first : {"\x16\x03\x01\x02", "*1\r\n$4\r\nPING\r\n", "SSH-2.0-x\r\n", "EHLO a\r\n",
                            "get a\r\n", "GET a\r\n", "GET / HTTP/1.1\n", "GET / HTTP/2.0\r\n",
                            "GET / HTTP/1.11\r\n", "GETGETGETGETGETGETGETGETGETGETGETGET / "}) {
    HttpConnection connection;
    connection.Open();
    connection.Receive("220 hello\r\n");
    connection.Send(first);
    connection.Receive(kOk);
    connection.Send(kGet);
    connection.Receive(kOk);
    connection.Close();
    ExpectOpaque(connection, WEIR_OPAQUE_NOT_HTTP, 0, {});
  }
}

TEST(HttpTest, WhatServersReadDifferentlyIsOpaque) {
  for (const char* headers : {"Content-Length: 5\r\nContent-Length: 5\r\n",
                              "Content-Length: 5, 5\r\n",
                              "Content-Length: -5\r\n",
                              "Content-Length:\r\n",
                              "Content-Length: 5 5\r\n",
                              "Content-Length: 1000000000000000000\r\n",
                              "Content-Length : 5\r\n",
                              "Transfer-Encoding: gzip, chunked\r\n",
                              "Transfer-Encoding: chunked, x\r\n",
                              "Transfer-Encoding: chunke d\r\n",
                              "Transfer-Encoding: identity\r\n",
                              "Transfer-Encoding:\r\n",
                              "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                              "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                              "A: b\r\n c\r\n",
                              "A: b\nC: d\r\n",
                              "A: b\rC: d\r\n",
                              ": b\r\n",
                              "content\r\n",
                              "\n",
                              "Transfer-Encoding: chunked\r\n\r\n\r\n",
                              "Transfer-Encoding: chunked\r\n\r\n5 5\n",
                              "Transfer-Encoding: chunked\r\n\r\n5\n",
                              "Transfer-Encoding: chunked\r\n\r\n1\r\nab",
                              "Transfer-Encoding: chunked\r\n\r\n1\r\na\n",
                              "Transfer-Encoding: chunked\r\n\r\n1234567890123456\r\n",
                              "Transfer-Encoding: chunked\r\n\r\nx"}) {
    HttpConnection connection;
    connection.Open();
    connection.Send("POST / HTTP/1.1\r\n" + std::string(headers));
    connection.Receive(kOk);
    connection.Close();
    ExpectOpaque(connection, WEIR_OPAQUE_OTHER, 1, {});
  }
  HttpConnection old;
  old.Open();
  old.Send("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n");
  ExpectOpaque(old, WEIR_OPAQUE_OTHER, 1, {});
}

TEST(HttpTest, ResponsesThatAreNone) {
  for (const char* response : {"HTTP/2.0 200 OK\r\n", "HTTP/1.1 2x0 OK\r\n", "HTTP/1.1 099 OK\r\n",
                               "HTTP/1.1  200 O", "<html><body>", "ICY 200 OK\r\n\r\n", "http/1.1 200 OK"}) {
    HttpConnection connection;
    connection.Open();
    connection.Send(kGet);
    connection.Receive(response);
    connection.Close();
    ExpectOpaque(connection, WEIR_OPAQUE_BAD_RESPONSE, 1, {});
  }
}

TEST(HttpTest, NoResponse) {
  HttpConnection connection;
  connection.Open();
  connection.Send(kGet);
  connection.Receive("HTTP/1.1 20");
  connection.Close();
  connection.Close();
  ExpectClean(connection, 1, {}, 1);

  HttpConnection interim;
  interim.Open();
  interim.Send(kGet);
  interim.Receive("HTTP/1.1 103 Early Hints\r\n\r\n");
  interim.Close();
  ExpectClean(interim, 1, {}, 1);

  HttpConnection half;
  half.Open();
  half.Send("GET / HTT");
  half.Close();
  ExpectClean(half, 0, {});
}

TEST(HttpTest, FinalResponseInPlaceOf100IsFollowedByWhoKnows) {
  const std::string head = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 50\r\n\r\n";
  HttpConnection refused;
  refused.Open();
  refused.Send(head);
  refused.Receive("HTTP/1.1 417 Expectation Failed\r\n\r\n");
  refused.Close();
  ExpectClean(refused, 1, {{417, 1}});

  HttpConnection goes_on;
  goes_on.Open();
  goes_on.Send(head);
  goes_on.Receive("HTTP/1.1 417 Expectation Failed\r\n\r\n");
  goes_on.Send(kGet);
  ExpectOpaque(goes_on, WEIR_OPAQUE_OTHER, 1, {{417, 1}});

  HttpConnection asked;
  asked.Open();
  asked.Send(head);
  asked.Receive("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 Too Large\r\n\r\n");
  asked.Send(std::string(50, 'G') + kGet);
  asked.Receive(kOk);
  ExpectClean(asked, 2, {{200, 1}, {413, 1}});
}

TEST(HttpTest, FastOpen) {
  HttpConnection connection;
  connection.Open(kGet);
  connection.Receive(kOk);
  connection.Send(kGet);
  connection.Receive(kOk);
  ExpectClean(connection, 2, {{200, 2}});
}

TEST(HttpTest, MidStreamGapsUrgentDataAndMptcpAreOpaque) {
  HttpConnection no_syn;
  no_syn.Send(kGet);
  ExpectOpaque(no_syn, WEIR_OPAQUE_OTHER, 0, {});
  HttpConnection gap;
  gap.Open();
  gap.SendAt(1, kGet);
  ExpectOpaque(gap, WEIR_OPAQUE_OTHER, 0, {});
  HttpConnection urgent;
  urgent.Open();
  urgent.SendAt(0, kGet, true);
  ExpectOpaque(urgent, WEIR_OPAQUE_OTHER, 0, {});
  HttpConnection multipath(1, 1, true);
  multipath.Open();
  multipath.Send(kGet);
  ExpectOpaque(multipath, WEIR_OPAQUE_OTHER, 0, {});
}

TEST(HttpTest, AnswerToHalfARequestLine) {
  HttpConnection connection;
  connection.Open();
  connection.Send("GET /" + std::string(9000, 'a'));
  connection.Receive("HTTP/1.1 414 URI Too Long\r\n\r\n");
  connection.Send(" HTTP/1.1\r\n\r\n");
  ExpectOpaque(connection, WEIR_OPAQUE_OTHER, 0, {});
}

TEST(HttpTest, LargePackets) {
  HttpConnection connection;
  connection.Open();
  const std::string headers = "GET /" + std::string(5000, 'a') +
                              " HTTP/1.1\r\nCookie: " + std::string(60000, 'x') +
                              "\r\nContent-Length: 400000\r\n\r\n";
  connection.Send(headers + std::string(300000, '\n'));
  connection.Send(std::string(100000, '\n') + "\r\n");
  connection.Receive(kOk + std::string(500000, 'H'));
  connection.Send(kGet);
  connection.Receive(kOk);
  ExpectClean(connection, 2, {{200, 2}});
}

}  // namespace
}  // namespace weir::testing
