// What every BPF object needs: its maps taken from those that are pinned, and libbpf's word on why a load
// failed.
#pragma once

#include <string>

#include "agent/datapath/hooks.h"
#include "agent/datapath/maps.h"

struct bpf_object;

namespace weir::datapath {

/// Collects, from now on and on this thread, what libbpf says of failures.
void CollectLibbpfMessages();
const std::string& LibbpfMessages();

/// Loads an opened object whose maps, as far as Weir knows their names, are the ones of `maps`. The status
/// says what libbpf said.
Status LoadOnMaps(bpf_object* object, const Maps& maps);

/// The program weir_<hook>.
Result<int> ProgramFd(const bpf_object* object, const Hook& hook);

/// OK if the object's program is in effect on that hook of the cgroup.
Status CheckProgram(const bpf_object* object, const Hook& hook, int cgroup_fd);

}  // namespace weir::datapath
