// The HTTP server as raw sockets see it.
#include "common/http.h"

#include <gtest/gtest.h>

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <future>
#include <thread>

#include "tests/unit/common/test_certs.h"

namespace weir {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

class Http : public testing::Test {
 protected:
  void Serve(HttpServer::Options options) {
    if (options.listen.empty()) options.listen = "127.0.0.1:0";
    auto server = HttpServer::Listen(context_, options);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    server_->Handle("/hello", [](const HttpRequest& request) {
      return HttpResponse{.body = "hello " + request.query + "\n"};
    });
    server_->Handle("/down",
                    [](const HttpRequest&) { return HttpResponse{.status = 503, .body = "down\n"}; });
    server_->Handle("/accept",
                    [](const HttpRequest& request) { return HttpResponse{.body = request.accept + "\n"}; });
    server_->HandlePrefix("/api/",
                          [](const HttpRequest& request) { return HttpResponse{.body = request.path}; });
    server_->HandlePrefix("/api/v2/", [](const HttpRequest&) { return HttpResponse{.body = "two"}; });
    port_ = server_->port();
    thread_ = std::thread([this] { context_.run(); });
  }
  void TearDown() override {
    if (!thread_.joinable()) return;
    asio::post(context_, [this] { server_->Stop(); });
    thread_.join();
  }

