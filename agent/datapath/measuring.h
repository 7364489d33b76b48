// The programs of bpf/measure.bpf.c: what becomes of the connections that were divided.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/datapath/hooks.h"
#include "agent/datapath/maps.h"

struct weir_measure;

namespace weir::datapath {

/// Attached programs. Their links are pinned and outlive the object.
class Measuring {
 public:
  /// Loads the programs onto these maps, attaches them and pins the links, in place of those of an earlier
  /// agent. While both are attached each event is still counted once (bpf/lib/tcp_figures.h). An error
  /// means that this kernel cannot measure: nothing is attached then.
  static Result<Measuring> Attach(const Maps& maps, int cgroup_fd, const std::string& bpffs_directory);

  Measuring(Measuring&&) noexcept;
  Measuring& operator=(Measuring&&) noexcept;
  ~Measuring();

  /// Brings what living connections carried into weir_stats.
  Status CountLiving() const;
  /// The programs are attached.
  Status Check(int cgroup_fd) const;

 private:
  struct Destroy {
    void operator()(weir_measure* skeleton) const;
  };
  Measuring(std::unique_ptr<weir_measure, Destroy> skeleton, std::string bpffs_directory);
  Status AttachAll(const Maps& maps, int cgroup_fd);

  std::unique_ptr<weir_measure, Destroy> skeleton_;
  std::string bpffs_directory_;
  UniqueFd living_;  // the iterator's link
};

/// Takes off and unpins what Attach left; returns the paths.
Result<std::vector<std::string>> RemoveMeasuring(const std::string& bpffs_directory);

}  // namespace weir::datapath
