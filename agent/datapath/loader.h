// The BPF object: loads it, pins its maps under a directory named for their layout, attaches its programs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/datapath/hooks.h"
#include "agent/datapath/maps.h"

struct weir_socket;

namespace weir::datapath {

/// Loaded programs. Owns the skeleton; pins and links outlive it.
class Programs {
 public:
  /// Loads the object. With a map directory that exists, its programs use those maps. Otherwise maps of
  /// `sizes` are made and pinned beside it under an unfinished name, to be filled and then renamed by
  /// Publish: an agent that is killed in between leaves nothing that the next one would take for a split.
  /// `shared` names an earlier map directory whose per-socket records, counters and reader counts are carried
  /// on; empty: none.
  static Result<Programs> Load(const std::string& map_directory, const MapSizes& sizes,
                               const std::string& shared);

  Programs(Programs&&) noexcept;
  Programs& operator=(Programs&&) noexcept;
  ~Programs();

  /// Where the maps are pinned now: the map directory, or its unfinished name.
  const std::string& maps_at() const { return maps_at_; }
  /// Gives the map directory its name, once its maps hold what they shall.
  Status Publish();

  /// Every hook onto the cgroup. On the first failure those that had no link before are taken away again;
  /// those that had one keep the new program.
  Status Attach(int cgroup_fd, const std::string& bpffs_directory) const;
  /// Every program in effect at the cgroup.
  Status Check(int cgroup_fd) const;

 private:
  struct Destroy {
    void operator()(weir_socket* skeleton) const;
  };
  Programs(std::unique_ptr<weir_socket, Destroy> skeleton, std::string maps_at, std::string directory);
  std::unique_ptr<weir_socket, Destroy> skeleton_;
  std::string maps_at_;
  std::string directory_;
};

/// Names of the map directories in a bpffs directory.
std::vector<std::string> ListMapDirectories(const std::string& bpffs_directory);

/// Removes map directories that an agent was killed over before they were complete; returns the paths.
Result<std::vector<std::string>> RemoveUnfinished(const std::string& bpffs_directory);

/// Unpins the maps of a directory and removes it; returns the paths. What is not ours in it stays, and so
/// does the directory.
Result<std::vector<std::string>> RemoveMapDirectory(const std::string& directory);

}  // namespace weir::datapath
