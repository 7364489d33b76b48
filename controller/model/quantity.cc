#include "controller/model/quantity.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

namespace weir::model {
namespace {

constexpr int kNanoDigits = 9;
constexpr size_t kMaxDigits = 36;  // 10^36 is below 2^120
constexpr Nano kMost = ~Nano{0};
constexpr Nano kMostBinary = ((Nano{1} << 63) - 1) * 1'000'000'000;

/// value * 10^decimal * 2^binary.
struct Suffix {
  int decimal = 0, binary = 0;
};

std::optional<Suffix> ParseSuffix(std::string_view text) {
  constexpr std::pair<std::string_view, Suffix> kSuffixes[] = {
      {"", {}},        {"n", {-9, 0}},  {"u", {-6, 0}},  {"m", {-3, 0}}, {"k", {3, 0}},   {"M", {6, 0}},
      {"G", {9, 0}},   {"T", {12, 0}},  {"P", {15, 0}},  {"E", {18, 0}}, {"Ki", {0, 10}}, {"Mi", {0, 20}},
      {"Gi", {0, 30}}, {"Ti", {0, 40}}, {"Pi", {0, 50}}, {"Ei", {0, 60}}};
  for (const auto& [name, suffix] : kSuffixes) {
    if (text == name) return suffix;
  }
  if (!text.starts_with('e') && !text.starts_with('E')) return std::nullopt;
  text.remove_prefix(1);
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return std::nullopt;
  }
  int exponent = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), exponent);
  if (text.empty() || end != text.data() + text.size() || error == std::errc::invalid_argument)
    return std::nullopt;
  // Beyond this all is nothing or too much.
  constexpr int kFar = 1000;
  if (error != std::errc()) exponent = text.starts_with('-') ? -kFar : kFar;
  return Suffix{std::clamp(exponent, -kFar, kFar), 0};
}

/// The digits of a number with its point taken out, without zeros that say nothing, and how many stood behind
/// the point.
struct Number {
  std::string digits;  // "": zero
  int fraction = 0;
};

std::optional<Number> ParseNumber(std::string_view text) {
  const size_t point = std::min(text.find('.'), text.size());
  std::string_view fraction = text.substr(std::min(point + 1, text.size()));
  if (fraction.find('.') != std::string_view::npos || (point == 0 && fraction.empty())) return std::nullopt;
  fraction = fraction.substr(0, fraction.find_last_not_of('0') + 1);
  Number number{std::string(text.substr(0, point)) + std::string(fraction),
                static_cast<int>(std::min<size_t>(fraction.size(), 1'000'000))};
  number.digits.erase(0, std::min(number.digits.find_first_not_of('0'), number.digits.size()));
  return number;
}

bool Multiply(Nano& value, Nano factor) {
  if (value > kMost / factor) return false;
  value *= factor;
  return true;
}

}  // namespace

std::optional<Nano> ParseQuantity(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  const auto number = ParseNumber(text.substr(0, end));
  const auto suffix = ParseSuffix(text.substr(end));
  if (!number || !suffix) return std::nullopt;
  if (number->digits.empty()) return Nano{0};
  if (negative || number->digits.size() > kMaxDigits) return std::nullopt;
  Nano value = 0;
  for (const char digit : number->digits) value = value * 10 + static_cast<Nano>(digit - '0');
  if (!Multiply(value, Nano{1} << suffix->binary)) return std::nullopt;
  int exponent = suffix->decimal + kNanoDigits - number->fraction;
  for (; exponent > 0; --exponent) {
    if (!Multiply(value, 10)) return std::nullopt;
  }
  for (; exponent < 0 && value > 1; ++exponent) value = value / 10 + (value % 10 != 0 ? 1 : 0);
  return suffix->binary > 0 ? std::min(value, kMostBinary) : value;
}

}  // namespace weir::model
