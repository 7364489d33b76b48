#include "controller/model/rollout_safety.h"

#include "controller/model/kinds.h"
#include "controller/model/manifest.h"

namespace weir::model {
namespace {

using std::chrono::milliseconds;

constexpr int64_t kMostFailures = 1'000'000;
constexpr milliseconds kLongest = std::chrono::hours{24};

/// A duration up to a day; `zero`: 0 is one.
std::optional<milliseconds> ReadUpToADay(const Cursor& field, bool zero, std::string_view if_zero) {
  const YamlNode& node = field.node();
  if (zero && node.kind == YamlNode::Kind::kScalar && ParseDuration(node.text) == milliseconds{0})
    return milliseconds{0};
  const auto duration = ReadDuration(field, if_zero);
  if (duration && *duration > kLongest) {
    field.Fail("at most 24h", zero ? "to turn it off write 0" : "");
    return std::nullopt;
  }
  return duration;
}

std::optional<uint32_t> ReadFailures(const Cursor& map) {
  const auto field = map.Find("consecutiveFailures");
  if (!field) return std::nullopt;
  const auto count = field->Integer(0, kMostFailures);
  if (!count) return std::nullopt;
  return static_cast<uint32_t>(*count);
}

}  // namespace

void ReadSafety(const Cursor& spec, Safety& safety) {
  if (const auto after = spec.Find("failSafeAfter")) {
    safety.fail_safe_after = ReadUpToADay(*after, true, "").value_or(safety.fail_safe_after);
  }
  if (const auto trip = spec.Find("localTrip"); trip && trip->ExpectMap({"consecutiveFailures"})) {
    safety.trip_after = ReadFailures(*trip).value_or(safety.trip_after);
  }
  const auto health = spec.Find("passiveHealth");
  if (!health || !health->ExpectMap({"consecutiveFailures", "baseTime", "maxTime"})) return;
  safety.leave_out_after = ReadFailures(*health).value_or(safety.leave_out_after);
  constexpr std::string_view kOff = "to leave nothing out write consecutiveFailures: 0";
  const auto base = health->Find("baseTime");
  const auto max = health->Find("maxTime");
  if (base) safety.leave_out_base = ReadUpToADay(*base, false, kOff).value_or(safety.leave_out_base);
  if (max) safety.leave_out_max = ReadUpToADay(*max, false, kOff).value_or(safety.leave_out_max);
  if (safety.leave_out_max >= safety.leave_out_base) return;
  (max ? *max : *base).Fail("maxTime not below baseTime", "maxTime is 5m unless it is given");
}

}  // namespace weir::model
