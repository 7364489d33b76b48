// The programs as people run them, with nginx as the two revisions behind "checkout". Header only, as
// programs_fixture.h.
#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>

#include "tests/kernel/harness/programs_fixture.h"

namespace weir::kernel_test {

class WebProgramsTest : public ProgramsTest {
 protected:
  /// Skips where one of them is not installed.
  void Need(const std::vector<std::string>& programs) {
    for (const std::string& program : programs) {
      if (FindProgram(program).empty())
        GTEST_SKIP() << program << " is not installed: deploy/install-deps.sh --tests";
    }
  }
  void PrepareNodes() {
    for (auto& node : nodes_) node = std::make_unique<TestNode>();
  }
  void StartPrograms() {
    StartController();
    for (size_t node = 0; node < agents_.size(); ++node) agents_[node] = StartAgent(static_cast<int>(node));
  }

  /// With the directives of its http block, and until it answers at these addresses.
  std::unique_ptr<Process> StartNginx(const std::string& name, const std::string& http,
                                      const std::vector<SocketAddress>& addresses) {
    std::string config = fmt::format(
        "daemon off; master_process off; error_log stderr; pid {0}/{1}.pid;\n"
        "events {{ worker_connections 1024; }}\nhttp {{\n",
        files_.path(), name);
    for (const char* temporary : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"})
      config += fmt::format("{0}_temp_path {1}/{0};\n", temporary, files_.path());
    const std::string path = files_.Write(name + ".conf", config + http + "}\n");
    auto nginx = std::make_unique<Process>(
        std::vector<std::string>{"/usr/sbin/nginx", "-e", "stderr", "-p", files_.path(), "-c", path});
    for (const SocketAddress& address : addresses) {
      // It does not tell when it listens.
      EXPECT_TRUE(Asked([&] { return Socket::Open(AF_INET, SOCK_STREAM).Connect(address) == 0; }))
          << "nginx does not listen at " << ToString(address) << ": " << nginx->seen;
    }
    return nginx;
  }

  /// In that phase, held by both nodes.
  bool WaitForPhase(const std::string& phase) {
    return Asked([&] {
      const auto rollout = Rollout();
      return rollout.at("phase").as_string() == phase && rollout.at("nodesAcked").to_number<int>() == 2;
    });
  }
  /// Asks until it holds, for a minute: programs of others do not tell.
  static bool Asked(const std::function<bool()>& holds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!holds()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      usleep(50'000);
    }
    return true;
  }
};

}  // namespace weir::kernel_test
