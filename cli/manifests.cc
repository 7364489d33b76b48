#include "cli/manifests.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

namespace weir::cli {
namespace {

namespace fs = std::filesystem;

Result<v1::ManifestFile> ReadStream(std::istream& in, const std::string& name) {
  v1::ManifestFile file;
  file.set_name(name);
  file.set_yaml(std::string(std::istreambuf_iterator<char>(in), {}));
  if (in.bad()) return ErrnoStatus(errno, fmt::format("{}: cannot be read", name));
  if (file.yaml().find_first_not_of(" \t\r\n") == std::string::npos) {
    return InvalidArgument("{}: empty; expected at least one manifest", name);
  }
  return file;
}

Result<v1::ManifestFile> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return ErrnoStatus(errno, fmt::format("{}: cannot be opened", path));
  return ReadStream(in, path);
}

Result<std::vector<std::string>> ManifestsIn(const std::string& directory) {
  std::vector<std::string> paths;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const std::string extension = it->path().extension();
    if ((extension == ".yaml" || extension == ".yml" || extension == ".json") && it->is_regular_file(error)) {
      paths.push_back(it->path());
    }
  }
  if (error) return ErrnoStatus(error.value(), fmt::format("{}: cannot be listed", directory));
  if (paths.empty()) return NotFound("{}: no *.yaml, *.yml or *.json file in this directory", directory);
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

Result<std::vector<v1::ManifestFile>> ReadManifests(const std::vector<std::string>& paths, std::istream& in) {
  std::vector<v1::ManifestFile> files;
  bool read_input = false;
  for (const std::string& path : paths) {
    if (path == "-") {
      if (std::exchange(read_input, true))
        return InvalidArgument("-f -: given twice; standard input ends only once");
      ASSIGN_OR_RETURN(auto file, ReadStream(in, "standard input"));
      files.push_back(std::move(file));
      continue;
    }
    std::error_code error;
    std::vector<std::string> names{path};
    if (fs::is_directory(path, error)) {
      ASSIGN_OR_RETURN(names, ManifestsIn(path));
    }
    for (const std::string& name : names) {
      ASSIGN_OR_RETURN(auto file, ReadFile(name));
      files.push_back(std::move(file));
    }
  }
  return files;
}

}  // namespace weir::cli
