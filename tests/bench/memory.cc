#include "tests/bench/memory.h"

#include <filesystem>
#include <fstream>
#include <map>

namespace weir::bench {

Memory MemoryOf(const std::string& pid) {
  Memory memory;
  std::ifstream status("/proc/" + pid + "/status");
  for (std::string word; status >> word;) {
    uint64_t kib = 0;
    if (word == "VmRSS:" && status >> kib) memory.resident = kib * 1024;
    if (word == "RssAnon:" && status >> kib) memory.anonymous = kib * 1024;
  }
  return memory;
}

uint64_t MapBytes(const std::string& pid) {
  std::map<uint64_t, uint64_t> maps;  // by id: several descriptors may name one map
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + pid + "/fdinfo", error)) {
    std::ifstream info(entry.path());
    uint64_t memlock = 0, id = 0;
    for (std::string word; info >> word;) {
      if (word == "memlock:") info >> memlock;
      if (word == "map_id:") info >> id;
    }
    if (id != 0) maps[id] = memlock;
  }
  uint64_t total = 0;
  for (const auto& [id, bytes] : maps) total += bytes;
  return total;
}

uint64_t MappedMapBytes(const std::string& pid) {
  std::ifstream smaps("/proc/" + pid + "/smaps");
  uint64_t total = 0;
  bool of_map = false;
  for (std::string line; std::getline(smaps, line);) {
    if (line.find("bpf-map") != std::string::npos) {
      of_map = true;
    } else if (of_map && line.starts_with("Rss:")) {
      total += std::stoull(line.substr(4)) * 1024;
      of_map = false;
    }
  }
  return total;
}

}  // namespace weir::bench
