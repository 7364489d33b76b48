// Established connections: requests over keep-alive, through a virtual address and without.
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/bench/node.h"
#include "tests/bench/scenario.h"
#include "tests/bench/settings.h"
#include "tests/bench/stats.h"
#include "tests/bench/worker.h"

namespace weir::bench {
namespace {

/// nginx that answers on both servers' ports; ends with the object.
class Nginx {
 public:
  explicit Nginx(const std::string& directory) {
    const std::string path = directory + "/nginx.conf";
    std::ofstream(path) << fmt::format(
        "worker_processes 1;\npid {0}/nginx.pid;\nerror_log {0}/error.log;\n"
        "events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\nkeepalive_requests 100000000;\n"
        "client_body_temp_path {0}/b;\nproxy_temp_path {0}/p;\nfastcgi_temp_path {0}/f;\nuwsgi_temp_path "
        "{0}/u;\n"
        "scgi_temp_path {0}/s;\nserver {{\nlisten {1};\nlisten {2};\nlocation / {{ return 200 \"weir\\n\"; "
        "}}\n}}\n}}\n",
        directory, kStablePort, kCanaryPort);
    if (const int code = RunProgram({"nginx", "-c", path, "-p", directory}, -1);
        code != 0)  // returns when it listens
      Die(fmt::format("nginx ended with code {}", code));
    std::ifstream(directory + "/nginx.pid") >> pid_;
    if (pid_ <= 0) Die("read nginx.pid");
  }
  ~Nginx() { EndProcess(pid_, SIGTERM); }
  Nginx(const Nginx&) = delete;
  Nginx& operator=(const Nginx&) = delete;

 private:
  int pid_ = -1;
};

/// Requests a second, as wrk says; run in the cgroup unless that is empty.
double Wrk(const std::string& cgroup, const Ipv4Port& target, int seconds) {
  int ends[2];
  if (pipe(ends) != 0) Die("pipe");
  std::fflush(stdout);
  const pid_t pid = fork();
  if (pid < 0) Die("fork");
  if (pid == 0) {
    if (!cgroup.empty()) {
      if (auto status = kernel_test::JoinCgroup(cgroup); !status.ok()) Die(Message(status));
    }
    dup2(ends[1], STDOUT_FILENO);
    const std::string url = fmt::format("http://{}:{}/", AddressText(target), target.port);
    const std::string duration = std::to_string(seconds) + "s";
    execlp("wrk", "wrk", "-t1", "-c16", "-d", duration.c_str(), url.c_str(), nullptr);
    Die("run wrk");
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<size_t>(got));
  close(ends[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  const size_t at = text.find("Requests/sec:");
  if (status != 0 || at == std::string::npos || text.find("Non-2xx") != std::string::npos ||
      text.find("Socket errors") != std::string::npos)
    Die("wrk said: " + text);
  return std::atof(text.c_str() + at + 13);
}

}  // namespace

void BenchThroughput(const Settings& settings) {
  std::string directory =
      fmt::format("{}/weir-bench-XXXXXX", std::filesystem::temp_directory_path().string());
  if (mkdtemp(directory.data()) == nullptr) Die("mkdtemp " + directory);
  std::vector<double> direct, through;
  {
    const Nginx nginx(directory);
    Node node("throughput");
    node.Apply(MakeChange(1, 1, {20, 80}, kEndpointsPerService, false));
    for (int round = 0; round < (settings.quick ? 4 : 15); ++round) {
      for (int turn = 0; turn < 2; ++turn) {
        if ((round + turn) % 2 == 0) {
          direct.push_back(Wrk("", Endpoint(0, 1), 1));
        } else {
          through.push_back(Wrk(node.cgroup(), Vip(0), 1));
        }
      }
    }
  }
  std::filesystem::remove_all(directory);
  const auto row = [&](const std::string& name, const std::vector<double>& rates) {
    const Spread spread = SpreadOf(rates);
    return std::vector<std::string>{name, Number(spread.median, 0), Range(spread, 0),
                                    Number(Median(Ratios(rates, direct)), 3)};
  };
  PrintHeading("Established connections, requests per second",
               "wrk with 16 connections kept alive to nginx, one second each, in turn.");
  PrintTable({"way", "median", "p10 - p90", "ratio"}, {row("direct", direct), row("through Weir", through)});
}

}  // namespace weir::bench
