#include "agent/stream/telemetry.h"

#include <functional>
#include <string>

namespace weir::stream {
namespace {

/// 64 bits of everything that is sent: an accidental match delays one report by `idle`.
uint64_t Hash(const std::vector<datapath::SplitCount>& counts) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  const auto mix = [&](uint64_t value) {
    hash ^= value;
    hash *= 0x9e3779b97f4a7c15ULL;
    hash ^= hash >> 29;
  };
  for (const datapath::SplitCount& count : counts) {
    mix(std::hash<IpAddress>{}(count.key.address.address));
    mix(count.key.address.port | (static_cast<uint64_t>(count.key.protocol) << 16) |
        (count.variants.size() << 32));
    for (const datapath::SplitCount::Entry& entry : count.variants) {
      mix(std::hash<std::string>{}(entry.revision));
      mix(entry.weight);
      mix(entry.connections);
    }
  }
  return hash;
}

}  // namespace

bool TelemetryPacer::ShouldSend(const std::vector<datapath::SplitCount>& counts, MonotonicTime now) {
  const uint64_t hash = Hash(counts);
  if (sent_at_ && hash == sent_hash_ && now - *sent_at_ < idle_) return false;
  sent_at_ = now;
  sent_hash_ = hash;
  return true;
}

}  // namespace weir::stream
