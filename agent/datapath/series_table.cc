#include "agent/datapath/series_table.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "agent/datapath/split_plan.h"

namespace weir::datapath {
namespace {

bool Fits(const SeriesName& name) {
  return std::max({name.ns.size(), name.service.size(), name.revision.size()}) < WEIR_NAME_SIZE;
}

void Copy(std::string_view text, char (&out)[WEIR_NAME_SIZE]) {
  std::copy(text.begin(), text.end(), out);  // the rest is NUL already
}

std::string_view Read(const char (&name)[WEIR_NAME_SIZE]) { return {name, strnlen(name, sizeof name)}; }

/// RFC 9562, version 4.
Status MakeEpoch(weir_state& state) {
  uint64_t bits[2];
  if (getrandom(bits, sizeof bits, 0) != static_cast<ssize_t>(sizeof bits))
    return ErrnoStatus(errno, "getrandom");
  state.epoch[0] = (bits[0] & ~0xf000ULL) | 0x4000;
  state.epoch[1] = (bits[1] >> 2) | 1ULL << 63;
  return OkStatus();
}

}  // namespace

size_t SeriesTable::Hash::operator()(const SeriesName& name) const {
  const std::hash<std::string_view> hash;
  return (hash(name.ns) * 31 + hash(name.service)) * 31 + hash(name.revision);
}

SeriesTable::Entry& SeriesTable::Add(uint32_t series, const SeriesName& name, MonotonicTime now) {
  Entry& entry = entries_[series];
  entry.ns = name.ns;
  entry.service = name.service;
  entry.revision = name.revision;
  entry.unused_since = now;
  by_name_[{entry.ns, entry.service, entry.revision}] = series;
  return entry;
}

Result<SeriesTable> SeriesTable::Adopt(const Maps& maps, MonotonicTime now) {
  SeriesTable table;
  weir_state& state = maps.state[0];
  if (state.epoch[0] == 0) RETURN_IF_ERROR(MakeEpoch(state));
  state.next_series = std::max(state.next_series, 1U);  // 0: not measured
  ASSIGN_OR_RETURN(const auto pinned, maps.ListSeries());
  for (const auto& [series, name] : pinned) {
    state.next_series = std::max(state.next_series, series + 1);
    table.Add(series, {Read(name.ns), Read(name.service), Read(name.revision)}, now);
  }
  return table;
}

uint32_t SeriesTable::Find(const SeriesName& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? 0 : found->second;
}

uint32_t SeriesTable::Assign(const Maps& maps, const SeriesName& name, MonotonicTime now) {
  if (const uint32_t known = Find(name); known != 0) return known;
  weir_state& state = maps.state[0];
  // Numbers are not used twice, and 4 billion are enough; but a table that wrapped would mix series up.
  if (!Fits(name) || entries_.size() >= maps.series_capacity() || state.next_series == ~0U) {
    ++failures_;
    return 0;
  }
  const uint32_t series = state.next_series++;
  weir_series names{};
  Copy(name.ns, names.ns);
  Copy(name.service, names.service);
  Copy(name.revision, names.revision);
  if (!maps.InsertSeries(series, names).ok()) {
    ++failures_;
    return 0;
  }
  Add(series, name, now);
  return series;
}

void SeriesTable::Use(uint32_t series, bool http) {
  const auto entry = entries_.find(series);
  if (entry == entries_.end()) return;
  ++entry->second.uses;
  entry->second.http |= http;
}

void SeriesTable::Release(uint32_t series, MonotonicTime now) {
  const auto entry = entries_.find(series);
  if (entry == entries_.end() || entry->second.uses == 0 || --entry->second.uses > 0) return;
  entry->second.unused_since = now;
  entry->second.activity.reset();
}

Status SeriesTable::Forget(const Maps& maps, uint32_t series) {
  const auto entry = entries_.find(series);
  if (entry == entries_.end()) return OkStatus();
  // Its name first: without one, the kernel makes no new element for the figures.
  RETURN_IF_ERROR(maps.DeleteSeries(series));
  by_name_.erase({entry->second.ns, entry->second.service, entry->second.revision});
  entries_.erase(entry);
  return OkStatus();
}

}  // namespace weir::datapath
