// What a process holds: its own pages, and the BPF maps it has open.
#pragma once

#include <cstdint>
#include <string>

namespace weir::bench {

struct Memory {
  uint64_t resident = 0;   // VmRSS, bytes
  uint64_t anonymous = 0;  // RssAnon: without files, libraries and mapped BPF arrays
};
Memory MemoryOf(const std::string& pid);

/// Sum of `memlock` over the BPF maps the process has open (/proc/PID/fdinfo), each map once, bytes.
uint64_t MapBytes(const std::string& pid);

/// Of VmRSS: pages of BPF maps that the process has mapped, which MapBytes() counts too (/proc/PID/smaps),
/// bytes.
uint64_t MappedMapBytes(const std::string& pid);

}  // namespace weir::bench
