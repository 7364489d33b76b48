// The program itself, in a child cgroup and a bpffs directory of its own: start, one per directory, least
// privilege, death and adoption, a clean end that leaves the split, --detach.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent/datapath/environment.h"
#include "common/tls.h"
#include "tests/integration/agent/fake_controller.h"
#include "tests/integration/agent/http_get.h"
#include "tests/integration/process.h"
#include "tests/integration/tls_dial.h"
#include "tests/unit/common/test_certs.h"

namespace weir {
namespace {

/// A weir-agent; `in_child` takes something away from it before it starts.
class Agent : public Process {
 public:
  explicit Agent(std::vector<std::string> arguments, const std::function<void()>& in_child = nullptr)
      : Process(WithProgram(std::move(arguments)), in_child) {}

 private:
  static std::vector<std::string> WithProgram(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), WEIR_AGENT);
    return arguments;
  }
};

std::string StatusLine(const std::string& file, const std::string& key) {
  std::ifstream status(file);
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key + ":")) return line.substr(line.find_last_of('\t') + 1);
  }
  return "";
}

/// A BPF file system of this program's own, in a mount namespace of its own: the machine may have none
/// mounted.
std::string MountPrivateBpffs() {
  if (::unshare(CLONE_NEWNS) != 0) return std::string("unshare a mount namespace: ") + std::strerror(errno);
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return std::string("make mounts private: ") + std::strerror(errno);
  if (::mount("bpf", "/sys/fs/bpf", "bpf", 0, nullptr) != 0)
    return std::string("mount a BPF file system: ") + std::strerror(errno);
  return "";
}

class MainTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (::geteuid() == 0) {
      ASSERT_EQ(MountPrivateBpffs(), "");
    }
  }

  void SetUp() override {
    const auto missing = datapath::MissingCapabilities();
    if (!missing.empty()) GTEST_SKIP() << "needs " << missing.front();
    const auto mount = datapath::FindCgroup2Mount();
    if (!mount) GTEST_SKIP() << "needs a cgroup2 mount";
    const std::string name = "weir-agent-main-test-" + std::to_string(::getpid());
    bpffs_ = "/sys/fs/bpf/" + name;
    if (const Status status = datapath::EnsureBpffsDirectory(bpffs_); !status.ok()) GTEST_SKIP() << status;
    std::filesystem::remove(bpffs_);
    cgroup_ = *mount + "/" + name;
    ASSERT_TRUE(std::filesystem::create_directory(cgroup_)) << cgroup_;
  }
  void TearDown() override {
    if (cgroup_.empty()) return;
    Agent detach({"--detach", "--bpffs", bpffs_});
    EXPECT_EQ(detach.Wait(), 0) << detach.seen;
    EXPECT_FALSE(std::filesystem::exists(bpffs_));
    std::filesystem::remove(cgroup_);
  }
  std::vector<std::string> Arguments(const std::string& controller) const {
    return {"--node-name", "n1",           "--cgroup", cgroup_,  "--bpffs",
            bpffs_,        "--controller", controller, "--http", "127.0.0.1:0"};
  }

  std::string bpffs_, cgroup_;
};

v1::Update Full(uint64_t generation) {
  v1::Update update;
  update.set_generation(generation);
  update.set_full(true);
  update.set_last(true);
  v1::Frontend* frontend = update.add_upserts();
  frontend->mutable_key()->set_address(std::string("\x7f\x60\x00\x01", 4));
  frontend->mutable_key()->set_port(80);
  frontend->mutable_key()->set_protocol(v1::PROTOCOL_TCP);
  v1::Variant* variant = frontend->add_variants();
  variant->set_revision("v1");
  variant->set_weight(1);
  v1::Endpoint* endpoint = variant->add_endpoints();
  endpoint->set_address(std::string("\x7f\x00\x00\x01", 4));
  endpoint->set_port(8080);
  return update;
}

