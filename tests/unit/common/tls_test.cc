// The files named by the flags, and real handshakes between a gRPC server and clients.
#include "common/tls.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/unit/common/test_certs.h"
#include "weir/v1/agent.grpc.pb.h"

namespace weir {
namespace {

class TlsTest : public testing::Test {
 protected:
  TlsFlags Pair(const TestCa& ca, const std::string& name) {
    const PemPair pair = ca.Issue(name);
    return {.cert = dir_.Write(name + ".pem", pair.cert), .key = dir_.Write(name + ".key", pair.key)};
  }
  void ExpectError(const TlsFlags& flags, const std::string& start, const std::string& part) {
    const auto loaded = LoadTls(flags);
    ASSERT_FALSE(loaded.ok());
    const std::string message = Message(loaded.status());
    EXPECT_TRUE(message.starts_with(start)) << message;
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }

  TempDir dir_;
  TestCa ca_;
};

TEST_F(TlsTest, Load) {
  TlsFlags flags = Pair(ca_, "server");
  flags.ca = dir_.Write("ca.pem", ca_.pem());
  const auto loaded = LoadTls(flags);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->ca, ca_.pem());
  EXPECT_NE(loaded->key.find("PRIVATE KEY"), std::string::npos);
}

TEST_F(TlsTest, ErrorsNameFlagFileAndFault) {
  const TlsFlags good = Pair(ca_, "good");
  const TlsFlags other = Pair(ca_, "other");
  const std::string missing = dir_.path() + "/missing.pem";
  const std::string text = dir_.Write("text.pem", "no PEM here\n");
  ExpectError({.cert = missing, .key = good.key}, "--tls-cert " + missing + ": cannot open", "No such file");
  ExpectError({.ca = dir_.path()}, "--tls-ca " + dir_.path(), "not a regular file");
  ExpectError({.ca = text}, "--tls-ca " + text, "no certificate in PEM form");
  ExpectError({.cert = text, .key = good.key}, "--tls-cert " + text, "no certificate in PEM form");
  ExpectError({.cert = good.cert, .key = text}, "--tls-key " + text, "no unencrypted private key");
  ExpectError({.cert = good.cert, .key = good.cert}, "--tls-key " + good.cert, "no unencrypted private key");
  ExpectError({.cert = good.cert, .key = other.key}, "--tls-key " + other.key,
              "does not match the certificate in " + good.cert);
  ExpectError({.ca = dir_.Write("big.pem", std::string(2 << 20, 'x'))}, "--tls-ca ", "larger than 1 MiB");
}

TEST_F(TlsTest, CredentialsFollowTheRule) {
  EXPECT_TRUE(ServerCredentials("--listen", "127.0.0.1:0", nullptr).ok());
  EXPECT_FALSE(ServerCredentials("--listen", "0.0.0.0:0", nullptr).ok());
  EXPECT_TRUE(ServerCredentials("--listen", "0.0.0.0:0", *TlsFiles::Open(Pair(ca_, "s"), true)).ok());
  EXPECT_FALSE(ChannelCredentials("--controller", "10.0.0.1:7400", nullptr).ok());
  EXPECT_TRUE(
      ChannelCredentials("--controller", "10.0.0.1:7400", *TlsFiles::Open({.insecure = true}, false)).ok());
  EXPECT_FALSE(ServerCredentials("--listen", "nonsense", nullptr).ok());
}

/// UNIMPLEMENTED means that the call got through the handshake to a server without services.
grpc::StatusCode Call(int port, const TlsFlags& flags) {
  const std::string address = "127.0.0.1:" + std::to_string(port);
  const auto credentials = ChannelCredentials("--controller", address, *TlsFiles::Open(flags, false));
  EXPECT_TRUE(credentials.ok()) << credentials.status();
  const auto stub = v1::AgentService::NewStub(grpc::CreateChannel(address, *credentials));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  const auto stream = stub->Connect(&context);
  v1::ControllerMessage message;
  while (stream->Read(&message)) {
  }
  return stream->Finish().error_code();
}

class Handshake : public TlsTest {
 protected:
  void Serve(const TlsFlags& flags) {
    auto files = TlsFiles::Open(flags, true);
    ASSERT_TRUE(files.ok()) << files.status();
    files_ = *std::move(files);
    const auto credentials = ServerCredentials("--listen", "127.0.0.1:0", files_);
    ASSERT_TRUE(credentials.ok()) << credentials.status();
    credentials_ = *credentials;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", credentials_, &port_);
    builder.RegisterService(&unused_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void TearDown() override {
    if (server_) server_->Shutdown(std::chrono::system_clock::now());
  }

  v1::AgentService::Service unused_;
  std::shared_ptr<TlsFiles> files_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(Handshake, Tls) {
  Serve(Pair(ca_, "server"));
  const std::string ca = dir_.Write("ca.pem", ca_.pem());
  EXPECT_EQ(Call(port_, {.ca = ca}), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(Call(port_, {.ca = dir_.Write("other.pem", TestCa().pem())}), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Call(port_, {}), grpc::StatusCode::UNAVAILABLE);  // plaintext
}

TEST_F(Handshake, ACaOnTheServerRequiresClientCertificates) {
  const std::string ca = dir_.Write("ca.pem", ca_.pem());
  TlsFlags server = Pair(ca_, "server");
  server.ca = ca;
  Serve(server);
  TlsFlags client = Pair(ca_, "client");
  client.ca = ca;
  EXPECT_EQ(Call(port_, client), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(Call(port_, {.ca = ca}), grpc::StatusCode::UNAVAILABLE);
  TlsFlags stranger = Pair(TestCa(), "stranger");
  stranger.ca = ca;
  EXPECT_EQ(Call(port_, stranger), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(Handshake, TheNextOneTakesWhatTheFilesSayByThen) {
  const TestCa next;
  TlsFlags server = Pair(ca_, "server");
  server.ca = dir_.Write("clients.pem", ca_.pem());
  Serve(server);
  TlsFlags old_client = Pair(ca_, "old"), new_client = Pair(next, "new");
  old_client.ca = dir_.Write("ca.pem", ca_.pem());
  new_client.ca = dir_.Write("next.pem", next.pem());
  EXPECT_EQ(Call(port_, old_client), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(Call(port_, new_client), grpc::StatusCode::UNAVAILABLE);

  dir_.Write("clients.pem", ca_.pem() + next.pem());  // who is trusted, before who is shown
  ASSERT_TRUE(files_->Look().ok());
  new_client.ca = old_client.ca;
  EXPECT_EQ(Call(port_, old_client), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(Call(port_, new_client), grpc::StatusCode::UNIMPLEMENTED);

  Pair(next, "server");
  dir_.Write("clients.pem", next.pem());
  ASSERT_TRUE(files_->Look().ok());
  new_client.ca = dir_.Write("next.pem", next.pem());
  EXPECT_EQ(Call(port_, new_client), grpc::StatusCode::UNIMPLEMENTED);
  old_client.ca = new_client.ca;
  EXPECT_EQ(Call(port_, old_client), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(files_->reloads(), 2u);
}

TEST_F(Handshake, ManyAtOnceWhileFilesChange) {
  const std::string ca = dir_.Write("ca.pem", ca_.pem());
  Serve(Pair(ca_, "server"));
  std::atomic<bool> enough{false};
  std::vector<std::thread> clients;
  std::atomic<int> calls{0};
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      while (!enough) {
        EXPECT_EQ(Call(port_, {.ca = ca}), grpc::StatusCode::UNIMPLEMENTED);
        ++calls;
      }
    });
  }
  // Each generation serves some calls before the next.
  for (int generation = 1; generation <= 20; ++generation) {
    Pair(ca_, "server");
    ASSERT_TRUE(*files_->Look());
    for (const int seen = calls; calls < seen + 8;) std::this_thread::yield();
  }
  enough = true;
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace weir
