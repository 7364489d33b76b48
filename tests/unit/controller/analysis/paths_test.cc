// JSON paths and times of range queries.
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "controller/analysis/json_path.h"
#include "controller/analysis/time_expression.h"

namespace weir::analysis {
namespace {

TEST(JsonPath, LeadsToValues) {
  const auto document = boost::json::parse(
      R"({"data": {"ok": true, "list": [1, {"v": "x"}], "a-b": null, "a.b": 7}, "500": 3})");
  const std::string whole = boost::json::serialize(document);
  const struct {
    std::string_view path, expected;
  } kCases[] = {
      {"{$.data.ok}", "true"},
      {"$.data.ok", "true"},
      {".data.ok", "true"},
      {"data.ok", "true"},
      {"{.data.list[0]}", "1"},
      {"{$.data.list[-1].v}", "\"x\""},
      {"{$.data['ok']}", "true"},
      {"{$['data'][\"ok\"]}", "true"},
      {"{$.data.a-b}", "null"},
      {"{$.data.a\\.b}", "7"},
      {"{$.500}", "3"},
      {"{$.data.list[*]}", "1"},
      {"{$.data.list[*].v}", "\"x\""},
      {"{$.data.*}", "true"},
      {"{$.data.list}", R"([1,{"v":"x"}])"},
      {"{$}", whole},
      {"", whole},
      {"{$.none}", "no \"none\" at step 1 of the path"},
      {"{$.data.list[2]}", "no [2] at step 3 of the path"},
      {"{$.data.ok.deep}", "no \"deep\" at step 3 of the path"},
      {"{$.data.ok[*]}", "no value at step 3 of the path"},
      {"{$.data[*].nothing}", "no value at step 2 of the path"},
      {"{$.a", "column 1: found { without end, expected }"},
      {"{$.a[0}", "column 5: found [ without end, expected ]"},
      {"{$..a}", "column 4: recursion (..) is not carried out by Weir"},
      {"{$.a[?(@.b>1)]}",
       "column 6: expected an index, a name in quotes or *; filters, unions and slices are not carried out "
       "by Weir"},
      {"{$.a[0:2]}",
       "column 6: expected an index, a name in quotes or *; filters, unions and slices are not carried out "
       "by Weir"},
      {"{$.a} {$.b}", "column 5: expected . or [; one expression such as {$.data.ok}"},
      {"{$.a.}", "column 6: expected the name of a field"},
  };
  for (const auto& [path, expected] : kCases) {
    const auto parsed = JsonPath::Parse(path);
    if (!parsed.ok()) {
      EXPECT_EQ(Message(parsed.status()), expected) << path;
      continue;
    }
    const auto value = parsed->Find(document);
    EXPECT_EQ(value.ok() ? std::string(boost::json::serialize(*value)) : Message(value.status()), expected)
        << path;
  }
}

TEST(TimeExpression, NowAndDatesWithDurations) {
  const TimePoint now{std::chrono::seconds(1'700'000'000)};
  using std::chrono::minutes;
  EXPECT_EQ(*EvaluateTime("now()", now), now);
  EXPECT_EQ(*EvaluateTime("now() - duration(\"5m\")", now), now - minutes(5));
  EXPECT_EQ(*EvaluateTime("now()-duration('1h')+duration('30m')", now), now - minutes(30));
  EXPECT_EQ(*EvaluateTime("date('2023-11-14T22:13:20Z')", {}), now);
  EXPECT_EQ(*EvaluateTime("date('1970-01-02')", {}), TimePoint(std::chrono::hours(24)));
  const struct {
    std::string_view expression, error;
  } kCases[] = {
      {"", "column 1: found the end, expected now() or date(\"...\")"},
      {"now", "column 4: found the end, expected \"(\""},
      {"now() - 5", "column 9: found a number, expected duration(\"...\")"},
      {"now() * duration('5m')", "column 7: found \"*\", expected + or - and a duration"},
      {"now() - duration('soon')", "column 18: found \"soon\", expected a duration such as 5m"},
      {"now() - duration(5)", "column 18: found a number, expected a string"},
      {"date('2023-02-30')", "column 6: found \"2023-02-30\", expected a date such as 2026-01-31T12:00:00Z"},
      {"date('x')", "column 6: found \"x\", expected a date such as 2026-01-31T12:00:00Z"},
      {"now().Add(1)", "column 6: found \".\", expected + or - and a duration"}};
  for (const auto& [expression, error] : kCases)
    EXPECT_EQ(Message(EvaluateTime(expression, now).status()), error) << expression;
}

}  // namespace
}  // namespace weir::analysis