TEST_F(MainTest, LifeAndAfterlife) {
  FakeController controller;
  {
    Agent agent(Arguments(controller.address()));
    ASSERT_TRUE(agent.WaitFor("listening http=127.0.0.1:")) << agent.seen;
    const auto stream = controller.NextAgent();
    ASSERT_NE(stream, nullptr) << agent.seen;
    ASSERT_TRUE(agent.WaitFor("agent started"));
    stream->Welcome();
    stream->Send(Full(7));
    ASSERT_EQ(stream->Answer(), "ack 7");

    const size_t at = agent.seen.find("listening http=127.0.0.1:");
    const auto port = static_cast<uint16_t>(std::stoi(agent.seen.substr(at + 25)));
    EXPECT_TRUE(HttpGet(port, "/readyz").starts_with("HTTP/1.1 200"));
    EXPECT_NE(HttpGet(port, "/metrics").find("\nweir_agent_frontends 1\n"), std::string::npos);

    // BPF, PERFMON, NET_ADMIN; on the one thread that enters network namespaces BPF, SYS_ADMIN, SYS_PTRACE.
    const std::string most = "000000c000001000", of_namespaces = "0000008000280000";
    const std::string tasks = "/proc/" + std::to_string(agent.pid()) + "/task";
    int entering = 0;
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      const std::string status = task.path().string() + "/status";
      const bool enters = StatusLine(status, "CapEff") == of_namespaces;
      entering += enters ? 1 : 0;
      for (const char* set : {"CapEff", "CapPrm", "CapBnd"}) {
        EXPECT_EQ(StatusLine(status, set), enters ? of_namespaces : most) << status << " " << set;
      }
      EXPECT_EQ(StatusLine(status, "NoNewPrivs"), "1");
    }
    EXPECT_EQ(entering, 1);

    Agent second(Arguments(controller.address()));
    EXPECT_EQ(second.Wait(), 1);
    EXPECT_NE(second.seen.find("another weir-agent is running on this directory"), std::string::npos)
        << second.seen;
    Agent detach({"--detach", "--bpffs", bpffs_});
    EXPECT_EQ(detach.Wait(), 1);
    EXPECT_NE(detach.seen.find("another weir-agent is running"), std::string::npos) << detach.seen;
    agent.Signal(SIGKILL);
    EXPECT_EQ(agent.Wait(), 128 + SIGKILL);
  }
  {
    Agent agent(Arguments(controller.address()));
    v1::Hello hello;
    const auto stream = controller.NextAgent(&hello);
    ASSERT_NE(stream, nullptr) << agent.seen;
    EXPECT_EQ(hello.generation_held(), 7u);  // adopted
    EXPECT_GE(hello.abilities_size(), 8);
    agent.Signal(SIGTERM);
    EXPECT_EQ(agent.Wait(), 0) << agent.seen;
    EXPECT_TRUE(stream->WaitForEnd());
    EXPECT_TRUE(std::filesystem::exists(bpffs_ + "/link_connect4"));
  }
  Agent detach({"--detach", "--bpffs", bpffs_});
  EXPECT_EQ(detach.Wait(), 0);
  EXPECT_NE(detach.seen.find("removed " + bpffs_ + "/link_connect4\n"), std::string::npos) << detach.seen;
  EXPECT_FALSE(std::filesystem::exists(bpffs_));
  Agent again({"--detach", "--bpffs", bpffs_});
  EXPECT_EQ(again.Wait(), 0);
  EXPECT_EQ(again.seen, "nothing to remove: " + bpffs_ + " does not exist\n");
}

/// A controller that speaks TLS with a certificate of `own`, to clients that `clients` signed.
struct SecureController {
  SecureController(const TestCa& own, const TestCa& clients, int port = 0) {
    const PemPair pair = own.Issue("controller");
    const auto files = TlsFiles::Open({.cert = dir.Write("c", pair.cert),
                                       .key = dir.Write("k", pair.key),
                                       .ca = dir.Write("ca", clients.pem())},
                                      true);
    credentials = *ServerCredentials("--listen", "127.0.0.1:0", *files);
    controller = std::make_unique<FakeController>(port, credentials);
  }
  TempDir dir;
  std::shared_ptr<grpc::ServerCredentials> credentials;
  std::unique_ptr<FakeController> controller;
};

TEST_F(MainTest, RenewedCertificatesNeedNoRestart) {
  const TestCa ca, next;
  const PemPair first = ca.Issue("agent"), second = next.Issue("agent");
  const std::string both = ca.pem() + next.pem();
  MountedSecret secret({{"tls.crt", first.cert}, {"tls.key", first.key}, {"ca.crt", ca.pem()}});
  auto before = std::make_unique<SecureController>(ca, ca);
  const int controller_port = before->controller->port();
  std::vector<std::string> arguments = Arguments(before->controller->address());
  arguments.back() = "0.0.0.0:0";  // HTTPS, as off loopback
  for (const auto& [flag, file] :
       {std::pair{"--tls-cert", "tls.crt"}, {"--tls-key", "tls.key"}, {"--tls-ca", "ca.crt"}})
    arguments.insert(arguments.end(), {flag, secret.Path(file)});
  Agent agent(arguments);
  const auto stream = before->controller->NextAgent();
  ASSERT_NE(stream, nullptr) << agent.seen;
  stream->Welcome();
  stream->Send(Full(7));
  ASSERT_EQ(stream->Answer(), "ack 7");
  const std::string http = agent.WordAfter("listening http=");
  const auto port = static_cast<uint16_t>(std::stoi(http.substr(http.rfind(':') + 1)));
  EXPECT_EQ(DialShown(port, both).serial, SerialOf(first.cert));
  const auto shows = [&](const std::string& metric) {
    const std::string page = GetShown(port, both, "/metrics").answer;
    return page.find("\n" + metric) != std::string::npos;
  };
  const auto soon = [](const auto& holds) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!holds() && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return holds();
  };

  secret.Put({{"tls.crt", second.cert}, {"tls.key", first.key}, {"ca.crt", both}});  // no pair
  EXPECT_TRUE(soon([&] { return shows("weir_tls_reload_errors_total 2"); })) << agent.seen;
  EXPECT_EQ(DialShown(port, both).serial, SerialOf(first.cert));
  secret.Put({{"tls.crt", second.cert}, {"tls.key", second.key}, {"ca.crt", both}});
  EXPECT_TRUE(soon([&] { return DialShown(port, both).serial == SerialOf(second.cert); })) << agent.seen;
  EXPECT_TRUE(shows("weir_tls_reloads_total 1"));
  stream->Send(Full(8));
  EXPECT_EQ(stream->Answer(), "ack 8") << "on the connection of before";

  // The stream ends; the next one is with a controller that knows the new CA alone.
  before.reset();
  const SecureController after(next, next, controller_port);
  EXPECT_NE(after.controller->NextAgent(), nullptr) << agent.seen;
  agent.Signal(SIGTERM);
  EXPECT_EQ(agent.Wait(), 0) << agent.seen;
}

