// Where a node's pods are in its cgroup hierarchy: kept up to date by inotify on the directories in which a
// kubelet makes them.
//
// A kubelet names a pod's directory by the pod's UID, below one called kubepods (kubelet, cm/cgroup_manager):
// kubepods/burstable/pod<uid> or kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice,
// there with "_" for "-".
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace weir::consumers {

/// The UID in the name of a pod's cgroup directory; nullopt: it is no pod's.
std::optional<std::string> PodUidOf(std::string_view directory);
/// Whether a kubelet may make pods, or directories of them, in a directory of that name.
bool HoldsPods(std::string_view directory);

/// One thread (the io_context's).
class PodCgroups {
 public:
  /// `root`: a cgroup2 directory above all pods. `changed` is called after pods came or went.
  PodCgroups(boost::asio::io_context& context, std::string root, std::function<void()> changed);
  ~PodCgroups();

  /// Looks through the hierarchy and follows it from then on. Where it cannot be followed, or not all of it,
  /// it is looked through once a second.
  void Start();
  /// Looks through all of it once more.
  void Scan();
  bool started() const { return started_; }

  /// The ID of the pod's cgroup, as bpf_get_current_ancestor_cgroup_id() has it; nullopt: it has none (yet).
  std::optional<uint64_t> Find(const std::string& uid) const;
  /// How often something could not be read or followed.
  uint64_t errors() const { return errors_; }

 private:
  struct Pod {
    uint64_t cgroup = 0;
    std::string path;
  };

  void Look(const std::string& directory, int depth);
  void Entered(const std::string& directory, const std::string& name, int depth);
  void Follow(const std::string& directory);
  void Fail(const std::string& what, const std::string& path, int error);
  void Read();
  void Handle(const char* events, size_t bytes);
  void Again();

  const std::string root_;
  const std::function<void()> changed_;
  boost::asio::posix::stream_descriptor inotify_;
  boost::asio::steady_timer again_;
  bool started_ = false;
  bool blind_ = false;                  // something is not followed
  std::map<int, std::string> watched_;  // watch descriptor -> directory
  std::map<std::string, Pod> pods_;     // by UID
  std::vector<char> buffer_;
  uint64_t errors_ = 0;
  std::string last_error_;
};

}  // namespace weir::consumers
