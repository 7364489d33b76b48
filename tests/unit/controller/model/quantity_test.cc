#include "controller/model/quantity.h"

#include <gtest/gtest.h>

#include "controller/model/timestamp.h"

namespace weir::model {
namespace {

std::string Text(std::optional<Nano> value) {
  if (!value) return "none";
  std::string digits;
  do {
    digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(*value % 10)));
    *value /= 10;
  } while (*value != 0);
  return digits;
}

// The grammar of k8s.io/apimachinery; the figures are those its own ParseQuantity arrives at, in billionths.
TEST(Quantity, Grammar) {
  const std::pair<std::string_view, std::string_view> kCases[] = {
      {"0", "0"},
      {"20", "20000000000"},
      {"+20", "20000000000"},
      {"-0", "0"},
      {"007", "7000000000"},
      {"500m", "500000000"},
      {"1e3", "1000000000000"},
      {"1E3", "1000000000000"},
      {"1e+3", "1000000000000"},
      {"1e-3", "1000000"},
      {"1.5e1", "15000000000"},
      {"1k", "1000000000000"},
      {"1Ki", "1024000000000"},
      {"1.5Ki", "1536000000000"},
      {"1M", "1000000000000000"},
      {"1Mi", "1048576000000000"},
      {"1G", "1000000000000000000"},
      {"1T", "1000000000000000000000"},
      {"1P", "1000000000000000000000000"},
      {"1E", "1000000000000000000000000000"},
      {"8Ei", "9223372036854775807000000000"},
      {"1n", "1"},
      {"1u", "1000"},
      {".5", "500000000"},
      {"5.", "5000000000"},
      {"0.50000000000000000000000000000000000000000000", "500000000"},
      {"0.9n", "1"},
      {"0.0000000001", "1"},
      {"1e-1000000000000", "1"},
      {"0e1000000000000", "0"},
      {"1e1000000000000", "none"},
      {"1e40", "none"},
      {"1234567890123456789012345678901234567", "none"},
      {"-1", "none"},
      {"-500m", "none"},
      {"", "none"},
      {".", "none"},
      {"m", "none"},
      {"+", "none"},
      {"+-1", "none"},
      {"1.2.3", "none"},
      {"1e", "none"},
      {"1e1.5", "none"},
      {"1e+-3", "none"},
      {"1e3m", "none"},
      {"1K", "none"},
      {"1ki", "none"},
      {"1mi", "none"},
      {"1x", "none"},
      {" 1", "none"},
      {"1 ", "none"},
      {"0x10", "none"},
  };
  for (const auto& [text, want] : kCases) EXPECT_EQ(Text(ParseQuantity(text)), want) << text;
}

TEST(Timestamp, AsKubernetesWritesIt) {
  using std::chrono::seconds;
  const std::pair<std::string_view, std::optional<int64_t>> kCases[] = {
      {"1970-01-01T00:00:00Z", 0},
      {"2026-11-24T10:00:00Z", 1795514400},
      {"2026-11-24T11:00:00+01:00", 1795514400},
      {"2026-11-24T04:30:00-05:30", 1795514400},
      {"2026-11-24T10:00:00.123456Z", 1795514400},
      {"2024-02-29T00:00:00Z", 1709164800},
      {"2026-02-29T00:00:00Z", {}},
      {"2026-13-01T00:00:00Z", {}},
      {"2026-11-24T24:00:00Z", {}},
      {"2026-11-24T10:00:00", {}},
      {"2026-11-24 10:00:00Z", {}},
      {"2026-11-24T10:00:00.Z", {}},
      {"2026-11-24T10:00:-1Z", {}},
      {"2026-11-24", {}},
      {"", {}}};
  for (const auto& [text, want] : kCases) {
    const auto time = ParseTimestamp(text);
    EXPECT_EQ(time.has_value(), want.has_value()) << text;
    if (!time || !want) continue;
    EXPECT_EQ(time->time_since_epoch(), seconds(*want)) << text;
    EXPECT_EQ(ParseTimestamp(FormatTimestamp(*time)), time) << text;
  }
  EXPECT_EQ(FormatTimestamp(Created(seconds(1795514400))), "2026-11-24T10:00:00Z");
}

}  // namespace
}  // namespace weir::model
