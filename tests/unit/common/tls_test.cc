// The files named by the flags, and real handshakes between a gRPC server and clients.
#include "common/tls.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include "tests/unit/common/test_certs.h"
#include "weir/v1/agent.grpc.pb.h"

namespace weir {
namespace {

class TlsFiles : public testing::Test {
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

TEST_F(TlsFiles, Load) {
  TlsFlags flags = Pair(ca_, "server");
  flags.ca = dir_.Write("ca.pem", ca_.pem());
  const auto loaded = LoadTls(flags);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->ca, ca_.pem());
  EXPECT_NE(loaded->key.find("PRIVATE KEY"), std::string::npos);
}

TEST_F(TlsFiles, ErrorsNameFlagFileAndFault) {
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

TEST_F(TlsFiles, CredentialsFollowTheRule) {
  EXPECT_TRUE(ServerCredentials("--listen", "127.0.0.1:0", {}).ok());
  EXPECT_FALSE(ServerCredentials("--listen", "0.0.0.0:0", {}).ok());
  EXPECT_TRUE(ServerCredentials("--listen", "0.0.0.0:0", Pair(ca_, "s")).ok());
  EXPECT_FALSE(ChannelCredentials("--controller", "10.0.0.1:7400", {}).ok());
  EXPECT_TRUE(ChannelCredentials("--controller", "10.0.0.1:7400", {.insecure = true}).ok());
  EXPECT_FALSE(ServerCredentials("--listen", "nonsense", {}).ok());
}

/// UNIMPLEMENTED means that the call got through the handshake to a server without services.
grpc::StatusCode Call(int port, const TlsFlags& flags) {
  const std::string address = "127.0.0.1:" + std::to_string(port);
  const auto credentials = ChannelCredentials("--controller", address, flags);
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

class Handshake : public TlsFiles {
 protected:
  void Serve(const TlsFlags& flags) {
    const auto credentials = ServerCredentials("--listen", "127.0.0.1:0", flags);
    ASSERT_TRUE(credentials.ok()) << credentials.status();
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", *credentials, &port_);
    builder.RegisterService(&unused_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void TearDown() override {
    if (server_) server_->Shutdown(std::chrono::system_clock::now());
  }

  v1::AgentService::Service unused_;
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

}  // namespace
}  // namespace weir
