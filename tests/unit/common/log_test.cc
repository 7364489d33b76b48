#include "common/log.h"

#include <gtest/gtest.h>

#include <limits>

namespace weir {
namespace {

TEST(LogLine, Text) {
  EXPECT_EQ(FormatLogLine(LogFormat::kText, "connected", {}), "connected");
  EXPECT_EQ(FormatLogLine(LogFormat::kText, "connected",
                          {{"controller", "127.0.0.1:7400"},
                           {"generation", 17},
                           {"ratio", 0.5},
                           {"tls", true},
                           {"after", std::chrono::milliseconds(20)}}),
            "connected controller=127.0.0.1:7400 generation=17 ratio=0.5 tls=true after=20ms");
}

TEST(LogLine, Json) {
  EXPECT_EQ(FormatLogLine(LogFormat::kJson, "connected",
                          {{"controller", "127.0.0.1:7400"}, {"generation", 17}, {"tls", false}}),
            R"("msg":"connected","controller":"127.0.0.1:7400","generation":17,"tls":false)");
  // no JSON numbers
  EXPECT_EQ(FormatLogLine(LogFormat::kJson, "m", {{"x", std::numeric_limits<double>::infinity()}}),
            R"("msg":"m","x":"inf")");
  EXPECT_EQ(FormatLogLine(LogFormat::kJson, "m", {{"x", std::numeric_limits<double>::quiet_NaN()}}),
            R"("msg":"m","x":"nan")");
}

TEST(LogLine, OneCallIsOneLineThatCannotBeForged) {
  const std::string evil = "a\n2026-01-01 info forged key=value";
  EXPECT_EQ(FormatLogLine(LogFormat::kText, "m", {{"error", evil}}),
            R"(m error="a\n2026-01-01 info forged key=value")");
  EXPECT_EQ(FormatLogLine(LogFormat::kText, "m",
                          {{"error", ""}, {"quote", "a\"b"}, {"status", NotFound("no {}", "x")}}),
            R"(m error="" quote="a\"b" status="no x")");
}

TEST(JsonQuote, EscapesControlCharactersAndRepairsUtf8) {
  const struct {
    std::string in, out;
  } rows[] = {
      {"", R"("")"},
      {"a\tb\x01\x7f", R"("a\tb\u0001\u007f")"},
      {"\\\"", R"("\\\"")"},
      {"gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\""},
      {"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
      {"\xff", R"("\ufffd")"},
      {"\xc3", R"("\ufffd")"},
      {"\xc0\xaf", R"("\ufffd\ufffd")"},            // overlong
      {"\xed\xa0\x80", R"("\ufffd\ufffd\ufffd")"},  // surrogate
      {"\xf4\x90\x80\x80", R"("\ufffd\ufffd\ufffd\ufffd")"},
      {std::string("\0", 1), R"("\u0000")"},
  };
  for (const auto& row : rows) EXPECT_EQ(JsonQuote(row.in), row.out);
}

TEST(InitLogging, NamesFlagFoundAndExpected) {
  EXPECT_EQ(Message(InitLogging({.level = "loud"})),
            "--log-level \"loud\": expected debug, info, warn or error");
  EXPECT_EQ(Message(InitLogging({.format = "xml"})), "--log-format \"xml\": expected text or json");
}

TEST(InitLogging, LevelDecidesWhatIsWritten) {
  ASSERT_TRUE(InitLogging({.level = "warn"}).ok());
  EXPECT_FALSE(LogEnabled(LogLevel::kInfo));
  EXPECT_TRUE(LogEnabled(LogLevel::kWarn));
  testing::internal::CaptureStderr();
  LogInfo("not seen");
  LogError("seen", {{"n", 1}});
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.find("not seen"), std::string::npos);
  EXPECT_NE(text.find("Z error seen n=1\n"), std::string::npos) << text;

  ASSERT_TRUE(InitLogging({.format = "json"}).ok());
  testing::internal::CaptureStderr();
  LogInfo("hello {}", {{"n", 1}});  // braces are no format here
  const std::string json = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(json.starts_with("{\"time\":\"20")) << json;
  EXPECT_NE(json.find("Z\",\"level\":\"info\",\"msg\":\"hello {}\",\"n\":1}\n"), std::string::npos) << json;
  ASSERT_TRUE(InitLogging({}).ok());
}

}  // namespace
}  // namespace weir
