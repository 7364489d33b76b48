// The programs of bpf/packets.bpf.c, which see every packet of the cgroup: there only while they are needed.
#pragma once

#include <memory>
#include <string>

#include "agent/datapath/hooks.h"
#include "agent/datapath/maps.h"

struct weir_packets;

namespace weir::datapath {

/// Loaded with the first need. Links are pinned and outlive it.
class Packets {
 public:
  Packets();
  Packets(Packets&&) noexcept;
  Packets& operator=(Packets&&) noexcept;
  ~Packets();

  /// Both directions onto the cgroup, taking over links that are pinned already. No effect when attached.
  Status Attach(const Maps& maps, int cgroup_fd, const std::string& bpffs_directory);
  /// Takes the programs off; also those of an earlier agent.
  Status Detach(const std::string& bpffs_directory);

  bool attached() const { return attached_; }
  /// While attached: both programs are in effect at the cgroup.
  Status Check(int cgroup_fd) const;

 private:
  struct Destroy {
    void operator()(weir_packets* skeleton) const;
  };
  std::unique_ptr<weir_packets, Destroy> skeleton_;
  bool attached_ = false;
};

}  // namespace weir::datapath
