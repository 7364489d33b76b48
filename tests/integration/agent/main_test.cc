// The program itself, in a child cgroup and a bpffs directory of its own: start, one per directory, least
// privilege, death and adoption, a clean end that leaves the split, --detach.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "agent/datapath/environment.h"
#include "common/fd.h"
#include "tests/integration/agent/fake_controller.h"
#include "tests/integration/agent/http_get.h"

namespace weir {
namespace {

/// A weir-agent with its output in a pipe. Killed when it goes out of scope.
class Process {
 public:
  /// `without`: a capability that the process does not get, -1: none.
  explicit Process(std::vector<std::string> arguments, cap_value_t without = -1) {
    arguments.insert(arguments.begin(), WEIR_AGENT);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
    output_ = UniqueFd(ends[0]);
    const UniqueFd input(ends[1]);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(input.get(), 1);
      ::dup2(input.get(), 2);
      if (without >= 0) cap_drop_bound(without);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
  }
  ~Process() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  void Signal(int number) const { ::kill(pid_, number); }

  /// Reads until the output holds `text`; false when it ended before.
  bool WaitFor(const std::string& text) {
    while (seen.find(text) == std::string::npos) {
      if (!ReadSome()) return false;
    }
    return true;
  }
  /// Reads to the end; the exit code, or 128 + the signal.
  int Wait() {
    while (ReadSome()) {
    }
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  std::string seen;

 private:
  bool ReadSome() {
    std::array<char, 4096> buffer;
    const ssize_t got = ::read(output_.get(), buffer.data(), buffer.size());
    if (got > 0) seen.append(buffer.data(), static_cast<size_t>(got));
    return got > 0;
  }
  UniqueFd output_;
  pid_t pid_ = 0;
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
    Process detach({"--detach", "--bpffs", bpffs_});
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
    Process agent(Arguments(controller.address()));
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

    const std::string tasks = "/proc/" + std::to_string(agent.pid()) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      const std::string status = task.path().string() + "/status";
      for (const char* set : {"CapEff", "CapPrm", "CapBnd"}) {  // BPF, PERFMON, NET_ADMIN
        EXPECT_EQ(StatusLine(status, set), "000000c000001000") << status << " " << set;
      }
      EXPECT_EQ(StatusLine(status, "NoNewPrivs"), "1");
    }

    Process second(Arguments(controller.address()));
    EXPECT_EQ(second.Wait(), 1);
    EXPECT_NE(second.seen.find("another weir-agent is running on this directory"), std::string::npos)
        << second.seen;
    Process detach({"--detach", "--bpffs", bpffs_});
    EXPECT_EQ(detach.Wait(), 1);
    EXPECT_NE(detach.seen.find("another weir-agent is running"), std::string::npos) << detach.seen;
    agent.Signal(SIGKILL);
    EXPECT_EQ(agent.Wait(), 128 + SIGKILL);
  }
  {
    Process agent(Arguments(controller.address()));
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
  Process detach({"--detach", "--bpffs", bpffs_});
  EXPECT_EQ(detach.Wait(), 0);
  EXPECT_NE(detach.seen.find("removed " + bpffs_ + "/link_connect4\n"), std::string::npos) << detach.seen;
  EXPECT_FALSE(std::filesystem::exists(bpffs_));
  Process again({"--detach", "--bpffs", bpffs_});
  EXPECT_EQ(again.Wait(), 0);
  EXPECT_EQ(again.seen, "nothing to remove: " + bpffs_ + " does not exist\n");
}

TEST_F(MainTest, AMissingCapabilityIsNamed) {
  const std::pair<cap_value_t, const char*> rows[] = {{CAP_NET_ADMIN, "missing CAP_NET_ADMIN: run as root"}};
  for (const auto& [capability, message] : rows) {
    Process agent(Arguments("127.0.0.1:1"), capability);
    EXPECT_EQ(agent.Wait(), 1);
    EXPECT_NE(agent.seen.find(message), std::string::npos) << agent.seen;
    EXPECT_FALSE(std::filesystem::exists(bpffs_));
  }
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
    Process agent(arguments);
    EXPECT_EQ(agent.Wait(), row.code) << row.message;
    EXPECT_NE(agent.seen.find(row.message), std::string::npos) << agent.seen;
    EXPECT_FALSE(std::filesystem::exists(bpffs_ + "/link_connect4"));
  }
}

}  // namespace
}  // namespace weir
