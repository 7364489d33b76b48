#include "controller/analysis/time_expression.h"

#include <charconv>

#include "controller/analysis/condition.h"
#include "controller/analysis/condition_lexer.h"

namespace weir::analysis {
namespace {

/// "2026-01-31" or "2026-01-31T12:00:00Z".
std::optional<TimePoint> ParseDate(std::string_view text) {
  const auto number = [&text](size_t at, size_t digits) -> int {
    int value = -1;
    const std::string_view part = text.substr(at, digits);
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    return error == std::errc() && end == part.data() + digits && part[0] != '-' ? value : -1;
  };
  const bool with_time = text.size() == 20;
  if (!with_time && text.size() != 10) return std::nullopt;
  if (text[4] != '-' || text[7] != '-') return std::nullopt;
  const std::chrono::year_month_day day{std::chrono::year(number(0, 4)),
                                        std::chrono::month(static_cast<unsigned>(number(5, 2))),
                                        std::chrono::day(static_cast<unsigned>(number(8, 2)))};
  if (number(0, 4) < 1970 || !day.ok()) return std::nullopt;
  TimePoint time = std::chrono::sys_days(day);
  if (!with_time) return time;
  const int hour = number(11, 2), minute = number(14, 2), second = number(17, 2);
  const bool shape = text[10] == 'T' && text[13] == ':' && text[16] == ':' && text[19] == 'Z';
  if (!shape || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
    return std::nullopt;
  return time + std::chrono::hours(hour) + std::chrono::minutes(minute) + std::chrono::seconds(second);
}

class Reader {
 public:
  explicit Reader(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<TimePoint> Read(TimePoint now) {
    TimePoint time = now;
    if (AcceptName("now")) {
      RETURN_IF_ERROR(Expect("("));
      RETURN_IF_ERROR(Expect(")"));
    } else if (AcceptName("date")) {
      const size_t column = Current().column + 1;
      ASSIGN_OR_RETURN(const std::string text, Argument());
      const auto date = ParseDate(text);
      if (!date)
        return InvalidArgument("column {}: found {:?}, expected a date such as 2026-01-31T12:00:00Z", column,
                               text);
      time = *date;
    } else {
      return Unexpected("now() or date(\"...\")");
    }
    while (Current().kind != TokenKind::kEnd) {
      const bool minus = Current().text == "-";
      if (!minus && Current().text != "+") return Unexpected("+ or - and a duration");
      Next();
      if (!AcceptName("duration")) return Unexpected("duration(\"...\")");
      const size_t column = Current().column + 1;
      ASSIGN_OR_RETURN(const std::string text, Argument());
      const auto duration = ParseGoDuration(text);
      if (!duration)
        return InvalidArgument("column {}: found {:?}, expected a duration such as 5m", column, text);
      time += minus ? -*duration : *duration;
    }
    return time;
  }

 private:
  const Token& Current() const { return tokens_[at_]; }
  void Next() {
    if (Current().kind != TokenKind::kEnd) ++at_;
  }
  Status Unexpected(std::string_view expected) const {
    return InvalidArgument("column {}: found {}, expected {}", Current().column,
                           Current().kind == TokenKind::kEnd      ? "the end"
                           : Current().kind == TokenKind::kNumber ? "a number"
                                                                  : fmt::format("{:?}", Current().text),
                           expected);
  }
  bool AcceptName(std::string_view name) {
    const bool is = Current().kind == TokenKind::kName && Current().text == name;
    if (is) Next();
    return is;
  }
  Status Expect(std::string_view symbol) {
    if (Current().kind != TokenKind::kSymbol || Current().text != symbol)
      return Unexpected(fmt::format("{:?}", symbol));
    Next();
    return OkStatus();
  }
  Result<std::string> Argument() {
    RETURN_IF_ERROR(Expect("("));
    if (Current().kind != TokenKind::kString) return Unexpected("a string");
    std::string text = Current().text;
    Next();
    RETURN_IF_ERROR(Expect(")"));
    return text;
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
};

}  // namespace

Result<TimePoint> EvaluateTime(std::string_view expression, TimePoint now) {
  if (expression.size() > kMaxConditionBytes)
    return InvalidArgument("column 1: found {} bytes, expected at most {}", expression.size(),
                           kMaxConditionBytes);
  ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(expression));
  return Reader(std::move(tokens)).Read(now);
}

}  // namespace weir::analysis
