// A SplitTable and the fail safe: what the kernel has seen and decided, for the agent to know.
#include <algorithm>
#include <atomic>

#include "agent/datapath/split_table.h"
#include "agent/datapath/wire.h"

namespace weir::datapath {
namespace {

constexpr std::chrono::milliseconds kNever{0};

uint64_t CanaryOf(std::span<const weir_variant> variants) {
  return variants.size() > 1 ? variants[1].id : 0;  // stable comes first
}

bool SameCanary(const Maps& maps, const weir_split& a, const weir_split& b) {
  return (a.flags & b.flags & WEIR_SPLIT_FAIL_SAFE) != 0 &&
         CanaryOf(maps.VariantsOf(a)) == CanaryOf(maps.VariantsOf(b));
}

Cut CutOf(const weir_split& split) {
  if ((split.flags & WEIR_SPLIT_CUT_OFF) != 0) return Cut::kCutOff;
  return (split.flags & WEIR_SPLIT_TRIPPED) != 0 ? Cut::kTripped : Cut::kNone;
}

}  // namespace

/// What was seen of another canary says nothing of this one. After the grace period: nobody who saw the old
/// split writes any more.
void SplitTable::ResetGuard(const weir_split* old, uint32_t service, uint32_t slot) {
  if (old != nullptr && SameCanary(maps_, *old, maps_.splits[slot])) return;
  weir_guard& guard = maps_.vips[service].guard;
  std::atomic_ref(guard.canary_failed).store(0, std::memory_order_relaxed);
  std::atomic_ref(guard.stable_answered).store(0, std::memory_order_relaxed);
  std::atomic_ref(guard.tripped).store(0, std::memory_order_relaxed);
}

void SplitTable::SetHeard(std::chrono::nanoseconds boottime) {
  std::atomic_ref(maps_.contact[0].heard_ns)
      .store(static_cast<uint64_t>(boottime.count()), std::memory_order_relaxed);
}

std::vector<GuardState> SplitTable::ReadGuards(std::chrono::nanoseconds boottime) const {
  const std::chrono::nanoseconds heard(
      std::atomic_ref(maps_.contact[0].heard_ns).load(std::memory_order_relaxed));
  std::vector<GuardState> states;
  for (const FrontendKey& key : guarded_) {
    const Held& held = held_.at(key);
    const weir_split& split = maps_.splits[held.slot];
    weir_guard& guard = maps_.vips[held.service].guard;
    const Cut in_force = CutOf(split);
    Cut decided = Cut::kNone;
    const std::chrono::milliseconds after(split.fail_safe_ms);
    if ((split.flags & WEIR_SPLIT_FAIL_SAFE) == 0) {
      // nothing to decide
    } else if (std::atomic_ref(guard.tripped).load(std::memory_order_relaxed) != 0) {
      decided = Cut::kTripped;
    } else if (after != kNever && boottime - heard > after) {
      decided = Cut::kCutOff;
    }
    if (in_force == Cut::kNone && decided == Cut::kNone) continue;
    states.push_back({.key = key,
                      .canary_id = CanaryOf(maps_.VariantsOf(split)),
                      .in_force = in_force,
                      .decided = decided,
                      .diverted = std::atomic_ref(guard.diverted).load(std::memory_order_relaxed)});
  }
  return states;
}

bool SplitTable::AnyFailing() const {
  return std::any_of(watched_.begin(), watched_.end(), [&](const FrontendKey& key) {
    return std::atomic_ref(maps_.vips[held_.at(key).service].guard.failing).load() != 0;
  });
}

Result<std::vector<EndpointFailures>> SplitTable::ReadFailures() {
  std::vector<EndpointFailures> failures;
  if (!AnyFailing()) return failures;
  const auto read = [&] {
    return maps_.ForEachFailing([&](const weir_failing_key& key, const weir_failing& failing) {
      failures.push_back({.key = FromWire(key.vip),
                          .endpoint = {FromWire(key.endpoint.address), ntohs(key.endpoint.port_be)},
                          .in_row = failing.in_row,
                          .answered = failing.answered});
    });
  };
  RETURN_IF_ERROR(read());
  if (!failures.empty()) return failures;
  // Nothing fails any more: later calls need not look. The kernel makes an element first and sets the mark
  // then, so a second look finds what came between the first and the removal of the mark.
  for (const FrontendKey& key : watched_)
    std::atomic_ref(maps_.vips[held_.at(key).service].guard.failing).store(0);
  RETURN_IF_ERROR(read());
  for (const EndpointFailures& failure : failures) {
    if (const auto held = held_.find(failure.key); held != held_.end())
      std::atomic_ref(maps_.vips[held->second.service].guard.failing).store(1);
  }
  return failures;
}

Status SplitTable::ExpectAnswer(const FrontendKey& key, const SocketAddress& endpoint) {
  const auto held = held_.find(key);
  if (held == held_.end()) return NotFound("no frontend {}", ToString(key));
  RETURN_IF_ERROR(maps_.ResetFailing({.vip = ToWire(key), .endpoint = ToWire(endpoint)}));
  std::atomic_ref(maps_.vips[held->second.service].guard.failing).store(1);
  return OkStatus();
}

Status SplitTable::ForgetFailures(const FrontendKey& key, const SocketAddress& endpoint) {
  return maps_.DeleteFailing({.vip = ToWire(key), .endpoint = ToWire(endpoint)});
}

}  // namespace weir::datapath
