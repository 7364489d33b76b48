// Certificates for tests, made on the spot: a CA, and pairs signed by it for 127.0.0.1 and localhost.
#pragma once

#include <memory>
#include <string>

namespace weir {

struct PemPair {
  std::string cert, key;
};

class TestCa {
 public:
  TestCa();
  ~TestCa();
  const std::string& pem() const { return pem_; }
  PemPair Issue(const std::string& common_name) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::string pem_;
};

/// A directory that goes away with its files.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  /// Writes a file and returns its path.
  std::string Write(const std::string& name, const std::string& content) const;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace weir