  tcp::socket Connect() {
    tcp::socket socket(client_);
    socket.connect({asio::ip::make_address("127.0.0.1"), port_});
    return socket;
  }
  /// Everything until the server closes.
  static std::string ReadAll(tcp::socket& socket) {
    std::string text;
    boost::system::error_code error;
    asio::read(socket, asio::dynamic_buffer(text), error);
    return text;
  }
  static std::string ReadUntil(tcp::socket& socket, std::string& buffer, const std::string& end) {
    const size_t size = asio::read_until(socket, asio::dynamic_buffer(buffer), end);
    std::string text = buffer.substr(0, size);
    buffer.erase(0, size);
    return text;
  }
  /// Sends and reads until the server closes; the requests ask it to, or are refused.
  std::string Exchange(const std::string& request) {
    tcp::socket socket = Connect();
    asio::write(socket, asio::buffer(request));
    return ReadAll(socket);
  }
  std::string Get(const std::string& target) {
    return Exchange("GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  }

  asio::io_context context_, client_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
  uint16_t port_ = 0;
};

void ExpectStatus(const std::string& response, int status) {
  EXPECT_TRUE(response.starts_with("HTTP/1.1 " + std::to_string(status) + " ")) << response;
}

TEST_F(Http, GetAndHead) {
  Serve({});
  const std::string get = Get("/hello?a=b");
  ExpectStatus(get, 200);
  EXPECT_TRUE(get.ends_with("\r\n\r\nhello a=b\n")) << get;
  EXPECT_NE(get.find("Content-Type: text/plain; charset=utf-8\r\n"), std::string::npos);
  const std::string head = Exchange("HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  ExpectStatus(head, 200);
  EXPECT_NE(head.find("Content-Length: 7\r\n"), std::string::npos) << head;
  EXPECT_TRUE(head.ends_with("\r\n\r\n")) << head;
  ExpectStatus(Get("/down"), 503);
}

TEST_F(Http, HandlersSeeTheAcceptHeader) {
  Serve({});
  const auto get = [&](const std::string& fields) {
    return Exchange("GET /accept HTTP/1.1\r\nHost: x\r\n" + fields + "Connection: close\r\n\r\n");
  };
  EXPECT_TRUE(get("").ends_with("\r\n\r\n\n"));
  EXPECT_TRUE(get("accept: a/b;q=0.5\r\n").ends_with("\r\n\r\na/b;q=0.5\n"));
  EXPECT_TRUE(get("Accept: a/b\r\nX: y\r\nACCEPT: c/d\r\n").ends_with("\r\n\r\na/b,c/d\n"));
}

TEST_F(Http, UnknownPathsAndMethods) {
  Serve({});
  ExpectStatus(Get("/nothing"), 404);
  ExpectStatus(Get("/hello/"), 404);
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS"}) {
    const std::string answer =
        Exchange(std::string(method) + " /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    ExpectStatus(answer, 405);
    EXPECT_NE(answer.find("Allow: GET, HEAD\r\n"), std::string::npos) << answer;
  }
}

TEST_F(Http, TheLongestPrefixWins) {
  Serve({});
  EXPECT_TRUE(Get("/api/v1/x").ends_with("\r\n\r\n/api/v1/x"));
  EXPECT_TRUE(Get("/api/v2/x").ends_with("\r\n\r\ntwo"));
}

TEST_F(Http, ConnectionsAreKeptAndPipelined) {
  Serve({});
  tcp::socket socket = Connect();
  std::string buffer;
  asio::write(socket, asio::buffer(std::string("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")));
  ReadUntil(socket, buffer, "hello \n");
  asio::write(socket, asio::buffer(std::string("GET /hello?2 HTTP/1.1\r\nHost: x\r\n\r\n"
                                               "GET /hello?3 HTTP/1.1\r\nHost: x\r\n\r\n")));
  ReadUntil(socket, buffer, "hello 2\n");
  ReadUntil(socket, buffer, "hello 3\n");
}

TEST_F(Http, ABodyComesBackWhenItWasWritten) {
  Serve({});
  std::promise<std::string> back;
  asio::post(context_, [&] {
    server_->Handle("/big", [&](const HttpRequest&) {
      HttpResponse response{.body = std::string(1 << 20, 'x')};
      response.sent = [&](std::string body) { back.set_value(std::move(body)); };
      return response;
    });
  });
  tcp::socket socket = Connect();
  asio::write(socket, asio::buffer(std::string("GET /big HTTP/1.1\r\nHost: x\r\n\r\n")));
  std::string buffer;
  ReadUntil(socket, buffer, "\r\n\r\n");
  asio::read(socket, asio::dynamic_buffer(buffer), asio::transfer_exactly((1 << 20) - buffer.size()));
  EXPECT_EQ(buffer, std::string(1 << 20, 'x'));
  EXPECT_EQ(back.get_future().get(), buffer) << "while the connection stays open";
}

TEST_F(Http, WhatIsNoRequestIsRefused) {
  Serve({.max_header_bytes = 1024});
  ExpectStatus(Exchange("nonsense\r\n\r\n"), 400);
  ExpectStatus(Exchange("GET /hello HTTP/1.1\r\nbroken header\r\n\r\n"), 400);
  ExpectStatus(Exchange("GET /hello HTTP/1.1\r\nX: " + std::string(2000, 'x') + "\r\n\r\n"), 431);
  ExpectStatus(Exchange("POST /hello HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde"), 413);
}

TEST_F(Http, AnIdleConnectionIsClosed) {
  Serve({.timeout = std::chrono::milliseconds(50)});
  tcp::socket idle = Connect();
  EXPECT_EQ(ReadAll(idle), "");
  tcp::socket half = Connect();
  asio::write(half, asio::buffer(std::string("GET /hel")));
  EXPECT_EQ(ReadAll(half), "");
  ExpectStatus(Get("/hello"), 200);
}

TEST_F(Http, TooManyConnectionsAreClosedAtOnce) {
  Serve({.max_connections = 2});
  std::string buffer;
  tcp::socket first = Connect(), second = Connect();
  for (tcp::socket* socket : {&first, &second}) {  // served, and kept
    asio::write(*socket, asio::buffer(std::string("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")));
    ReadUntil(*socket, buffer, "hello \n");
  }
  tcp::socket third = Connect();
  EXPECT_EQ(ReadAll(third), "");
  asio::write(first,
              asio::buffer(std::string("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")));
  ReadAll(first);
  ExpectStatus(Get("/hello"), 200);
}

TEST_F(Http, StopClosesEverything) {
  Serve({});
  std::string buffer;
  tcp::socket socket = Connect();
  asio::write(socket, asio::buffer(std::string("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")));
  ReadUntil(socket, buffer, "hello \n");
  asio::post(context_, [this] { server_->Stop(); });
  EXPECT_EQ(ReadAll(socket), "");
  thread_.join();  // nothing is left to do
  tcp::socket late(client_);
  boost::system::error_code error;
  late.connect({asio::ip::make_address("127.0.0.1"), port_}, error);
  EXPECT_EQ(error, asio::error::connection_refused);
}

TEST_F(Http, ListenErrorsNameFlagAndAddress) {
  Serve({});
  const auto error = [&](const std::string& listen) {
    const auto server = HttpServer::Listen(context_, {.listen = listen});
    return server.ok() ? "listens" : Message(server.status());
  };
  const std::string taken = server_->address();
  EXPECT_NE(error(taken).find("--http " + taken + ": cannot bind"), std::string::npos) << error(taken);
  EXPECT_NE(error("example.com:80").find("refusing to listen off loopback"), std::string::npos);
  EXPECT_NE(error("0.0.0.0:0").find("refusing to listen off loopback"), std::string::npos);
  EXPECT_NE(error("unix:/x").find("HOST:PORT only"), std::string::npos);
  EXPECT_NE(error("127.0.0.1").find("no port"), std::string::npos);
}

TEST_F(Http, OffLoopbackWithACertificateItSpeaksTls) {
  const TempDir dir;
  const TestCa ca;
  const PemPair pair = ca.Issue("server");
  Serve({.listen = "0.0.0.0:0",
         .tls = *TlsFiles::Open({.cert = dir.Write("c", pair.cert), .key = dir.Write("k", pair.key)}, true)});
  asio::ssl::context tls(asio::ssl::context::tls_client);
  tls.add_certificate_authority(asio::buffer(ca.pem()));
  tls.set_verify_mode(asio::ssl::verify_peer);
  asio::ssl::stream<tcp::socket> stream(Connect(), tls);
  stream.handshake(asio::ssl::stream_base::client);
  asio::write(stream,
              asio::buffer(std::string("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")));
  std::string text;
  boost::system::error_code end;
  asio::read(stream, asio::dynamic_buffer(text), end);
  ExpectStatus(text, 200);
  EXPECT_EQ(Get("/hello").find("HTTP/1.1 200"), std::string::npos);  // plaintext
}

TEST_F(Http, ANewHandshakeTakesTheNewCertificateAndAnOpenConnectionGoesOn) {
  const TestCa ca;
  const PemPair first = ca.Issue("first"), second = ca.Issue("second");
  MountedSecret secret({{"c", first.cert}, {"k", first.key}});
  const auto files = *TlsFiles::Open({.cert = secret.Path("c"), .key = secret.Path("k")}, true);
  Serve({.listen = "0.0.0.0:0", .tls = files});
  asio::ssl::context tls(asio::ssl::context::tls_client);
  tls.add_certificate_authority(asio::buffer(ca.pem()));
  tls.set_verify_mode(asio::ssl::verify_peer);
  using Stream = asio::ssl::stream<tcp::socket>;
  const auto dial = [&] {
    auto stream = std::make_unique<Stream>(Connect(), tls);
    stream->handshake(asio::ssl::stream_base::client);
    return stream;
  };
  const auto serial = [](Stream& stream) {
    const std::unique_ptr<X509, decltype(&X509_free)> shown(SSL_get1_peer_certificate(stream.native_handle()),
                                                            &X509_free);
    return std::to_string(ASN1_INTEGER_get(X509_get0_serialNumber(shown.get())));
  };
  const auto ask = [](Stream& stream) {
    asio::write(stream, asio::buffer(std::string("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")));
    std::string text;
    asio::read_until(stream, asio::dynamic_buffer(text), "hello \n");
    return text;
  };
  const auto open = dial();
  EXPECT_EQ(serial(*open), SerialOf(first.cert));
  ExpectStatus(ask(*open), 200);

  secret.Put({{"c", second.cert}, {"k", second.key}});
  ASSERT_TRUE(*files->Look());
  const auto later = dial();
  EXPECT_EQ(serial(*later), SerialOf(second.cert));
  ExpectStatus(ask(*later), 200);
  ExpectStatus(ask(*open), 200);
}

}  // namespace
}  // namespace weir
