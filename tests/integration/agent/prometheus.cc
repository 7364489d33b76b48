#include "tests/integration/agent/prometheus.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/integration/agent/http_get.h"

namespace weir {
namespace {

uint16_t FreePort() {
  boost::asio::io_context context;
  return boost::asio::ip::tcp::acceptor(context, {boost::asio::ip::make_address("127.0.0.1"), 0})
      .local_endpoint()
      .port();
}

std::string Encoded(const std::string& text) {
  std::string out;
  for (const char c : text) {
    char hex[4];
    std::snprintf(hex, sizeof hex, "%%%02X", static_cast<unsigned char>(c));
    out += hex;
  }
  return out;
}

}  // namespace

std::string FindProgram(const std::string& name) {
  for (const char* directory : {"/usr/bin/", "/usr/sbin/", "/usr/local/bin/"}) {
    if (::access((directory + name).c_str(), X_OK) == 0) return directory + name;
  }
  return {};
}

std::pair<int, std::string> RunWithInput(const std::string& command, const std::string& input) {
  char path[] = "/tmp/weir-input-XXXXXX";
  const int fd = ::mkstemp(path);
  if (fd < 0) std::abort();
  ::close(fd);
  std::ofstream(path) << input;
  FILE* pipe = ::popen((command + " < " + path + " 2>&1").c_str(), "re");
  if (pipe == nullptr) std::abort();
  std::string output;
  char buffer[4096];
  for (size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) output.append(buffer, n);
  const int status = ::pclose(pipe);
  ::unlink(path);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, output};
}

Prometheus::Prometheus(const std::vector<Job>& jobs, const std::string& interval) {
  char name[] = "/tmp/weir-prometheus-XXXXXX";
  if (::mkdtemp(name) == nullptr) std::abort();
  directory_ = name;
  std::ofstream config(directory_ + "/prometheus.yml");
  config << "global: {scrape_interval: " << interval << ", scrape_timeout: " << interval
         << "}\nscrape_configs:\n";
  for (const Job& job : jobs) {
    config << "- {job_name: " << job.name << ", metrics_path: " << job.path
           << ", static_configs: [{targets: ['127.0.0.1:" << job.port << "']}]}\n";
  }
  config.close();
  port_ = FreePort();
  const std::string program = FindProgram("prometheus");
  const std::vector<std::string> arguments = {program, "--config.file=" + directory_ + "/prometheus.yml",
                                              "--storage.tsdb.path=" + directory_ + "/data",
                                              "--web.listen-address=127.0.0.1:" + std::to_string(port_),
                                              "--log.level=warn"};
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
}

Prometheus::~Prometheus() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  std::error_code ignored;  // a directory that is left behind fails no test
  std::filesystem::remove_all(directory_, ignored);
}

std::optional<double> Prometheus::Query(const std::string& promql) const {
  std::string page;
  try {
    page = HttpGet(port_, "/api/v1/query?query=" + Encoded(promql));
  } catch (const boost::system::system_error&) {
    return std::nullopt;  // not up yet
  }
  const size_t body = page.find("\r\n\r\n");
  if (!page.starts_with("HTTP/1.1 200") || body == std::string::npos) return std::nullopt;
  const auto answer = boost::json::parse(page.substr(body + 4));
  const auto& result = answer.at("data").at("result").as_array();
  if (result.size() != 1) return std::nullopt;
  return std::stod(std::string(result[0].at("value").at(1).as_string()));
}

std::optional<double> Prometheus::QueryUntil(const std::string& promql,
                                             const std::function<bool(double)>& done) const {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(kPrometheusPatienceS);
  while (true) {
    const std::optional<double> value = Query(promql);
    if ((value && done(*value)) || std::chrono::steady_clock::now() > deadline) return value;
    // Prometheus has no way to tell that it has scraped: ask again at its own pace.
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

}  // namespace weir
