// The kernel's own view of programs and links, and small programs of others to share a cgroup with.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/net.h"
#include "common/status.h"

namespace weir::kernel_test {

/// The cgroup hooks Weir always attaches to.
extern const std::vector<bpf_attach_type> kHooks;
/// How many links it pins: those, and one at a tracepoint.
size_t LinkCount();

/// Ids of the programs attached to the cgroup itself, or in effect there, in the order they run.
std::vector<uint32_t> AttachedPrograms(const std::string& cgroup, bpf_attach_type hook);
std::vector<uint32_t> EffectivePrograms(const std::string& cgroup, bpf_attach_type hook);
/// As above for all of kHooks.
std::vector<std::vector<uint32_t>> AllAttachedPrograms(const std::string& cgroup);

/// What the pins below a directory of bpffs hold.
struct PinnedObjects {
  std::set<uint32_t> programs, maps, links;
};
PinnedObjects FindPinned(const std::string& directory);
/// The paths of the pins of links, in order.
std::vector<std::string> FindPinnedLinks(const std::string& directory);
/// Takes the pinned link off its cgroup, as an administrator would.
void DetachPinnedLink(const std::string& path);
/// The path of the pinned map of that name, empty when there is none.
std::string FindPinnedMap(const std::string& directory, const std::string& name);
/// Those that the kernel still has. Objects are freed some time after their last reference goes; waits for
/// that up to five seconds.
PinnedObjects StillThere(const PinnedObjects& objects);

/// Somebody else's program on a connect4 hook: counts its runs, notes the address it saw, may rewrite it.
class ForeignProgram {
 public:
  enum class How { kLink, kAttachMulti, kAttachAlone };
  ForeignProgram(const std::string& cgroup, How how, std::optional<SocketAddress> rewrite_to = std::nullopt);
  ~ForeignProgram();
  ForeignProgram(const ForeignProgram&) = delete;
  ForeignProgram& operator=(const ForeignProgram&) = delete;

  uint32_t id() const { return id_; }
  uint64_t Runs() const;
  IpAddress LastSeen() const;

 private:
  int map_ = -1, program_ = -1, link_ = -1, cgroup_ = -1;
  uint32_t id_ = 0;
};

}  // namespace weir::kernel_test
