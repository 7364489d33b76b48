#include "controller/telemetry/ring.h"

#include <algorithm>
#include <limits>

namespace weir::telemetry {
namespace {

/// Part `part` (0 .. parts - 1) of a number cut in even parts; the last ones have what does not divide.
uint64_t PartOf(uint64_t number, uint64_t part, uint64_t parts) {
  if (parts == 1 || number == 0) return number;
  return number / parts + (part >= parts - number % parts ? 1 : 0);
}

}  // namespace

void Ring::Run::Set(size_t bucket, uint64_t more) {
  if (counts.empty()) first = bucket;
  if (bucket < first) {
    counts.insert(counts.begin(), first - bucket, 0);
    first = bucket;
  }
  if (bucket - first >= counts.size()) counts.resize(bucket - first + 1, 0);
  uint32_t& count = counts[bucket - first];
  const uint64_t room = std::numeric_limits<uint32_t>::max() - count;
  count += static_cast<uint32_t>(std::min(room, more));
}

Ring::Slot& Ring::At(Second second) {
  Slot& slot = slots_[static_cast<size_t>(second) % kSlots];
  if (slot.second != second) {
    slot.second = second;
    slot.counters = {};
    for (Run* run : {&slot.connect, &slot.latency}) {
      run->sum_ns = 0;
      run->counts.clear();
    }
  }
  return slot;
}

void Ring::AddPart(const Histogram& histogram, uint64_t part, uint64_t parts, Run& run) {
  if (histogram.sum_ns != 0) run.sum_ns += PartOf(histogram.sum_ns, part, parts);
  for (size_t i = 0; i < Histogram::kBuckets; ++i) {
    if (histogram.counts[i] == 0) continue;
    if (const uint64_t more = PartOf(histogram.counts[i], part, parts); more > 0) run.Set(i, more);
  }
}

void Ring::AddPart(const Counts& counts, uint64_t part, uint64_t parts, Slot& slot) {
  for (size_t i = 0; i < kCounters; ++i) slot.counters[i] += PartOf(counts.counters[i], part, parts);
  AddPart(counts.connect, part, parts, slot.connect);
  AddPart(counts.latency, part, parts, slot.latency);
}

void Ring::Add(const Counts& counts, Second first, Second last) {
  if (slots_.empty()) slots_.resize(kSlots);
  newest_ = std::max(newest_, last);
  const auto parts = static_cast<uint64_t>(last - first + 1);
  for (Second second = std::max(first, newest_ - kSeconds + 1); second <= last; ++second) {
    AddPart(counts, static_cast<uint64_t>(second - first), parts, At(second));
  }
}

bool Ring::Sum(Second first, Second last, Counts& sum) const {
  if (slots_.empty()) return false;
  bool any = false;
  const auto add = [](const Run& run, Histogram& histogram) {
    histogram.sum_ns += run.sum_ns;
    for (size_t i = 0; i < run.counts.size(); ++i) histogram.counts[run.first + i] += run.counts[i];
  };
  for (Second second = std::max(first, newest_ - kSeconds + 1); second <= std::min(last, newest_); ++second) {
    const Slot& slot = slots_[static_cast<size_t>(second) % kSlots];
    if (slot.second != second) continue;
    any = true;
    for (size_t i = 0; i < kCounters; ++i) sum.counters[i] += slot.counters[i];
    add(slot.connect, sum.connect);
    add(slot.latency, sum.latency);
  }
  return any;
}

void Ring::Age(Second now) {
  if (!slots_.empty() && newest_ <= now - kSeconds) {
    std::vector<Slot>().swap(slots_);
    newest_ = 0;
  }
}

size_t Ring::bytes() const {
  size_t sum = slots_.capacity() * sizeof(Slot);
  for (const Slot& slot : slots_)
    sum += (slot.connect.counts.capacity() + slot.latency.counts.capacity()) * sizeof(uint32_t);
  return sum;
}

}  // namespace weir::telemetry
