#include "agent/consumers/pod_cgroups.h"

#include <dirent.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/log.h"

namespace weir::consumers {
namespace {

constexpr int kDeepest = 10;  // levels below the root; bpf/lib/consumers.h looks further
constexpr size_t kBuffer = 16 << 10;
constexpr std::chrono::seconds kAgain{1};

std::string_view WithoutSuffix(std::string_view name) {
  constexpr std::string_view kSlice = ".slice";
  if (name.ends_with(kSlice)) name.remove_suffix(kSlice.size());
  return name;
}

bool IsUidCharacter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == '-' || c == '_';
}

/// The inode number of a cgroup's directory is its ID where inode numbers have 64 bits (fs/kernfs/mount.c).
static_assert(sizeof(ino_t) == 8);

}  // namespace

std::optional<std::string> PodUidOf(std::string_view directory) {
  const std::string_view name = WithoutSuffix(directory);
  const size_t at = name.rfind("pod");
  if (at == std::string_view::npos || (at > 0 && name[at - 1] != '-')) return std::nullopt;
  std::string uid(name.substr(at + 3));
  // A UUID, or a static pod's hash; not "s", as in kubepods.
  if (uid.size() < 32 || uid.size() > 36 || !std::ranges::all_of(uid, IsUidCharacter)) return std::nullopt;
  std::ranges::replace(uid, '_', '-');
  return uid;
}

bool HoldsPods(std::string_view directory) {
  return directory.find("kubepods") != std::string_view::npos && !PodUidOf(directory);
}

PodCgroups::PodCgroups(boost::asio::io_context& context, std::string root, std::function<void()> changed)
    : root_(std::move(root)),
      changed_(std::move(changed)),
      inotify_(context),
      again_(context),
      buffer_(kBuffer) {}

PodCgroups::~PodCgroups() = default;

void PodCgroups::Start() {
  if (std::exchange(started_, true)) return;
  const int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd < 0) {
    Fail("inotify_init1", root_, errno);
  } else {
    inotify_.assign(fd);
    Read();
  }
  Scan();
}

void PodCgroups::Scan() {
  blind_ = !inotify_.is_open();
  pods_.clear();
  Look(root_, 0);
  Again();
  changed_();
}

void PodCgroups::Again() {
  if (!blind_) return;
  again_.expires_after(kAgain);
  again_.async_wait([this](const boost::system::error_code& error) {
    if (!error) Scan();
  });
}

void PodCgroups::Fail(const std::string& what, const std::string& path, int error) {
  blind_ = true;
  ++errors_;
  std::string text = fmt::format("{} {}: {}", what, path, std::strerror(error));
  if (std::exchange(last_error_, text) == text) return;
  LogWarn("pods' cgroups cannot be followed; they are looked through once a second", {{"error", text}});
}

/// Followed before it is read, so that nothing comes in between.
void PodCgroups::Follow(const std::string& directory) {
  if (!inotify_.is_open()) return;
  const int watch = inotify_add_watch(inotify_.native_handle(), directory.c_str(),
                                      IN_CREATE | IN_DELETE | IN_ONLYDIR | IN_EXCL_UNLINK);
  if (watch >= 0) {
    watched_[watch] = directory;
  } else if (errno != ENOENT) {
    Fail("inotify_add_watch", directory, errno);
  }
}

void PodCgroups::Look(const std::string& directory, int depth) {
  // Pods come in the directories of a kubelet; the first of those may come anywhere above, but hardly as deep
  // as in some service's own.
  const std::string_view name = std::string_view(directory).substr(directory.rfind('/') + 1);
  if (depth <= 1 || HoldsPods(name)) Follow(directory);
  DIR* const open = opendir(directory.c_str());
  if (open == nullptr) {
    if (errno != ENOENT) Fail("opendir", directory, errno);
    return;
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> list(open, closedir);
  while (const dirent* entry = readdir(list.get())) {
    const std::string_view entry_name = entry->d_name;
    if (entry->d_type == DT_DIR && entry_name != "." && entry_name != "..")
      Entered(directory, entry->d_name, depth + 1);
  }
}

void PodCgroups::Entered(const std::string& directory, const std::string& name, int depth) {
  const std::string path = directory + "/" + name;
  const auto uid = PodUidOf(name);
  if (!uid) {
    if (depth < kDeepest) Look(path, depth);
    return;
  }
  struct stat about {};
  if (stat(path.c_str(), &about) == 0) {
    pods_[*uid] = {about.st_ino, path};
  } else if (errno != ENOENT) {
    Fail("stat", path, errno);
  }
}

void PodCgroups::Read() {
  inotify_.async_read_some(boost::asio::buffer(buffer_),
                           [this](const boost::system::error_code& error, size_t bytes) {
                             if (error) return;  // closed
                             Handle(buffer_.data(), bytes);
                             Read();
                           });
}

void PodCgroups::Handle(const char* events, size_t bytes) {
  bool changed = false;
  for (size_t at = 0; at < bytes;) {
    inotify_event event{};
    std::memcpy(&event, events + at, sizeof event);
    const char* const name = events + at + sizeof event;
    at += sizeof event + event.len;
    if ((event.mask & IN_Q_OVERFLOW) != 0) return Scan();
    const auto watched = watched_.find(event.wd);
    if (watched == watched_.end()) continue;
    if ((event.mask & IN_IGNORED) != 0) {
      watched_.erase(watched);
    } else if ((event.mask & IN_ISDIR) != 0 && event.len > 0) {
      const std::string directory = watched->second;
      changed = true;
      if ((event.mask & IN_CREATE) != 0) {
        const auto depth =
            std::count(directory.begin() + static_cast<ptrdiff_t>(root_.size()), directory.end(), '/');
        Entered(directory, name, static_cast<int>(depth) + 1);
      } else if (const auto uid = PodUidOf(name)) {
        const auto pod = pods_.find(*uid);
        if (pod != pods_.end() && pod->second.path == directory + "/" + name) pods_.erase(pod);
      }
    }
  }
  if (changed) changed_();
}

std::optional<uint64_t> PodCgroups::Find(const std::string& uid) const {
  const auto pod = pods_.find(uid);
  return pod == pods_.end() ? std::nullopt : std::optional(pod->second.cgroup);
}

}  // namespace weir::consumers
