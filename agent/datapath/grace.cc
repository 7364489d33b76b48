#include "agent/datapath/grace.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>

namespace weir::datapath {
namespace {

constexpr auto kPatience = std::chrono::seconds(5);

/// One more than the highest CPU number this kernel may use: "0-3,8-11" gives 12. All elements if that is
/// unknown.
uint32_t ReadCpuBound() {
  std::ifstream file("/sys/devices/system/cpu/possible");
  std::string mask;
  std::getline(file, mask);
  const size_t digits = mask.find_last_of(",-") + 1;  // npos + 1 is 0
  if (mask.empty() || digits >= mask.size()) return WEIR_GRACE_CPUS;
  const unsigned long highest = std::strtoul(mask.c_str() + digits, nullptr, 10);
  return static_cast<uint32_t>(std::min<unsigned long>(highest + 1, WEIR_GRACE_CPUS));
}

uint64_t Load(__u64& value) { return std::atomic_ref(value).load(std::memory_order_acquire); }

/// No reader of `phase` is in flight. Departures are summed first: a reader that leaves in between is missed,
/// one that is counted as departed has been counted as entered (srcu_readers_active_idx_check).
bool Drained(const Maps& maps, uint32_t cpus, uint32_t phase) {
  uint64_t left = 0;
  uint64_t entered = 0;
  for (uint32_t cpu = 0; cpu < cpus; ++cpu) {
    left += Load(maps.grace[cpu].left[phase]) + Load(maps.grace[cpu].chosen[phase]);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (uint32_t cpu = 0; cpu < cpus; ++cpu) {
    entered += Load(maps.grace[cpu].entered[phase]);
  }
  return entered == left;
}

bool WaitForPhase(const Maps& maps, uint32_t cpus, uint32_t phase) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  for (int round = 0; !Drained(maps, cpus, phase); ++round) {
    if (round < 16) {
      sched_yield();  // the reader may need this very CPU
      continue;
    }
    const timespec pause{.tv_sec = 0, .tv_nsec = 20'000};
    nanosleep(&pause, nullptr);
    if (std::chrono::steady_clock::now() > give_up) return false;
  }
  return true;
}

}  // namespace

bool WaitForReaders(const Maps& maps) {
  static const uint32_t cpus = ReadCpuBound();
  std::atomic_ref<__u32> phase(maps.state[0].phase);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const uint32_t old = phase.load(std::memory_order_relaxed) & 1;
  // Readers that took the other phase's number before an earlier flip and counted themselves after it.
  bool drained = WaitForPhase(maps, cpus, old ^ 1);
  phase.store(old ^ 1, std::memory_order_seq_cst);
  drained = WaitForPhase(maps, cpus, old) && drained;
  if (!drained && syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0)
    std::abort();  // no way to be safe
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return drained;
}

}  // namespace weir::datapath
