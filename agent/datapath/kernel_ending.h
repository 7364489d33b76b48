// Ends connections with the programs of bpf/ending.bpf.c, namespace by namespace, on a thread of its own:
// entering a network namespace is a matter of the thread, and a pass may take long.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "agent/datapath/ending.h"
#include "agent/datapath/maps.h"
#include "common/fd.h"

struct weir_end;
struct weir_end_key;
struct weir_ending;

namespace weir::datapath {

class KernelEnding final : public Ending {
 public:
  struct Options {
    std::string bpffs_dir;
    /// Called first on the thread that enters namespaces: the place to give up what it does not need.
    std::function<void()> on_thread_start;
  };

  /// Loads the programs onto these maps; takes up what an earlier agent counted. Needs the capabilities of
  /// KernelDatapath::Open. An error means that this kernel cannot end connections, and says what it lacks.
  static Result<std::unique_ptr<KernelEnding>> Open(const Maps& maps, Options options);
  ~KernelEnding() override;

  Status Able() const override { return OkStatus(); }
  Status Order(const std::string& name, const std::vector<EndTarget>& targets) override;
  Status Void(const std::string& name) override;
  Status VoidAllBut(const std::set<std::string>& names) override;
  Result<EndCounts> Count(const std::string& name) const override;
  void Sweep(std::function<void(Swept)> done) override;

  /// Unpins what Open pinned; returns the paths.
  static Result<std::vector<std::string>> Detach(const std::string& bpffs_dir);

 private:
  struct Destroy {
    void operator()(weir_ending* skeleton) const;
  };
  KernelEnding() = default;
  Status Load(const Maps& maps, const Options& options);
  Status ForEach(
      const std::function<Status(const struct weir_end_key&, const struct weir_end&)>& visit) const;
  Status EraseIf(const std::function<bool(uint64_t order)>& matches);

  // The thread.
  void Run(const std::function<void()>& on_start);
  Swept Pass();

  std::unique_ptr<weir_ending, Destroy> skeleton_;
  int ends_ = -1;              // the skeleton's
  UniqueFd find_, tcp_, udp_;  // links of the iterators
  UniqueFd own_namespace_;
  uint64_t own_number_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable wanted_;
  std::map<uint64_t, std::string> names_;  // of orders, by their number in the kernel
  std::deque<std::function<void(Swept)>> sweeps_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace weir::datapath
