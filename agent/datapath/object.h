// What every BPF object needs: its maps taken from those that are pinned, and libbpf's word on why a load
// failed.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "agent/datapath/hooks.h"
#include "agent/datapath/maps.h"

struct bpf_object;

namespace weir::datapath {

/// Collects, from now on and on this thread, what libbpf says of failures: of each message, and of all, the
/// first line and the end. The verifier's log is one message of up to megabytes, and its error is the last of
/// it.
void CollectLibbpfMessages();

/// Why the object did not load: FAILED_PRECONDITION with the hooks, and the Linux each needs, or the type
/// information that this kernel lacks; else the errno `error` with what libbpf said.
Status LoadError(int error, const bpf_object* object);
/// For those hooks of the object's programs that the kernel does not know: "connect4 (Linux 4.17 or later has
/// it)".
std::vector<std::string> MissingHooks(const bpf_object* object);

/// Text of at most about `bytes`: all of it, or the first line, "[...]" and the last lines. Pure.
std::string EndOf(const std::string& text, size_t bytes);

/// Loads an opened object whose maps, as far as Weir knows their names, are the ones of `maps`. The status
/// says what libbpf said.
Status LoadOnMaps(bpf_object* object, const Maps& maps);

/// The program weir_<hook>.
Result<int> ProgramFd(const bpf_object* object, const Hook& hook);

/// OK if the object's program is in effect on that hook of the cgroup.
Status CheckProgram(const bpf_object* object, const Hook& hook, int cgroup_fd);

}  // namespace weir::datapath
