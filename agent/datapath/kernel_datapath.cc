#include "agent/datapath/kernel_datapath.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <ctime>

#include "agent/datapath/environment.h"
#include "agent/datapath/grace.h"
#include "agent/datapath/kernel_ending.h"
#include "agent/datapath/wire.h"
#include "common/log.h"

namespace weir::datapath {
namespace {

/// CLOCK_MONOTONIC, as bpf_ktime_get_ns() has it.
uint64_t MonotonicNow() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

Status CheckOptions(const Options& options) {
  const auto check = [](const char* flag, uint32_t value, uint32_t most) {
    return value >= 1 && value <= most ? OkStatus()
                                       : InvalidArgument("{}: found {}, expected 1..{}", flag, value, most);
  };
  RETURN_IF_ERROR(check("--max-services", options.max_services, 1'000'000));
  RETURN_IF_ERROR(check("--max-endpoints", options.max_endpoints, 10'000'000));
  return check("--max-affinity", options.max_affinity, 10'000'000);
}

/// Fills an empty table from maps of other sizes. Connections that the old programs give between this and the
/// replacement of the links are not in the copied cursors.
Status ImportFrom(const std::string& directory, const MapSizes& sizes, const Clock& clock,
                  SplitTable& table) {
  ASSIGN_OR_RETURN(Maps maps, Maps::Open(directory, sizes));
  ASSIGN_OR_RETURN(const SplitTable earlier, SplitTable::Adopt(std::move(maps), clock));
  return table.Import(earlier);
}

const Clock& ClockOf(const Options& options) {
  static const SystemClock clock;
  return options.clock != nullptr ? *options.clock : clock;
}

}  // namespace

Result<std::unique_ptr<KernelDatapath>> KernelDatapath::Open(const Options& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  RETURN_IF_ERROR(CheckCapabilities());
  ASSIGN_OR_RETURN(UniqueFd cgroup, OpenCgroup(options.cgroup_path));
  RETURN_IF_ERROR(EnsureBpffsDirectory(options.bpffs_dir));

  RETURN_IF_ERROR(RemoveUnfinished(options.bpffs_dir).status());

  const MapSizes sizes{options.max_services, options.max_endpoints, options.max_affinity};
  const std::string wanted = sizes.DirectoryName();
  const std::vector<std::string> found = ListMapDirectories(options.bpffs_dir);
  const bool adopt = std::find(found.begin(), found.end(), wanted) != found.end();
  const std::string earlier = adopt || found.empty() ? "" : options.bpffs_dir + "/" + found.front();

  ASSIGN_OR_RETURN(Programs programs, Programs::Load(options.bpffs_dir + "/" + wanted, sizes, earlier));
  ASSIGN_OR_RETURN(Maps maps, Maps::Open(programs.maps_at(), sizes));
  ASSIGN_OR_RETURN(SplitTable table, SplitTable::Adopt(std::move(maps), ClockOf(options)));
  if (!earlier.empty()) {
    const Status imported =
        ImportFrom(earlier, *MapSizes::FromDirectoryName(found.front()), ClockOf(options), table);
    if (!imported.ok()) {
      RETURN_IF_ERROR(RemoveMapDirectory(programs.maps_at()).status());
      return Annotate(imported, "carry the split over to maps of other sizes");
    }
  }
  RETURN_IF_ERROR(programs.Publish());
  if (Status attached = programs.Attach(cgroup.get(), options.bpffs_dir); !attached.ok()) {
    if (found.empty()) RETURN_IF_ERROR(RemoveMapDirectory(programs.maps_at()).status());  // nobody's yet
    return attached;
  }
  // From here on every new call runs our programs on our maps.
  for (const std::string& other : ListMapDirectories(options.bpffs_dir)) {
    if (other != wanted) RETURN_IF_ERROR(RemoveMapDirectory(options.bpffs_dir + "/" + other).status());
  }
  std::unique_ptr<KernelDatapath> datapath(
      new KernelDatapath(options, std::move(cgroup), std::move(programs), std::move(table)));
  datapath->StartMeasuring();
  datapath->SetPackets(datapath->table_.NeedsPackets());
  return datapath;
}

KernelDatapath::KernelDatapath(Options options, UniqueFd cgroup, Programs programs, SplitTable table)
    : options_(std::move(options)),
      cgroup_(std::move(cgroup)),
      programs_(std::move(programs)),
      table_(std::move(table)),
      abilities_(ProbeAbilities()) {}

Result<std::vector<std::string>> KernelDatapath::Detach(const std::string& bpffs_dir) {
  ASSIGN_OR_RETURN(std::vector<std::string> removed, RemoveHooks(bpffs_dir));
  ASSIGN_OR_RETURN(const std::vector<std::string> measuring, RemoveMeasuring(bpffs_dir));
  removed.insert(removed.end(), measuring.begin(), measuring.end());
  ASSIGN_OR_RETURN(const std::vector<std::string> ending, KernelEnding::Detach(bpffs_dir));
  removed.insert(removed.end(), ending.begin(), ending.end());
  for (const std::string& name : ListMapDirectories(bpffs_dir)) {
    ASSIGN_OR_RETURN(const std::vector<std::string> gone,
                     RemoveMapDirectory(fmt::format("{}/{}", bpffs_dir, name)));
    removed.insert(removed.end(), gone.begin(), gone.end());
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> unfinished, RemoveUnfinished(bpffs_dir));
  removed.insert(removed.end(), unfinished.begin(), unfinished.end());
  if (rmdir(bpffs_dir.c_str()) == 0) {
    removed.push_back(bpffs_dir);
  } else if (errno != ENOENT && errno != ENOTEMPTY && errno != EBUSY) {
    return ErrnoStatus(errno, "rmdir " + bpffs_dir);
  }
  return removed;
}

Status KernelDatapath::Apply(const Change& change) {
  // Before the change is in force, so that nothing of its first connections is missed.
  if (std::any_of(change.upserts.begin(), change.upserts.end(), NeedsPackets)) SetPackets(true);
  Status status = table_.Apply(change, table_.node_number());
  SetPackets(table_.NeedsPackets());
  return status;
}

void KernelDatapath::SetPackets(bool wanted) {
  if (wanted == packets_.attached() && packets_set_) return;
  std::atomic_ref<__u64> since(table_.maps().state[0].packets_since_ns);
  if (!wanted) since.store(0);
  const Status status = wanted ? packets_.Attach(table_.maps(), cgroup_.get(), options_.bpffs_dir)
                               : packets_.Detach(options_.bpffs_dir);
  packets_set_ = status.ok();
  if (wanted && status.ok() && since.load() == 0) since.store(MonotonicNow());
  if (status.ok()) return;
  // Measuring is not worth a refused split.
  ++packet_failures_;
  LogWarn("datagrams and HTTP are not measured", {{"error", status}});
}

Result<Stats> KernelDatapath::ReadStats() {
  ASSIGN_OR_RETURN(Stats stats, table_.ReadStats());
  stats.counters.push_back({"attach_packets", packet_failures_, true});
  return stats;
}

void KernelDatapath::StartMeasuring() {
  Result<Measuring> measuring = Measuring::Attach(table_.maps(), cgroup_.get(), options_.bpffs_dir);
  if (measuring.ok()) {
    measuring_ = *std::move(measuring);
    abilities_.insert(abilities_.end(), {"inet_sock_set_state", "sock_release"});
    for (std::string& ability : ProbePacketAbilities()) abilities_.push_back(std::move(ability));
  } else {
    table_.set_measured(false);
    LogWarn("nothing is measured on this kernel", {{"error", measuring.status()}});
  }
}

Result<Figures> KernelDatapath::ReadFigures() {
  if (measuring_) RETURN_IF_ERROR(measuring_->CountLiving());
  return table_.ReadFigures(options_.series_grace);
}

Status KernelDatapath::SetPods(const std::map<uint64_t, uint32_t>& consumers_by_cgroup) {
  const Maps& maps = table_.maps();
  ASSIGN_OR_RETURN(const auto present, maps.ListPods());
  // Those that are gone first: they may be what there is no room for.
  for (const auto& [cgroup, consumers] : present) {
    if (!consumers_by_cgroup.contains(cgroup)) RETURN_IF_ERROR(maps.DeletePod(cgroup));
  }
  for (const auto& [cgroup, consumers] : consumers_by_cgroup) {
    const auto before = present.find(cgroup);
    if (before != present.end() && before->second == consumers) continue;
    RETURN_IF_ERROR(maps.PutPod(cgroup, consumers));
  }
  return OkStatus();
}

Status KernelDatapath::CheckAttached() {
  if (access(options_.cgroup_path.c_str(), F_OK) != 0) {
    return ErrnoStatus(errno, fmt::format("cgroup {}", options_.cgroup_path));
  }
  RETURN_IF_ERROR(programs_.Check(cgroup_.get()));
  RETURN_IF_ERROR(table_.CheckMaps());
  if (measuring_) RETURN_IF_ERROR(measuring_->Check(cgroup_.get()));
  return packets_.Check(cgroup_.get());
}

}  // namespace weir::datapath
