// A program of Weir's, started by the bench.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace weir::bench {

/// The bench's own program file: the others are beside it.
std::string SiblingProgram(const std::string& name);

/// Started, and listening. SIGTERM and waiting for its end when the object goes. Aborts the bench with the
/// reason when the program ends early. Its log goes to our standard error.
class Program {
 public:
  explicit Program(const std::vector<std::string>& arguments);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  std::string pid() const { return std::to_string(pid_); }
  /// "grpc" or "http" of its "listening" line: HOST:PORT.
  std::string Address(const std::string& name) const;

 private:
  pid_t pid_ = -1;
  std::string line_;
};

}  // namespace weir::bench
