#include "agent/datapath/namespaces.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <filesystem>
#include <string_view>

namespace weir::datapath {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMounted[] = {"/run/netns", "/run/docker/netns"};

/// Takes it if it is wanted and not found yet. False, with errno, if it cannot be opened.
bool Look(const std::string& path, const std::set<uint64_t>& wanted, NamespaceSearch& search) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return false;
  const auto number = NamespaceNumber(fd.get());
  if (number.ok() && wanted.contains(*number)) search.found.try_emplace(*number, std::move(fd));
  return true;
}

bool IsNumber(const std::string& name) {
  return !name.empty() &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

}  // namespace

Result<uint64_t> NamespaceNumber(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return ErrnoStatus(errno, "stat a network namespace");
  return static_cast<uint64_t>(status.st_ino);
}

NamespaceSearch FindNamespaces(const std::set<uint64_t>& wanted) {
  NamespaceSearch search;
  std::error_code error;
  for (const std::string_view directory : kMounted) {
    for (const auto& entry : fs::directory_iterator(directory, error)) {
      if (search.found.size() == wanted.size()) return search;
      Look(entry.path(), wanted, search);
    }
  }
  for (fs::directory_iterator entry("/proc", error), end; !error && entry != end; entry.increment(error)) {
    if (search.found.size() == wanted.size()) return search;
    if (!IsNumber(entry->path().filename())) continue;
    // ENOENT, ESRCH: it has ended. A kernel thread or a zombie has none.
    if (!Look(entry->path() / "ns/net", wanted, search) && (errno == EACCES || errno == EPERM))
      ++search.unreadable;
  }
  return search;
}

}  // namespace weir::datapath
