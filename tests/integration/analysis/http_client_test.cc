// The HTTP client against servers that answer, do not, lie, or have the wrong certificate.
#include "common/http_client.h"

#include "common/http.h"
#include "tests/integration/analysis/loop.h"
#include "tests/integration/analysis/raw_server.h"
#include "tests/unit/common/test_certs.h"

namespace weir {
namespace {

class Client : public testing::Test {
 protected:
  std::unique_ptr<HttpServer> Serve(HttpServer::Options options) {
    auto server = HttpServer::Listen(loop_.context, options);
    EXPECT_TRUE(server.ok()) << server.status();
    (*server)->Handle(
        "/hello", [](const HttpRequest& request) { return HttpResponse{.body = "hello " + request.query}; });
    (*server)->Handle("/down",
                      [](const HttpRequest&) { return HttpResponse{.status = 503, .body = "down"}; });
    (*server)->Handle("/big",
                      [](const HttpRequest&) { return HttpResponse{.body = std::string(100'000, 'x')}; });
    return *std::move(server);
  }
  static HttpCall To(const std::string& url) {
    HttpCall call;
    call.url = *ParseUrl(url);
    call.timeout = std::chrono::seconds(30);
    return call;
  }
  std::string ErrorOf(const HttpCall& call, absl::StatusCode code) {
    const auto answer = loop_.Call(call);
    EXPECT_EQ(answer.status().code(), code) << answer.status();
    return Message(answer.status());
  }

  Loop loop_;
};

TEST_F(Client, GivesAnswersOfAnyStatus) {
  const auto server = Serve({.listen = "127.0.0.1:0"});
  const std::string base = "http://" + server->address();
  const auto hello = loop_.Call(To(base + "/hello?a=b"));
  ASSERT_TRUE(hello.ok()) << hello.status();
  EXPECT_EQ(hello->status, 200U);
  EXPECT_EQ(hello->body, "hello a=b");
  const auto down = loop_.Call(To(base + "/down"));
  ASSERT_TRUE(down.ok());
  EXPECT_EQ(down->status, 503U);
  EXPECT_EQ(loop_.Call(To(base + "/none"))->status, 404U);
}

TEST_F(Client, SendsWhatItIsGiven) {
  RawServer server(loop_.context, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  HttpCall call = To(server.url("/path?q=1"));
  call.method = "POST";
  call.headers = {
      {"Authorization", "Bearer secret"}, {"Content-Type", "text/x"}, {"Content-Type", "application/json"}};
  call.body = "{}";
  const auto answer = loop_.Call(call);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->body, "ok");
  const std::string& request = server.request();
  EXPECT_TRUE(request.starts_with("POST /path?q=1 HTTP/1.1\r\nHost: 127.0.0.1:")) << request;
  EXPECT_NE(request.find("Authorization: Bearer secret\r\n"), std::string::npos) << request;
  EXPECT_NE(request.find("Content-Type: application/json\r\n"), std::string::npos) << request;
  EXPECT_EQ(request.find("text/x"), std::string::npos) << request;
  EXPECT_NE(request.find("Content-Length: 2\r\n"), std::string::npos) << request;
}

TEST_F(Client, NobodyThereIsAnError) {
  boost::asio::ip::tcp::acceptor closed(loop_.context, {boost::asio::ip::make_address("127.0.0.1"), 0});
  const uint16_t port = closed.local_endpoint().port();
  closed.close();
  const std::string url = "http://127.0.0.1:" + std::to_string(port);
  EXPECT_EQ(ErrorOf(To(url), absl::StatusCode::kUnavailable), url + ": cannot connect: Connection refused");
  const std::string name = ErrorOf(To("http://no-such-host.invalid"), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(name.starts_with("http://no-such-host.invalid: cannot find its address: ")) << name;
}

TEST_F(Client, TheDeadlineIsForAllOfIt) {
  RawServer silent(loop_.context, "");
  HttpCall call = To(silent.url());
  call.timeout = std::chrono::milliseconds(50);
  EXPECT_TRUE(ErrorOf(call, absl::StatusCode::kDeadlineExceeded).ends_with(": no answer within 50 ms"));
  RawServer half(loop_.context, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  // The connection is closed in the middle: an error at once, not at the deadline.
  EXPECT_NE(ErrorOf(To(half.url()), absl::StatusCode::kUnavailable).find("no answer"), std::string::npos);
}

TEST_F(Client, AnAnswerIsBounded) {
  const auto server = Serve({.listen = "127.0.0.1:0"});
  HttpCall call = To("http://" + server->address() + "/big");
  call.max_body = 99'999;
  EXPECT_TRUE(
      ErrorOf(call, absl::StatusCode::kResourceExhausted).ends_with("an answer of more than 99999 bytes"));
  call.max_body = 100'000;
  EXPECT_EQ(loop_.Call(call)->body.size(), 100'000U);
  RawServer endless_header(loop_.context, "HTTP/1.1 200 OK\r\nX: " + std::string(40'000, 'x') + "\r\n\r\n");
  ErrorOf(To(endless_header.url()), absl::StatusCode::kResourceExhausted);
}

TEST_F(Client, WhatIsNoHttpIsAnError) {
  RawServer server(loop_.context, "220 smtp ready\r\n\r\n");
  EXPECT_NE(ErrorOf(To(server.url()), absl::StatusCode::kUnavailable).find(": no answer: "),
            std::string::npos);
}

TEST_F(Client, ACallThatCannotBeMadeIsNotMade) {
  RawServer server(loop_.context, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  HttpCall call = To(server.url());
  call.headers = {{"X", "a\r\nHost: other"}};
  EXPECT_EQ(ErrorOf(call, absl::StatusCode::kInvalidArgument),
            "header \"X\": found a name or value that is none, expected one line");
  call.headers = {{"X: y", "a"}};
  ErrorOf(call, absl::StatusCode::kInvalidArgument);
  call.headers.clear();
  call.method = "DELETE";
  ErrorOf(call, absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(server.request(), "");
}

TEST_F(Client, StopEndsEveryCall) {
  RawServer silent(loop_.context, "");
  std::optional<Status> first, second;
  loop_.client.Call(To(silent.url()), [&](Result<HttpAnswer> answer) { first = answer.status(); });
  loop_.client.Call(To(silent.url()), [&](Result<HttpAnswer> answer) { second = answer.status(); });
  while (silent.request().empty()) loop_.context.run_one();
  loop_.client.Stop();
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(second->code(), absl::StatusCode::kCancelled);
}

class Tls : public Client {
 protected:
  void SetUp() override {
    const PemPair pair = ca_.Issue("server");
    server_ = Serve({.listen = "0.0.0.0:0",
                     .tls = *TlsFiles::Open(
                         {.cert = dir_.Write("c", pair.cert), .key = dir_.Write("k", pair.key)}, true)});
  }
  HttpCall Secure(const std::string& host = "127.0.0.1") {
    return To("https://" + host + ":" + std::to_string(server_->port()) + "/hello");
  }

  TempDir dir_;
  TestCa ca_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(Tls, ACertificateOfTheGivenCaIsTrusted) {
  HttpCall call = Secure();
  call.ca_pem = ca_.pem();
  const auto answer = loop_.Call(call);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->body, "hello ");
  HttpCall named = Secure("localhost");
  named.ca_pem = ca_.pem();
  EXPECT_TRUE(loop_.Call(named).ok());
}

TEST_F(Tls, AnyOtherIsNot) {
  const TestCa other;
  HttpCall call = Secure();
  call.ca_pem = other.pem();
  EXPECT_NE(ErrorOf(call, absl::StatusCode::kUnavailable).find(": no TLS: certificate verify failed"),
            std::string::npos);
  EXPECT_NE(ErrorOf(Secure(), absl::StatusCode::kUnavailable).find(": no TLS: certificate verify failed"),
            std::string::npos)
      << "nor by the system";
  HttpCall wrong_name = Secure("127.0.0.2");
  wrong_name.ca_pem = ca_.pem();
  EXPECT_NE(ErrorOf(wrong_name, absl::StatusCode::kUnavailable).find(": no TLS: certificate verify failed"),
            std::string::npos)
      << "the certificate is for 127.0.0.1";
  HttpCall no_pem = Secure();
  no_pem.ca_pem = "no PEM";
  EXPECT_TRUE(
      ErrorOf(no_pem, absl::StatusCode::kInvalidArgument).starts_with("CA certificate: found no PEM"));
}

TEST_F(Tls, InsecureTakesAny) {
  HttpCall call = Secure("127.0.0.2");
  call.insecure = true;
  EXPECT_TRUE(loop_.Call(call).ok());
}

TEST_F(Tls, PlainTextIsNoTls) {
  RawServer plain(loop_.context, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  HttpCall call = To("https://127.0.0.1:" + std::to_string(plain.port()));
  call.insecure = true;
  call.timeout = std::chrono::seconds(2);
  EXPECT_FALSE(loop_.Call(call).ok());
}

}  // namespace
}  // namespace weir
