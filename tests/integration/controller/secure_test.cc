// Who may listen and who may speak: TLS and mutual TLS between controller, agents and weirctl; the standard
// services that every gRPC client knows.
#include <grpcpp/generic/generic_stub.h>
#include <sched.h>

#include "tests/integration/controller/controller_fixture.h"
#include "tests/integration/process.h"
#include "tests/unit/common/test_certs.h"

namespace weir::testing {
namespace {

std::shared_ptr<grpc::Channel> DialTls(const std::string& address, const std::string& ca,
                                       const PemPair& own = {}) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = ca;
  options.pem_cert_chain = own.cert;
  options.pem_private_key = own.key;
  return grpc::CreateChannel(address, grpc::SslCredentials(options));
}

class SecureTest : public ControllerTest {
 protected:
  SecureTest()
      : ca_(files_.Write("ca.pem", authority_.pem())), server_(Write("server")), client_(Write("client")) {}

  struct Pair {
    PemPair pem;
    std::string cert, key;
  };
  Pair Write(const std::string& name) {
    const PemPair pem = authority_.Issue(name);
    return {pem, files_.Write(name + ".pem", pem.cert), files_.Write(name + ".key", pem.key)};
  }
  std::vector<std::string> ServerFlags() const {
    return {"--tls-cert", server_.cert, "--tls-key", server_.key};
  }
  std::vector<std::string> MutualFlags() const {
    auto flags = ServerFlags();
    flags.insert(flags.end(), {"--tls-ca", ca_});
    return flags;
  }
  struct Outcome {
    int code;
    std::string output;
  };
  static Outcome Weirctl(const std::string& server, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {WEIRCTL, "--server", server});
    Process process(arguments);
    const int code = process.Wait();
    return {code, process.seen};
  }
  static void ExpectAgentIsWelcomed(const std::shared_ptr<grpc::Channel>& channel) {
    SimAgent::Options options;
    options.node_name = "a";
    options.channel = channel;
    SimAgent agent(options);
    agent.Start();
    EXPECT_TRUE(agent.WaitFor([](const auto& view) { return view.connected; }));
  }
  static void ExpectAgentIsTurnedAway(const std::shared_ptr<grpc::Channel>& channel) {
    SimAgent::Options options;
    options.node_name = "a";
    options.channel = channel;
    SimAgent agent(options);
    agent.Start();
    EXPECT_TRUE(agent.WaitFor([](const auto& view) { return view.ended.has_value(); }));
    EXPECT_EQ(agent.view().ended->error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_FALSE(agent.view().connected);
  }

  const TempDir files_;
  const TestCa authority_, stranger_;
  const std::string ca_;
  const Pair server_, client_;
};

TEST_F(SecureTest, TlsIsForThoseWhoTrustTheAuthority) {
  Controller controller(base_ / "state", 0, ServerFlags());
  ASSERT_TRUE(controller.listening());
  ExpectAgentIsWelcomed(DialTls(controller.address(), authority_.pem()));
  ExpectAgentIsTurnedAway(DialTls(controller.address(), stranger_.pem()));
  ExpectAgentIsTurnedAway(grpc::CreateChannel(controller.address(), grpc::InsecureChannelCredentials()));

  const Outcome nodes = Weirctl(controller.address(), {"--tls-ca", ca_, "get", "nodes"});
  EXPECT_EQ(nodes.code, 0) << nodes.output;
  const Outcome plain = Weirctl(controller.address(), {"get", "nodes"});
  EXPECT_EQ(plain.code, 1);
  EXPECT_NE(plain.output.find("--tls-ca is needed where it listens with TLS"), std::string::npos)
      << plain.output;
  const Outcome stranger =
      Weirctl(controller.address(), {"--tls-ca", files_.Write("other.pem", stranger_.pem()), "get", "nodes"});
  EXPECT_EQ(stranger.code, 1) << stranger.output;
}

TEST_F(SecureTest, MutualTlsIsForThoseTheAuthorityKnows) {
  Controller controller(base_ / "state", 0, MutualFlags());
  ASSERT_TRUE(controller.listening());
  ExpectAgentIsWelcomed(DialTls(controller.address(), authority_.pem(), client_.pem));
  ExpectAgentIsTurnedAway(DialTls(controller.address(), authority_.pem()));
  ExpectAgentIsTurnedAway(DialTls(controller.address(), authority_.pem(), stranger_.Issue("client")));

  const std::vector<std::string> own = {"--tls-ca",   ca_,         "--tls-cert",
                                        client_.cert, "--tls-key", client_.key};
  auto get = own;
  get.insert(get.end(), {"get", "nodes"});
  const Outcome nodes = Weirctl(controller.address(), get);
  EXPECT_EQ(nodes.code, 0) << nodes.output;
  const Outcome nobody = Weirctl(controller.address(), {"--tls-ca", ca_, "get", "nodes"});
  EXPECT_EQ(nobody.code, 1) << nobody.output;
}

TEST_F(SecureTest, AListenerOffLoopbackNeedsTlsOrInsecure) {
  // In a network of its own: nobody can reach what listens there.
  const auto alone = [] {
    if (unshare(CLONE_NEWNET) != 0) _exit(77);
  };
  const auto start = [&](const std::vector<std::string>& more) {
    std::vector<std::string> command = {WEIR_CONTROLLER, "--state", (base_ / "other").string(), "--log-level",
                                        "warn"};
    command.insert(command.end(), more.begin(), more.end());
    return std::make_unique<Process>(command, alone);
  };
  for (const char* flag : {"--listen", "--http"}) {
    const std::string other = flag == std::string("--listen") ? "--http" : "--listen";
    auto refused = start({flag, "0.0.0.0:0", other, "127.0.0.1:0"});
    const int code = refused->Wait();
    if (code == 77) GTEST_SKIP() << "unshare(network): run as root";
    EXPECT_EQ(code, 1) << flag;
    EXPECT_NE(refused->seen.find(std::string(flag) + " 0.0.0.0:0"), std::string::npos) << refused->seen;
    EXPECT_NE(refused->seen.find("--insecure"), std::string::npos) << refused->seen;
  }
  auto meant = start({"--listen", "0.0.0.0:0", "--http", "127.0.0.1:0", "--insecure"});
  EXPECT_TRUE(meant->WordAfter("grpc=").starts_with("0.0.0.0:")) << meant->seen;
  meant->Signal(SIGTERM);
  EXPECT_EQ(meant->Wait(), 0) << meant->seen;
  std::vector<std::string> tls = ServerFlags();
  tls.insert(tls.end(), {"--listen", "0.0.0.0:0", "--http", "127.0.0.1:0"});
  auto secured = start(tls);
  EXPECT_TRUE(secured->WordAfter("grpc=").starts_with("0.0.0.0:")) << secured->seen;
  secured->Signal(SIGTERM);
  EXPECT_EQ(secured->Wait(), 0) << secured->seen;
}

TEST_F(SecureTest, BadFilesAreNamedAndNothingIsMade) {
  const std::string text = files_.Write("text", "not a certificate\n");
  const struct {
    std::vector<std::string> flags;
    std::string message;
  } rows[] = {
      {{"--tls-cert", "/nowhere.pem", "--tls-key", server_.key}, "--tls-cert /nowhere.pem: cannot open"},
      {{"--tls-cert", text, "--tls-key", server_.key}, "--tls-cert " + text},
      {{"--tls-cert", server_.cert, "--tls-key", client_.key}, "--tls-key " + client_.key},
      {{"--tls-cert", server_.cert}, "--tls-key"},
      {{"--tls-ca", ca_}, "--tls-ca"},
  };
  for (const auto& row : rows) {
    std::vector<std::string> command = {WEIR_CONTROLLER, "--state",     (base_ / "none").string(),
                                        "--listen",      "127.0.0.1:0", "--http",
                                        "127.0.0.1:0"};
    command.insert(command.end(), row.flags.begin(), row.flags.end());
    Process process(command);
    EXPECT_EQ(process.Wait(), 1) << row.message;
    EXPECT_NE(process.seen.find(row.message), std::string::npos) << process.seen;
    EXPECT_FALSE(std::filesystem::exists(base_ / "none")) << row.message;
  }
}

/// A streaming call by its name alone, as a client without our stubs makes it; one request, then reads.
class RawStream {
 public:
  RawStream(int port, const std::string& method, const std::string& request) : stub_(Dial(port)) {
    context_.set_wait_for_ready(true);
    context_.set_deadline(std::chrono::system_clock::now() + 30s);
    call_ = stub_.PrepareCall(&context_, method, &queue_);
    call_->StartCall(nullptr);
    Next();
    const grpc::Slice slice(request);
    call_->WriteLast(grpc::ByteBuffer(&slice, 1), {}, nullptr);
    Next();
  }
  ~RawStream() {
    context_.TryCancel();
    grpc::Status status;
    call_->Finish(&status, nullptr);
    Next();
  }
  /// The bytes of the next message; empty when there is none.
  std::string Read() {
    grpc::ByteBuffer message;
    call_->Read(&message, nullptr);
    if (!Next()) return {};
    grpc::Slice slice;
    if (!message.DumpToSingleSlice(&slice).ok()) return {};
    return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
  }

 private:
  bool Next() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

// Messages of grpc.health.v1: field 1 of HealthCheckResponse is 1, SERVING, or 2, NOT_SERVING.
TEST_F(SecureTest, HealthIsServingUntilTheEnd) {
  Controller controller(base_ / "state");
  ASSERT_TRUE(controller.listening());
  RawStream health(controller.port(), "/grpc.health.v1.Health/Watch", "");
  EXPECT_EQ(health.Read(), std::string("\x08\x01"));
  std::thread end([&] { EXPECT_EQ(controller.End(SIGTERM), 0); });
  EXPECT_EQ(health.Read(), std::string("\x08\x02"));
  end.join();
}

// Field 7 of ServerReflectionRequest, list_services.
TEST_F(SecureTest, ReflectionListsEveryService) {
  Controller controller(base_ / "state");
  ASSERT_TRUE(controller.listening());
  RawStream reflection(controller.port(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                       std::string("\x3a\x01*", 3));
  const std::string services = reflection.Read();
  for (const char* name : {"weir.v1.WeirService", "weir.v1.AgentService", "grpc.health.v1.Health"})
    EXPECT_NE(services.find(name), std::string::npos) << name;
}

}  // namespace
}  // namespace weir::testing
