// The Datapath that programs the kernel. Not thread-safe.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/datapath/loader.h"
#include "agent/datapath/measuring.h"
#include "agent/datapath/packets.h"
#include "agent/datapath/split_table.h"

namespace weir::datapath {

struct Options {
  std::string cgroup_path;        // a directory of a cgroup2 hierarchy; what runs below it is divided
  std::string bpffs_dir;          // for pins; made if missing
  uint32_t max_services = 12288;  // frontends: VIP, port and protocol
  uint32_t max_endpoints = 131072;
  std::chrono::seconds series_grace{300};  // figures of a removed revision are kept for so long
  uint32_t max_affinity = 16384;           // network namespaces x frontends with session affinity
  const Clock* clock = nullptr;            // outlives the datapath; null: the system's
};

class KernelDatapath : public Datapath {
 public:
  /// Loads and attaches; adopts what an earlier agent left under bpffs_dir, with its split in force all the
  /// while. FAILED_PRECONDITION names what is missing: a capability, cgroup2, bpffs, a hook of the kernel.
  static Result<std::unique_ptr<KernelDatapath>> Open(const Options& options);

  /// Removes all links and maps that are pinned under bpffs_dir, and the directory if nothing else is in it;
  /// returns what was removed. Programs of others stay. No agent may be running on the directory.
  static Result<std::vector<std::string>> Detach(const std::string& bpffs_dir);

  Status Apply(const Change& change) override;
  uint64_t Generation() const override { return table_.generation(); }
  std::string ControllerId() const override { return table_.controller_id(); }
  void SetNodeNumber(uint32_t number) override { table_.set_node_number(number); }
  Result<Stats> ReadStats() override;
  Result<std::vector<SplitCount>> ReadCounts() override { return table_.ReadCounts(); }
  Result<Figures> ReadFigures() override;
  Status CheckAttached() override;
  Status SetPods(const std::map<uint64_t, uint32_t>& consumers_by_cgroup) override;
  void SetHeard(std::chrono::nanoseconds boottime) override { table_.SetHeard(boottime); }
  std::vector<GuardState> ReadGuards(std::chrono::nanoseconds boottime) const override {
    return table_.ReadGuards(boottime);
  }
  Result<std::vector<EndpointFailures>> ReadFailures() override { return table_.ReadFailures(); }
  Status ForgetFailures(const FrontendKey& key, const SocketAddress& endpoint) override {
    return table_.ForgetFailures(key, endpoint);
  }
  Status ExpectAnswer(const FrontendKey& key, const SocketAddress& endpoint) override {
    return table_.ExpectAnswer(key, endpoint);
  }
  std::vector<std::string> Abilities() const override { return abilities_; }

  /// For KernelEnding, which must not outlive them.
  const Maps& maps() const { return table_.maps(); }

 private:
  /// What fails is logged: a split that is not measured is better than none.
  void StartMeasuring();
  /// Attaches or detaches bpf/packets.bpf.c; what fails is logged and counted.
  void SetPackets(bool wanted);

  KernelDatapath(Options options, UniqueFd cgroup, Programs programs, SplitTable table);

  Options options_;
  UniqueFd cgroup_;
  Programs programs_;
  SplitTable table_;
  Packets packets_;
  std::optional<Measuring> measuring_;  // nullopt: this kernel cannot
  bool packets_set_ = false;            // what is attached is as wanted, not yet known after an adoption
  uint64_t packet_failures_ = 0;        // attaching or detaching bpf/packets.bpf.c
  std::vector<std::string> abilities_;
};

}  // namespace weir::datapath
