// Conditions: values by expr's rules, Argo's own examples, errors with their column, limits.
#include "controller/analysis/condition.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <limits>

namespace weir::analysis {
namespace {

namespace json = boost::json;

/// JSON, with 'x' for "x" and nan, inf.
json::value Json(std::string text) {
  if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (text == "inf") return std::numeric_limits<double>::infinity();
  if (text == "[nan]") return json::array{std::numeric_limits<double>::quiet_NaN()};
  std::ranges::replace(text, '\'', '"');
  return json::parse(text);
}

/// The value as JSON, or "error: ...".
std::string Evaluate(std::string_view condition, const std::string& result) {
  const auto parsed = Condition::Parse(condition);
  if (!parsed.ok()) return "syntax: " + Message(parsed.status());
  const auto value = parsed->Evaluate(Json(result));
  if (!value.ok()) return "error: " + Message(value.status());
  return json::serialize(*value);
}

struct Case {
  std::string_view condition;
  std::string result, expected;
};

void Check(std::span<const Case> cases) {
  for (const auto& [condition, result, expected] : cases)
    EXPECT_EQ(Evaluate(condition, result), expected) << condition << "   with result " << result;
}

TEST(Condition, LiteralsAndArithmetic) {
  const Case kCases[] = {
      {"1 + 2", "null", "3"},
      {"1 + 2.0", "null", "3E0"},
      {"7 / 2", "null", "3.5E0"},
      {"6 / 2", "null", "3E0"},
      {"7 % 4", "null", "3"},
      {"-7 % 4", "null", "-3"},
      {"2 ** 3", "null", "8E0"},
      {"2 ^ 3 ^ 2", "null", "5.12E2"},
      {"-2 ** 2", "null", "-4E0"},
      {"2 * 3 + 4 * 5", "null", "26"},
      {"2 * (3 + 4)", "null", "14"},
      {"10 - 3 - 2", "null", "5"},
      {"0x1F + 0b11 + 0o7", "null", "41"},
      {"1_000", "null", "1000"},
      {".5", "null", "5E-1"},
      {"1e3", "null", "1E3"},
      {"9223372036854775807 + 1", "null", "-9223372036854775808"},
      {"+result", "2", "2"},
      {"-result", "2.5", "-2.5E0"},
      {"'a' + \"b\" + `c`", "null", "\"abc\""},
      {R"('it\'s' + "\u00e9\n\x41")", "null", "\"it's\xc3\xa9\\nA\""},
      {"`a\\n`", "null", "\"a\\\\n\""},
      {"1..4", "null", "[1,2,3,4]"},
      {"4..1", "null", "[]"},
      {"[1, 'a', nil, true,]", "null", "[1,\"a\",null,true]"},
      {"{a: 1, 'b': [2]}.b[0]", "null", "2"},
      {"1 /* one */ + 1 // two", "null", "2"},
      {"true ? 1 : 2", "null", "1"},
      {"result > 1 ? 'a' : result > 0 ? 'b' : 'c'", "1", "\"b\""},
  };
  Check(kCases);
}

TEST(Condition, ComparisonsAndLogic) {
  const Case kCases[] = {
      {"1 == 1.0", "null", "true"},
      {"1 < 1.5 and 2 >= 2", "null", "true"},
      {"'a' < 'b'", "null", "true"},
      {"not true or true", "null", "true"},
      {"not (true or true)", "null", "false"},
      {"!false && !false", "null", "true"},
      {"not result == false", "true", "true"},
      {"false && result.x.y", "null", "false"},
      {"true || result.x.y", "null", "true"},
      {"1 in [1, 2]", "null", "true"},
      {"1.0 in [1, 2]", "null", "true"},
      {"3 not in [1, 2]", "null", "true"},
      {"not (3 in [1, 2])", "null", "true"},
      {"result in ['ok', 'fine']", "'ok'", "true"},
      {"'a' in result", "{'a': 1}", "true"},
      {"'b' in result", "{'a': 1}", "false"},
      {"1 in nil", "null", "false"},
      {"result in 1..3", "2", "true"},
      {"[1, 2] == [1.0, 2]", "null", "true"},
      {"{a: 1} == {a: 2}", "null", "false"},
      {"result.code == '200'", "{'code': 200}", "false"},
      {"result == nil", "null", "true"},
      {"result != nil", "'x'", "true"},
      {"'hello' contains 'ell' and 'hello' startsWith 'he' and 'hello' endsWith 'lo'", "null", "true"},
      {"'hello' not contains 'x'", "null", "true"},
      {"result matches '^v[0-9]+$'", "'v12'", "true"},
      {"result matches 'v' + '1'", "'v12'", "true"},
      {"result ?? 5", "null", "5"},
      {"result?.a?.b", "null", "null"},
      {"result.a?.b.c", "{'a': {'b': {'c': 1}}}", "1"},
      {"result?.[0]", "[7]", "7"},
  };
  Check(kCases);
}

TEST(Condition, MembersIndexesAndSlices) {
  const Case kCases[] = {
      {"result[0]", "[0.5]", "5E-1"},
      {"result[-1]", "[1, 2, 3]", "3"},
      {"result[1:]", "[1, 2, 3]", "[2,3]"},
      {"result[:-1]", "[1, 2, 3]", "[1,2]"},
      {"result[2:1]", "[1, 2, 3]", "[]"},
      {"result[-9:9]", "[1, 2, 3]", "[1,2,3]"},
      {"result.a.b[1].c", "{'a': {'b': [0, {'c': 'x'}]}}", "\"x\""},
      {"result['a-b']", "{'a-b': 1}", "1"},
      {"result.none", "{'a': 1}", "null"},
      {"[[1, 2], [3]][0][1]", "null", "2"},
      {"result.in", "{'in': 1}", "1"},
      {"result[0]", "[]", "error: column 7: index 0 out of range: the list has 0 values"},
      {"result[-2]", "[1]", "error: column 7: index -2 out of range: the list has 1 values"},
      {"result.a.b", "{}", "error: column 9: nil has no field \"b\""},
      {"result.a", "1.5", "error: column 7: a number has no field \"a\""},
      {"result[0]", "'abc'", "error: column 7: a string has no index"},
      {"result['a']", "[1]", "error: column 7: a list wants an integer as its index, found a string"},
      {"result[0.0]", "[1]", "error: column 7: a list wants an integer as its index, found a number"},
  };
  Check(kCases);
}

TEST(Condition, FunctionsAndPredicates) {
  const Case kCases[] = {
      {"len(result)", "[1, 2]", "2"},
      {"len('h\xc3\xa9')", "null", "2"},
      {"len({a: 1})", "null", "1"},
      {"all(result, {# > 0.9})", "[0.95, 1]", "true"},
      {"all(result, # < 1000)", "[5, 1000]", "false"},
      {"all([], {# > 1})", "null", "true"},
      {"any(result, {# > 1})", "[0, 2]", "true"},
      {"none(result, {# > 1})", "[0, 1]", "true"},
      {"one(result, {# > 1})", "[0, 2, 3]", "false"},
      {"count(result, {# > 1})", "[0, 2, 3]", "2"},
      {"count([true, false, true])", "null", "2"},
      {"filter(result, {# % 2 == 0})", "[1, 2, 4]", "[2,4]"},
      {"map(result, {# * 2})", "[1, 2]", "[2,4]"},
      {"map(result, {.value})", "[{'value': 1}, {'value': 2}]", "[1,2]"},
      {"all(result, {.value >= 1 and #.value <= 2})", "[{'value': 1}, {'value': 2}]", "true"},
      {"map(result, {map(#, {# + 1})})", "[[1], [2]]", "[[2],[3]]"},
      {"find(result, {# > 1})", "[1, 2, 3]", "2"},
      {"find(result, {# > 9})", "[1]", "null"},
      {"sum(result)", "[1, 2]", "3"},
      {"sum(result, {.n})", "[{'n': 1.5}, {'n': 2}]", "3.5E0"},
      {"mean(result)", "[1, 2]", "1.5E0"},
      {"median(result)", "[9, 1, 2]", "2E0"},
      {"max(result)", "[1, 3, 2]", "3"},
      {"min(4, 2.5)", "null", "2.5E0"},
      {"abs(-3) + abs(-0.5)", "null", "3.5E0"},
      {"ceil(1.2) + floor(1.8) + round(1.5)", "null", "5E0"},
      {"first(result) + last(result)", "[1, 2]", "3"},
      {"first([])", "null", "null"},
      {"int('12') + int(1.9)", "null", "13"},
      {"float('1.5')", "null", "1.5E0"},
      {"string(12) + string(true)", "null", "\"12true\""},
      {"lower('AB') + upper('cd') + trim('  e ')", "null", "\"abCDe\""},
      {"hasPrefix('abc', 'ab') and hasSuffix('abc', 'bc')", "null", "true"},
      {"asInt(result) < 5", "'4'", "true"},
      {"asInt('-4') + asInt('+4')", "null", "0"},
      {"asInt(result)", "4.9", "4"},
      {"asFloat(result) >= 0.9", "'0.95'", "true"},
      {"asInt(result)", "'four'", "error: column 1: asInt: \"four\" is no integer"},
      {"asFloat(result)", "'1.5x'", "error: column 1: asFloat: \"1.5x\" is no number"},
      {"asInt(result)", "nan", "error: column 1: asInt of nan is no integer of 64 bits"},
      {"isNaN(result)", "nan", "true"},
      {"isNaN(result[0]) || result[0] >= 0.95", "[nan]", "true"},
      {"isInf(result)", "inf", "true"},
      {"isInf(-result) and !isInf(1)", "inf", "true"},
      {"isNil(result)", "null", "true"},
      {"default(result, 0) < 0.05", "null", "true"},
      {"default(result, 0) < 0.05", "1.0", "false"},
      {"isNaN('x')", "null", "error: column 1: isNaN wants a number, found a string"},
      {"all(result, {#})", "[1]", "error: column 14: all wants true or false, found a number"},
      {"all(result, {# > 1})", "1", "error: column 1: all wants a list, found a number"},
      {"len(1)", "null", "error: column 1: len wants a list, a map or a string, found a number"},
      {"max([])", "null", "error: column 1: max of an empty list"},
  };
  Check(kCases);
}

// What Argo's documentation and examples use, with values that do and do not meet it.
TEST(Condition, ArgosOwn) {
  const std::string apdex = "{'service_apdex': {'values': {'values': [{'value': 9950}, {'value': '9960'}]}}}";
  const Case kCases[] = {
      {"result >= 0.95", "0.96", "true"},
      {"result[0] >= 0.95", "[0.94]", "false"},
      {"result <= 0.95", "0.96", "false"},
      {"result >= 10", "10.0", "true"},
      {"result == 'true'", "'true'", "true"},
      {"result == true", "true", "true"},
      {"result == \"ok\"", "'ok'", "true"},
      {"result.ok && result.successPercent >= 0.90", "{'ok': true, 'successPercent': 0.95}", "true"},
      {"len(result) == 0 || result[0] == 0", "[]", "true"},
      {"len(result) == 0 || isNaN(result[0]) || result[0] >= 0.95", "[0.9]", "false"},
      {"len(result[0].Values) >= 3 and all(result[0].Values, {# <= 1})", "[{'Values': [1, 0, 1]}]", "true"},
      {"all(result[0].Values, {# <= 0.01})", "[{'Values': [0.005, 0.02]}]", "false"},
      {"result.successRate >= 0.95", "{'successRate': 0.99}", "true"},
      {"result < 0.01", "0.001", "true"},
      {"default(result, 0) < 0.05", "0.04", "true"},
      {"result.service_apdex.values.values[0].value > 9900", apdex, "true"},
      {"all(result.service_apdex.values.values, {asFloat(.value) >= 9900})", apdex, "true"},
      {"all(result, # < 1000)", "[1, 2, 3]", "true"},
      {"any(result, {# > 0.5})", "[0.1, 0.2]", "false"},
      {"result.0 > 1", "{}", "syntax: column 7: found a number, expected an operator or the end"},
      {"result[0] > 0 ? result[1] / result[0] < 0.1 : true", "[100.0, 5.0]", "true"},
      {"result in [200, 201]", "200.0", "true"},
      {"results[0] >= 90.000000", "[91]",
       "syntax: column 1: found the name \"results\", expected result, true, false, nil or a function"},
  };
  Check(kCases);
}

TEST(Condition, TypeErrorsAreErrorsNotFalse) {
  const Case kCases[] = {
      {"result == 'true'", "true", "error: column 8: == does not go with a boolean and a string"},
      {"result == 1", "'1'", "error: column 8: == does not go with a string and a number"},
      {"result > 1", "'2'", "error: column 8: > does not go with a string and a number"},
      {"result > 1", "null", "error: column 8: > does not go with nil and a number"},
      {"result >= 1", "[1]", "error: column 8: >= does not go with a list and a number"},
      {"result + 1", "'2'", "error: column 8: + does not go with a string and a number"},
      {"'a' - 'b'", "null", "error: column 5: - does not go with strings"},
      {"result && true", "1", "error: column 1: && wants true or false, found a number"},
      {"!result", "1", "error: column 2: ! wants true or false, found a number"},
      {"-'a'", "null", "error: column 1: - wants a number, found a string"},
      {"1 % 0", "null", "error: column 3: division by 0"},
      {"1.5 % 2", "null", "error: column 5: % wants integers"},
      {"1 in 'abc'", "null", "error: column 3: in wants a list or a map, found a string"},
      {"1 in {a: 1}", "null", "error: column 3: in wants a string before a map, found a number"},
      {"1 matches 'a'", "null", "error: column 3: matches does not go with a number and a string"},
      {"result ? 1 : 2", "1", "error: column 1: ?: wants true or false, found a number"},
  };
  Check(kCases);
  const auto number = Condition::Parse("result[0]");
  ASSERT_TRUE(number.ok());
  EXPECT_EQ(Message(number->Holds(Json("[1]")).status()),
            "the condition is a number, expected true or false");
  EXPECT_TRUE(*Condition::Parse("result[0] == 1")->Holds(Json("[1.0]")));
}

TEST(Condition, SyntaxErrorsNameTheColumn) {
  const Case kCases[] = {
      {"", "null", "syntax: column 1: found the end, expected a value"},
      {"result >", "null", "syntax: column 9: found the end, expected a value"},
      {"result > 1)", "null", "syntax: column 11: found \")\", expected an operator or the end"},
      {"(result > 1", "null", "syntax: column 12: found the end, expected \")\""},
      {"result[0", "null", "syntax: column 9: found the end, expected \"]\""},
      {"result.", "null", "syntax: column 8: found the end, expected the name of a field"},
      {"result == 'a", "null", "syntax: column 11: found a string without end, expected '"},
      {"result == '\\q'", "null",
       R"(syntax: column 12: found an escape that is none, expected \n, \t, \", \', \\, \xHH or \uHHHH)"},
      {"1.2.3", "null", "syntax: column 4: found a number, expected an operator or the end"},
      {"12abc", "null", "syntax: column 1: found \"12abc\", expected a number"},
      {"99999999999999999999", "null", "syntax: column 1: found \"99999999999999999999\", expected a number"},
      {"# > 1", "null",
       "syntax: column 1: found \"#\", expected # within a predicate only, such as all(result, {# > 1})"},
      {"result = 1", "null", "syntax: column 8: \"=\" is not carried out by Weir"},
      {"result | len()", "null", "syntax: column 8: the pipe | is not carried out by Weir"},
      {"let x = 1; x", "null", "syntax: column 1: let is not carried out by Weir"},
      {"if true {1} else {2}", "null", "syntax: column 1: if {} else {} is not carried out by Weir"},
      {"1 < 2 < 3", "null", "syntax: column 7: a chain of comparisons is not carried out by Weir"},
      {"sortBy(result, {#})[0]", "null", "syntax: column 1: the function sortBy is not carried out by Weir"},
      {"all(result, {#index > 1})", "null", "syntax: column 14: #index is not carried out by Weir"},
      {"result.a()", "null", "syntax: column 7: the call of a method is not carried out by Weir"},
      {"len()", "null", "syntax: column 1: found 0 arguments of len, expected 1"},
      {"all(result)", "null", "syntax: column 1: found 1 arguments of all, expected 2"},
      {"1 ?? 2 + 3", "null", "syntax: column 8: found + beside ??, expected parentheses around one of them"},
      {"result matches '('", "null",
       "syntax: column 16: found a pattern that is none (\"missing ): (\"), expected RE2's syntax"},
      {"result ~ 1", "null", "syntax: column 8: found byte 0x7e, expected an expression"},
      {"1 /* 2", "null", "syntax: column 3: found a comment without end, expected */"},
      {"a", "null",
       "syntax: column 1: found the name \"a\", expected result, true, false, nil or a function"},
  };
  Check(kCases);
  const std::string unknown = Evaluate("lenn(result)", "null");
  EXPECT_TRUE(
      unknown.starts_with("syntax: column 1: found the function \"lenn\", expected one of abs, all, any"))
      << unknown;
}

TEST(Condition, LimitsEndWhatWouldNotEnd) {
  EXPECT_NE(Evaluate(std::string(500, '(') + "1" + std::string(500, ')'), "null").find("more than 64 levels"),
            std::string::npos);
  EXPECT_NE(Evaluate(std::string(500, '!') + "true", "null").find("more than 64 levels"), std::string::npos);
  std::string sum = "1";
  for (int i = 0; i < 300; ++i) sum += "+1";
  EXPECT_NE(Evaluate(sum, "null").find("more than 512 operators"), std::string::npos);
  EXPECT_NE(Evaluate(std::string(5000, ' ') + "1", "null").find("5001 bytes, expected at most 4096"),
            std::string::npos);
  EXPECT_NE(Evaluate("1..20000", "null").find("more than 10000 integers"), std::string::npos);
  EXPECT_NE(Evaluate("-9223372036854775807..9223372036854775807", "null").find("more than 10000 integers"),
            std::string::npos);
  EXPECT_NE(Evaluate("all(1..9999, {none(1..9999, {# < 0})})", "null").find("more than 1000000 steps"),
            std::string::npos);
  EXPECT_EQ(Evaluate("9223372036854775806..9223372036854775807", "null"),
            "[9223372036854775806,9223372036854775807]");
}

}  // namespace
}  // namespace weir::analysis
