// Certificates for tests, made on the spot: a CA, and pairs signed by it for 127.0.0.1 and localhost; and a
// directory with them as Kubernetes mounts and changes it.
#pragma once

#include <chrono>
#include <map>
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
  /// From a minute ago.
  PemPair Issue(const std::string& common_name, std::chrono::seconds good_for = std::chrono::hours(1)) const;

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

/// A Secret in a directory of its own as the kubelet mounts it: NAME -> ..data/NAME, ..data -> ..VERSION, and
/// a change is one rename of ..data.
class MountedSecret {
 public:
  using Files = std::map<std::string, std::string>;
  explicit MountedSecret(const Files& files) { Put(files); }
  /// All keys change at once; the version before is gone.
  void Put(const Files& files);
  std::string Path(const std::string& name) const { return dir_.path() + "/" + name; }

 private:
  TempDir dir_;
  int version_ = 0;
};

/// Of the first certificate, as a number.
std::string SerialOf(const std::string& cert_pem);

}  // namespace weir
