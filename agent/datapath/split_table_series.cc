// A SplitTable and its series: who is measured as what, and for how long.
#include "agent/datapath/figures.h"
#include "agent/datapath/split_table.h"
#include "agent/datapath/wire.h"

namespace weir::datapath {

void SplitTable::AssignSeries(const Frontend& frontend) {
  if (!measured_) return;
  for (const Variant& variant : frontend.variants)
    series_.Assign(maps_, {frontend.ns, frontend.service, variant.revision}, clock_->Now());
}

uint32_t SplitTable::SeriesOf(const Frontend& frontend, uint32_t variant) const {
  if (!measured_) return 0;
  return series_.Find({frontend.ns, frontend.service, frontend.variants[variant].revision});
}

void SplitTable::UseSeries(Held& held, std::vector<uint32_t> series) {
  const bool http = held.slot != 0 && (maps_.splits[held.slot].flags & WEIR_SPLIT_HTTP) != 0;
  // The new ones first: what stays in use is never without a user.
  for (const uint32_t id : series) series_.Use(id, http);
  for (const uint32_t id : held.series) series_.Release(id, clock_->Now());
  held.series = std::move(series);
}

void SplitTable::Hold(const FrontendKey& key, uint32_t service, uint32_t slot) {
  const weir_split& split = maps_.splits[slot];
  Held& held = held_[key];
  packet_users_ -= held.needs_packets ? 1 : 0;
  held.service = service;
  held.slot = slot;
  held.needs_packets = key.protocol == Protocol::kUdp || (split.flags & WEIR_SPLIT_HTTP) != 0;
  packet_users_ += held.needs_packets ? 1 : 0;
  const auto list = [&](std::set<FrontendKey>& keys, int flags) {
    if ((split.flags & flags) != 0) {
      keys.insert(key);
    } else {
      keys.erase(key);
    }
  };
  list(guarded_, WEIR_SPLIT_FAIL_SAFE | WEIR_SPLIT_CUT_OFF | WEIR_SPLIT_TRIPPED);
  list(watched_, WEIR_SPLIT_WATCHED);
  std::vector<uint32_t> series;
  for (const weir_variant& variant : maps_.VariantsOf(split)) series.push_back(variant.series);
  UseSeries(held, std::move(series));
}

Result<Figures> SplitTable::ReadFigures(std::chrono::nanoseconds grace) {
  ASSIGN_OR_RETURN(FiguresReading reading, FiguresReading::Read(maps_, series_));
  const std::vector<uint32_t> expired =
      series_.Expired(clock_->Now(), grace, [&](uint32_t series) { return reading.ActivityOf(series); });
  for (const uint32_t series : expired) RETURN_IF_ERROR(series_.Forget(maps_, series));
  RETURN_IF_ERROR(reading.Delete(maps_, expired));
  return std::move(reading).Take(expired, FormatUuid({maps_.state[0].epoch[0], maps_.state[0].epoch[1]}));
}

}  // namespace weir::datapath
