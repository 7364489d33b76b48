// Network namespaces of this machine, found by their inode numbers.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/fd.h"
#include "common/status.h"

namespace weir::datapath {

struct NamespaceSearch {
  std::map<uint64_t, UniqueFd> found;  // those wanted, open for setns()
  uint64_t unreadable = 0;             // processes whose namespace could not be looked at
};

/// The inode number of an open namespace.
Result<uint64_t> NamespaceNumber(int fd);

/// Looks for the wanted ones among those that are mounted by name (ip-netns(8), container runtimes) and those
/// of all processes. A process that ends meanwhile is no error. Descriptors keep a namespace alive: let them
/// go soon.
NamespaceSearch FindNamespaces(const std::set<uint64_t>& wanted);

}  // namespace weir::datapath
