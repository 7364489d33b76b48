#include "controller/model/timestamp.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace weir::model {
namespace {

/// The digits of `text` from `place` on; nullopt if there are others.
std::optional<int> Digits(std::string_view text, size_t place, size_t count) {
  int value = 0;
  if (text.size() < place + count) return std::nullopt;
  const char* const end = text.data() + place + count;
  // A sign is none of them.
  if (text[place] < '0' || text[place] > '9') return std::nullopt;
  const auto [stopped, error] = std::from_chars(text.data() + place, end, value);
  return error == std::errc() && stopped == end ? std::optional(value) : std::nullopt;
}

/// "Z", "+01:00", "-05:30".
std::optional<std::chrono::minutes> Offset(std::string_view text) {
  if (text == "Z" || text == "z") return std::chrono::minutes{0};
  if (text.size() != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':') return std::nullopt;
  const auto hours = Digits(text, 1, 2), minutes = Digits(text, 4, 2);
  if (!hours || !minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  return std::chrono::minutes{(*hours * 60 + *minutes) * (text[0] == '-' ? -1 : 1)};
}

}  // namespace

std::optional<Created> ParseTimestamp(std::string_view text) {
  const auto year = Digits(text, 0, 4), month = Digits(text, 5, 2), day = Digits(text, 8, 2);
  const auto hour = Digits(text, 11, 2), minute = Digits(text, 14, 2), second = Digits(text, 17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  if (text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') || text[13] != ':' ||
      text[16] != ':')
    return std::nullopt;
  if (*hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  std::string_view rest = text.substr(19);
  if (rest.starts_with('.')) {
    const size_t digits = std::min(rest.find_first_not_of("0123456789", 1), rest.size());
    if (digits == 1) return std::nullopt;
    rest.remove_prefix(digits);
  }
  const auto offset = Offset(rest);
  const std::chrono::year_month_day date{std::chrono::year{*year},
                                         std::chrono::month{static_cast<unsigned>(*month)},
                                         std::chrono::day{static_cast<unsigned>(*day)}};
  if (!offset || !date.ok()) return std::nullopt;
  return std::chrono::sys_days{date} + std::chrono::hours{*hour} + std::chrono::minutes{*minute} +
         std::chrono::seconds{*second} - *offset;
}

std::string FormatTimestamp(Created time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  const auto seconds = (time - day).count();
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), seconds / 3600,
                     seconds / 60 % 60, seconds % 60);
}

}  // namespace weir::model