TEST_F(MainTest, AMissingCapabilityIsNamed) {
  // CAP_SYS_ADMIN stands in for the two that came out of it in Linux 5.8.
  const struct {
    std::vector<cap_value_t> dropped;
    const char* message;
  } rows[] = {
      {{CAP_NET_ADMIN}, "missing CAP_NET_ADMIN: run as root, or grant the capabilities"},
      {{CAP_BPF, CAP_SYS_ADMIN}, "missing CAP_BPF: run as root"},
      {{CAP_PERFMON, CAP_SYS_ADMIN}, "missing CAP_PERFMON: run as root"},
      {{CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_ADMIN},
       "missing CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON: run as"},
  };
  for (const auto& [dropped, message] : rows) {
    Agent agent(Arguments("127.0.0.1:1"), [&dropped = dropped] {
      for (const cap_value_t capability : dropped) cap_drop_bound(capability);
    });
    EXPECT_EQ(agent.Wait(), 1);
    EXPECT_NE(agent.seen.find(message), std::string::npos) << agent.seen;
    EXPECT_FALSE(std::filesystem::exists(bpffs_));
  }
}

TEST_F(MainTest, WithoutCgroup2OrBpffsItSaysHowToGetThem) {
  const std::string mount = *datapath::FindCgroup2Mount();
  // The machine may have several on top of each other.
  const auto unmounted = [](const std::string& what) {
    return [what] {
      if (unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          umount2(what.c_str(), MNT_DETACH) != 0)
        _exit(77);
      while (umount2(what.c_str(), MNT_DETACH) == 0) {
      }
    };
  };
  std::vector<std::string> arguments = Arguments("127.0.0.1:1");
  const auto cgroup = std::find(arguments.begin(), arguments.end(), "--cgroup");
  arguments.erase(cgroup, cgroup + 2);
  Agent without_cgroup2(arguments, unmounted(mount));
  EXPECT_EQ(without_cgroup2.Wait(), 1) << without_cgroup2.seen;
  EXPECT_NE(without_cgroup2.seen.find("mount -t cgroup2 none /sys/fs/cgroup, or give --cgroup"),
            std::string::npos)
      << without_cgroup2.seen;
  Agent without_bpffs(Arguments("127.0.0.1:1"), unmounted("/sys/fs/bpf"));
  EXPECT_EQ(without_bpffs.Wait(), 1) << without_bpffs.seen;
  EXPECT_NE(without_bpffs.seen.find("not on a BPF file system: mount -t bpf bpf /sys/fs/bpf"),
            std::string::npos)
      << without_bpffs.seen;
  EXPECT_FALSE(std::filesystem::exists(bpffs_));
}

TEST_F(MainTest, BadFlagsChangeNothing) {
  const struct {
    std::vector<std::string> more;
    int code;
    std::string message;
  } rows[] = {
      {{"--nonsense"}, 2, "--nonsense"},
      {{"--max-services", "many"}, 2, "many"},
      {{"--log-level", "loud"}, 1, "--log-level"},
      {{"--http", "0.0.0.0:0"}, 1, "refusing to listen off loopback in plaintext"},
      {{"--controller", "10.1.2.3:7400"}, 1, "refusing to dial off loopback in plaintext"},
      {{"--tls-ca", "/nowhere.pem"}, 1, "--tls-ca /nowhere.pem: cannot open"},
      {{"--cgroup", "/proc"}, 1, "cgroup"},
      {{"--bpffs", "/proc/weir"}, 1, "not on a BPF file system"},
      {{"--max-services", "0"}, 1, "--max-services"},
  };
  for (const auto& row : rows) {
    // the later of two equal flags is refused by the parser: replace
    std::vector<std::string> arguments = Arguments("127.0.0.1:1");
    const auto same = std::find(arguments.begin(), arguments.end(), row.more.front());
    if (same != arguments.end()) arguments.erase(same, same + 2);
    arguments.insert(arguments.end(), row.more.begin(), row.more.end());
    Agent agent(arguments);
    EXPECT_EQ(agent.Wait(), row.code) << row.message;
    EXPECT_NE(agent.seen.find(row.message), std::string::npos) << agent.seen;
    EXPECT_FALSE(std::filesystem::exists(bpffs_ + "/link_connect4"));
  }
}

}  // namespace
}  // namespace weir
