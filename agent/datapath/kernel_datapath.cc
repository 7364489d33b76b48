#include "agent/datapath/kernel_datapath.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agent/datapath/environment.h"
#include "agent/datapath/grace.h"

namespace weir::datapath {
namespace {

Status CheckOptions(const Options& options) {
  const auto check = [](const char* flag, uint32_t value, uint32_t most) {
    return value >= 1 && value <= most ? OkStatus()
                                       : InvalidArgument("{}: found {}, expected 1..{}", flag, value, most);
  };
  RETURN_IF_ERROR(check("--max-services", options.max_services, 1'000'000));
  RETURN_IF_ERROR(check("--max-endpoints", options.max_endpoints, 10'000'000));
  return check("--max-affinity", options.max_affinity, 10'000'000);
}

Status CheckCapabilities() {
  const std::vector<std::string> missing = MissingCapabilities();
  if (missing.empty()) return OkStatus();
  return Error(absl::StatusCode::kPermissionDenied,
               "missing {}: run as root, or grant the capabilities (systemd: AmbientCapabilities=, "
               "Kubernetes: securityContext.capabilities.add)",
               fmt::join(missing, ", "));
}

/// Fills an empty table from maps of other sizes. Connections that the old programs give between this and the
/// replacement of the links are not in the copied cursors.
Status ImportFrom(const std::string& directory, const MapSizes& sizes, SplitTable& table) {
  ASSIGN_OR_RETURN(Maps maps, Maps::Open(directory, sizes));
  ASSIGN_OR_RETURN(const SplitTable earlier, SplitTable::Adopt(std::move(maps)));
  return table.Import(earlier);
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
  ASSIGN_OR_RETURN(SplitTable table, SplitTable::Adopt(std::move(maps)));
  if (!earlier.empty()) {
    const Status imported = ImportFrom(earlier, *MapSizes::FromDirectoryName(found.front()), table);
    if (!imported.ok()) {
      RETURN_IF_ERROR(RemoveMapDirectory(programs.maps_at()).status());
      return Annotate(imported, "carry the split over to maps of other sizes");
    }
  }
  RETURN_IF_ERROR(programs.Publish());
  RETURN_IF_ERROR(programs.Attach(cgroup.get(), options.bpffs_dir));
  // From here on every new call runs our programs on our maps.
  for (const std::string& other : ListMapDirectories(options.bpffs_dir)) {
    if (other != wanted) RETURN_IF_ERROR(RemoveMapDirectory(options.bpffs_dir + "/" + other).status());
  }
  return std::unique_ptr<KernelDatapath>(
      new KernelDatapath(options, std::move(cgroup), std::move(programs), std::move(table)));
}

KernelDatapath::KernelDatapath(Options options, UniqueFd cgroup, Programs programs, SplitTable table)
    : options_(std::move(options)),
      cgroup_(std::move(cgroup)),
      programs_(std::move(programs)),
      table_(std::move(table)),
      abilities_(ProbeAbilities()) {}

Result<std::vector<std::string>> KernelDatapath::Detach(const std::string& bpffs_dir) {
  ASSIGN_OR_RETURN(std::vector<std::string> removed, RemoveHooks(bpffs_dir));
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

Status KernelDatapath::Apply(const Change& change) { return table_.Apply(change, table_.node_number()); }

Result<Figures> KernelDatapath::ReadFigures() { return Figures{}; }

Status KernelDatapath::CheckAttached() {
  if (access(options_.cgroup_path.c_str(), F_OK) != 0) {
    return ErrnoStatus(errno, fmt::format("cgroup {}", options_.cgroup_path));
  }
  return programs_.Check(cgroup_.get());
}

}  // namespace weir::datapath
