#include "agent/metrics/series_registry.h"

#include <algorithm>
#include <tuple>

#include "common/exposition.h"

namespace weir::metrics {
namespace {

using datapath::Role;

bool HadTraffic(const datapath::Series& series) {
  return series.opened != 0 || series.udp_datagrams_sent != 0 || series.udp_datagrams_received != 0 ||
         series.http_requests != 0 ||
         std::any_of(series.failed.begin(), series.failed.end(),
                     [](const datapath::Series::Failure& failure) { return failure.count != 0; });
}

void UpdateLabels(SeriesRegistry::Labels& labels, const datapath::Series& series, Role role) {
  if (role != Role::kNone) labels.last_role = role;
  if (role == labels.role && !labels.weir.empty()) return;
  labels.role = role;
  labels.weir.clear();
  AppendLabel(labels.weir, "namespace", series.ns);
  AppendLabel(labels.weir, "service", series.service);
  AppendLabel(labels.weir, "revision", series.revision);
  AppendLabel(labels.weir, "variant", VariantLabel(role));
}

}  // namespace

std::string_view VariantLabel(Role role) {
  switch (role) {
    case Role::kStable:
      return "stable";
    case Role::kCanary:
      return "canary";
    case Role::kBackend:
      return "backend";
    case Role::kActive:
      return "active";
    case Role::kPreview:
      return "preview";
    case Role::kPrevious:
      return "previous";
    case Role::kNone:
      break;
  }
  return "none";
}

/// Both are sorted: one walk finds every series' entry, makes the missing ones and drops those that are no
/// more.
void SeriesRegistry::Match(const datapath::Figures& figures) {
  matched_.clear();
  auto entry = entries_.begin();
  for (const datapath::Series& series : figures.series) {
    const auto key = std::tie(series.ns, series.service, series.revision);
    const auto at = [&] { return std::tie(entry->first.ns, entry->first.service, entry->first.revision); };
    while (entry != entries_.end() && at() < key) entry = entries_.erase(entry);
    if (entry == entries_.end() || at() != key) {
      entry = entries_.emplace_hint(entry, stream::SeriesKey{series.ns, series.service, series.revision},
                                    Entry{});
    }
    matched_.push_back(&entry->second);
    ++entry;
  }
  entries_.erase(entry, entries_.end());
}

/// Takes room for the series and for its new status codes, as far as there is any. False: none for the
/// series.
bool SeriesRegistry::LetIn(const datapath::Series& series, Entry& entry) {
  if (!entry.held) {
    if (used_ >= max_) return false;
    entry.held = true;
    ++used_;
  }
  for (const auto& [code, latency] : series.http_responses) {
    if (entry.codes.contains(code)) continue;
    if (used_ >= max_ || entry.codes.size() >= kMaxCodes) {
      ++dropped_;
      continue;
    }
    entry.codes.insert(code);
    ++used_;
  }
  return true;
}

const std::vector<SeriesRegistry::Shown>& SeriesRegistry::Select(const datapath::Figures& figures,
                                                                 const stream::SplitBook& book) {
  Match(figures);
  used_ = dropped_ = 0;
  for (const Entry* entry : matched_) used_ += entry->held ? 1 + entry->codes.size() : 0;
  for (size_t i = 0; i < matched_.size(); ++i) {
    const datapath::Series& series = figures.series[i];
    if (HadTraffic(series) && !LetIn(series, *matched_[i])) dropped_ += 1 + series.http_responses.size();
  }
  shown_.clear();
  for (size_t i = 0; i < matched_.size(); ++i) {
    const datapath::Series& series = figures.series[i];
    Entry& entry = *matched_[i];
    if (!entry.held) {
      if (HadTraffic(series)) continue;  // counted above
      if (used_ >= max_) {
        ++dropped_;
        continue;
      }
      ++used_;
    }
    UpdateLabels(entry.labels, series, book.RoleOf(series.ns, series.service, series.revision));
    Shown& shown = shown_.emplace_back(Shown{&series, &entry.labels, {}});
    for (const auto& [code, latency] : series.http_responses) {
      if (entry.codes.contains(code)) shown.responses.emplace_back(code, &latency);
    }
  }
  return shown_;
}

}  // namespace weir::metrics
