#include "controller/analysis/condition_lexer.h"

#include <array>
#include <charconv>

namespace weir::analysis {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' ||
         (static_cast<unsigned char>(c) & 0x80U) != 0;
}
bool IsNamePart(char c) { return IsNameStart(c) || IsDigit(c); }

// Longer symbols go before their beginnings.
constexpr std::array<std::string_view, 36> kSymbols = {
    "?.", "??", "..", "**", "&&", "||", "==", "!=", "<=", ">=", "::", "|", "&", "=", "<", ">", "!", "+",
    "-",  "*",  "/",  "%",  "^",  "(",  ")",  "[",  "]",  "{",  "}",  ",", ".", ":", "?", "#", ";", "@"};

void AppendUtf8(std::string& text, uint32_t code) {
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xC0U | code >> 6U);
    text += static_cast<char>(0x80U | (code & 0x3FU));
  } else {
    text += static_cast<char>(0xE0U | code >> 12U);
    text += static_cast<char>(0x80U | (code >> 6U & 0x3FU));
    text += static_cast<char>(0x80U | (code & 0x3FU));
  }
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Result<std::vector<Token>> Run() {
    std::vector<Token> tokens;
    while (true) {
      RETURN_IF_ERROR(SkipSpace());
      ASSIGN_OR_RETURN(Token token, Next());
      tokens.push_back(std::move(token));
      if (tokens.back().kind == TokenKind::kEnd) return tokens;
    }
  }

 private:
  char Peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  template <typename... Args>
  Status Fail(size_t at, fmt::format_string<Args...> format, Args&&... args) const {
    return InvalidArgument("column {}: {}", at + 1, fmt::format(format, std::forward<Args>(args)...));
  }

  Status SkipSpace() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        ++at_;
      } else if (c == '/' && Peek(1) == '/') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == '/' && Peek(1) == '*') {
        const size_t end = text_.find("*/", at_ + 2);
        if (end == std::string_view::npos) return Fail(at_, "found a comment without end, expected */");
        at_ = end + 2;
      } else {
        break;
      }
    }
    return OkStatus();
  }

  Result<Token> Next() {
    Token token;
    token.column = at_ + 1;
    if (at_ >= text_.size()) return token;
    const char c = text_[at_];
    if (IsDigit(c) || (c == '.' && IsDigit(Peek(1)))) return Number(std::move(token));
    if (c == '"' || c == '\'' || c == '`') return String(std::move(token));
    if (IsNameStart(c)) {
      const size_t begin = at_;
      while (IsNamePart(Peek())) ++at_;
      token.kind = TokenKind::kName;
      token.text = text_.substr(begin, at_ - begin);
      return token;
    }
    for (const std::string_view symbol : kSymbols) {
      if (!text_.substr(at_).starts_with(symbol)) continue;
      // "a ?.5 : 1" is a conditional with a fraction.
      if (symbol == "?." && IsDigit(Peek(2))) continue;
      at_ += symbol.size();
      token.kind = TokenKind::kSymbol;
      token.text = symbol;
      return token;
    }
    return Fail(at_, "found byte 0x{:02x}, expected an expression", static_cast<unsigned char>(c));
  }

  Result<Token> Number(Token token) {
    token.kind = TokenKind::kNumber;
    const size_t begin = at_;
    int base = 10;
    if (Peek() == '0' && (Peek(1) == 'x' || Peek(1) == 'X')) base = 16;
    if (Peek() == '0' && (Peek(1) == 'b' || Peek(1) == 'B')) base = 2;
    if (Peek() == '0' && (Peek(1) == 'o' || Peek(1) == 'O')) base = 8;
    if (base != 10) at_ += 2;
    std::string digits;
    bool fraction = false;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      const bool exponent = base == 10 && (c == 'e' || c == 'E');
      // Two points are a range: 1..3.
      const bool point = base == 10 && c == '.' && Peek(1) != '.' && !fraction;
      if (c == '_') {
        ++at_;
        continue;
      }
      if (!IsNamePart(c) && !point) break;
      digits += c;
      fraction = fraction || point || exponent;
      ++at_;
      if (exponent && (Peek() == '+' || Peek() == '-')) digits += text_[at_++];
    }
    const char* const end = digits.data() + digits.size();
    if (fraction) {
      double value = 0;
      const auto [last, error] = std::from_chars(digits.data(), end, value);
      if (error == std::errc() && last == end) token.value = value;
    } else {
      int64_t value = 0;
      const auto [last, error] = std::from_chars(digits.data(), end, value, base);
      if (error == std::errc() && last == end) token.value = value;
    }
    if (token.value.is_null())
      return Fail(begin, "found {:?}, expected a number", text_.substr(begin, at_ - begin));
    return token;
  }

  Result<Token> String(Token token) {
    token.kind = TokenKind::kString;
    const size_t begin = at_;
    const char quote = text_[at_++];
    while (at_ < text_.size() && text_[at_] != quote) {
      if (text_[at_] == '\\' && quote != '`') {
        RETURN_IF_ERROR(Escape(token.text));
      } else {
        token.text += text_[at_++];
      }
    }
    if (at_ >= text_.size()) return Fail(begin, "found a string without end, expected {}", quote);
    ++at_;
    return token;
  }

  Status Escape(std::string& out) {
    const size_t begin = at_;
    const char c = Peek(1);
    at_ += 2;
    constexpr std::string_view kLetters = "abfnrtv\\'\"";
    constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\'\"";
    if (const size_t found = kLetters.find(c); c != '\0' && found != std::string_view::npos) {
      out += kValues[found];
      return OkStatus();
    }
    const size_t count = c == 'x' ? 2 : c == 'u' ? 4 : 0;
    uint32_t code = 0;
    const std::string_view digits = text_.substr(std::min(at_, text_.size()), count);
    const auto [last, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    const bool surrogate = code >= 0xD800 && code < 0xE000;
    if (count == 0 || digits.size() != count || error != std::errc() ||
        last != digits.data() + digits.size() || surrogate) {
      return Fail(begin, R"(found an escape that is none, expected \n, \t, \", \', \\, \xHH or \uHHHH)");
    }
    at_ += count;
    AppendUtf8(out, code);
    return OkStatus();
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

Result<std::vector<Token>> Tokenize(std::string_view text) { return Lexer(text).Run(); }

}  // namespace weir::analysis
