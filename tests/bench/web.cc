#include "tests/bench/web.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/bench/worker.h"
#include "tests/kernel/harness/sandbox.h"

namespace weir::bench {
namespace {

void Join(const std::string& cgroup) {
  if (cgroup.empty()) return;
  if (auto status = kernel_test::JoinCgroup(cgroup); !status.ok()) Die(Message(status));
}

}  // namespace

Nginx::Nginx(const std::string& cgroup)
    : directory_(fmt::format("{}/weir-bench-XXXXXX", std::filesystem::temp_directory_path().string())) {
  if (mkdtemp(directory_.data()) == nullptr) Die("mkdtemp " + directory_);
  const std::string path = directory_ + "/nginx.conf";
  std::ofstream(path) << fmt::format(
      "worker_processes 1;\npid {0}/nginx.pid;\nerror_log {0}/error.log;\n"
      "events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\nkeepalive_requests 100000000;\n"
      "client_body_temp_path {0}/b;\nproxy_temp_path {0}/p;\nfastcgi_temp_path {0}/f;\nuwsgi_temp_path "
      "{0}/u;\n"
      "scgi_temp_path {0}/s;\nserver {{\nlisten {1};\nlisten {2};\nlocation / {{ return 200 \"weir\\n\"; "
      "}}\n}}\n}}\n",
      directory_, kStablePort, kCanaryPort);
  std::fflush(stdout);
  const pid_t pid = fork();  // nginx daemonises: its own children stay in the cgroup
  if (pid < 0) Die("fork");
  if (pid == 0) {
    Join(cgroup);
    execlp("nginx", "nginx", "-c", path.c_str(), "-p", directory_.c_str(), nullptr);
    Die("run nginx");
  }
  int status = 0;  // it returns when it listens
  if (waitpid(pid, &status, 0) != pid || status != 0) Die("nginx did not start");
  std::ifstream(directory_ + "/nginx.pid") >> pid_;
  if (pid_ <= 0) Die("read nginx.pid");
}

Nginx::~Nginx() {
  EndProcess(pid_, SIGTERM);
  std::error_code ignored;  // a temporary directory that stays is no harm
  std::filesystem::remove_all(directory_, ignored);
}

double Wrk(const std::string& cgroup, const Ipv4Port& target, int seconds) {
  int ends[2];
  if (pipe(ends) != 0) Die("pipe");
  std::fflush(stdout);
  const pid_t pid = fork();
  if (pid < 0) Die("fork");
  if (pid == 0) {
    Join(cgroup);
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

double ProcessorMicroseconds(const std::string& cgroup) {
  std::ifstream file(cgroup + "/cpu.stat");
  std::string name;
  for (double value = 0; file >> name >> value;) {
    if (name == "usage_usec") return value;
  }
  Die("read usage_usec of " + cgroup + "/cpu.stat");
}

}  // namespace weir::bench
