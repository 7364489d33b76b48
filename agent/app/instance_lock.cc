#include "agent/app/instance_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

namespace weir::app {

Result<UniqueFd> LockDirectory(const std::string& path) {
  UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return ErrnoStatus(errno, fmt::format("--bpffs {}", path));
  if (::flock(directory.get(), LOCK_EX | LOCK_NB) == 0) return directory;
  if (errno == EWOULDBLOCK) {
    return FailedPrecondition(
        "--bpffs {}: another weir-agent is running on this directory; stop it, or give each agent its own "
        "--bpffs "
        "and --cgroup",
        path);
  }
  return ErrnoStatus(errno, fmt::format("--bpffs {}: cannot lock", path));
}

}  // namespace weir::app
