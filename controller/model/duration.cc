// Argo's spellings of durations, and steps in words.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>

#include "controller/model/manifest.h"

namespace weir::model {
namespace {

using std::chrono::milliseconds;

/// A century: sums with points in time cannot overflow.
constexpr milliseconds kLongest = std::chrono::hours{24} * 36525;

struct Unit {
  std::string_view name;
  milliseconds length;
};
// "ms" goes before "m".
constexpr Unit kUnits[] = {{"ms", milliseconds{1}},
                           {"h", std::chrono::hours{1}},
                           {"m", std::chrono::minutes{1}},
                           {"s", std::chrono::seconds{1}}};

}  // namespace

std::optional<milliseconds> ParseDuration(std::string_view text) {
  if (text.empty()) return std::nullopt;
  const bool bare = text.find_first_not_of("0123456789") == std::string_view::npos;
  milliseconds sum{0};
  while (!text.empty()) {
    uint64_t count = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    milliseconds unit = std::chrono::seconds{1};
    if (!bare) {
      const Unit* found = nullptr;
      for (const Unit& candidate : kUnits) {
        if (found == nullptr && text.starts_with(candidate.name)) found = &candidate;
      }
      if (found == nullptr) return std::nullopt;
      text.remove_prefix(found->name.size());
      unit = found->length;
    }
    if (count > static_cast<uint64_t>((kLongest - sum) / unit)) return std::nullopt;
    sum += unit * static_cast<int64_t>(count);
  }
  return sum;
}

std::string FormatDuration(milliseconds duration) {
  if (duration == milliseconds{0}) return "0s";
  std::string text = duration < milliseconds{0} ? "-" : "";
  for (const Unit& unit : {kUnits[1], kUnits[2], kUnits[3], kUnits[0]}) {
    const int64_t count = duration / unit.length;
    if (count != 0) text += fmt::format("{}{}", count < 0 ? -count : count, unit.name);
    duration -= unit.length * count;
  }
  return text;
}

std::string StepText(const engine::RolloutStep& step) {
  if (const auto* weight = std::get_if<engine::SetWeight>(&step)) {
    return fmt::format("setWeight: {}", weight->weight);
  }
  if (const auto* analysis = std::get_if<engine::Analysis>(&step)) {
    return fmt::format("analysis: {}", fmt::join(analysis->templates, ", "));
  }
  if (const auto* scale = std::get_if<engine::SetCanaryScale>(&step)) {
    if (scale->replicas) return fmt::format("setCanaryScale: {} replicas", *scale->replicas);
    return scale->percent ? fmt::format("setCanaryScale: {}%", *scale->percent) : "setCanaryScale: by weight";
  }
  const auto& pause = std::get<engine::Pause>(step);
  return pause.duration ? fmt::format("pause: {}", FormatDuration(*pause.duration)) : "pause";
}

}  // namespace weir::model
