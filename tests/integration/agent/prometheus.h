// Debian's Prometheus, run by a test: a data directory of its own, a free port on loopback, ended with the
// object.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weir {

/// How long a test waits for what must come; far more than it takes.
inline constexpr int kPrometheusPatienceS = 60;

/// The program's path, or empty where it is not installed.
std::string FindProgram(const std::string& name);

/// Runs `command` with `input` on its standard input; exit status and output, both streams.
std::pair<int, std::string> RunWithInput(const std::string& command, const std::string& input);

class Prometheus {
 public:
  struct Job {
    std::string name, path;
    uint16_t port;
  };
  /// Scrapes at that interval. Aborts the test program when it cannot be started.
  explicit Prometheus(const std::vector<Job>& jobs, const std::string& interval = "200ms");
  ~Prometheus();

  uint16_t port() const { return port_; }
  /// The one value that an instant query answers; nullopt: none, or more.
  std::optional<double> Query(const std::string& promql) const;
  /// Asks until `done` holds of the answer; the last answer when patience ends.
  std::optional<double> QueryUntil(const std::string& promql, const std::function<bool(double)>& done) const;

 private:
  std::string directory_;
  uint16_t port_ = 0;
  pid_t pid_ = 0;
};

}  // namespace weir
