// Log lines on stderr: a constant message plus key=value, as text or as one JSON object per line.
//
//   LogInfo("connected", {{"controller", target}, {"generation", generation}});
//   text: 2026-01-02T03:04:05.678Z info connected controller=127.0.0.1:7400 generation=17
//   json:
//   {"time":"2026-01-02T03:04:05.678Z","level":"info","msg":"connected","controller":...,"generation":17}
#pragma once

#include <chrono>
#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

#include "common/status.h"

namespace weir {

enum class LogLevel { kDebug, kInfo, kWarn, kError };
enum class LogFormat { kText, kJson };

struct LogOptions {
  std::string level = "info";   // debug, info, warn, error
  std::string format = "text";  // text, json
};

struct LogField {
  LogField(std::string_view k, std::string_view v) : key(k), value(v), quoted(true) {}
  LogField(std::string_view k, const std::string& v) : LogField(k, std::string_view(v)) {}
  LogField(std::string_view k, const char* v) : LogField(k, std::string_view(v)) {}
  LogField(std::string_view k, const Status& v) : LogField(k, Message(v)) {}
  LogField(std::string_view k, std::chrono::milliseconds v)
      : key(k), value(fmt::format("{}ms", v.count())), quoted(true) {}
  template <typename T>
  requires std::integral<T> || std::floating_point<T> LogField(std::string_view k, T v)
      : key(k), value(fmt::format("{}", v)), quoted(false) {}

  std::string_view key;
  std::string value;
  bool quoted;  // a JSON string rather than a number or boolean
};

/// Level and format of the process. Errors name the value found and those expected. Until it is called: info,
/// text.
Status InitLogging(const LogOptions& options);

/// Any thread.
void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});
bool LogEnabled(LogLevel level);

inline void LogDebug(std::string_view m, std::initializer_list<LogField> f = {}) {
  Log(LogLevel::kDebug, m, f);
}
inline void LogInfo(std::string_view m, std::initializer_list<LogField> f = {}) {
  Log(LogLevel::kInfo, m, f);
}
inline void LogWarn(std::string_view m, std::initializer_list<LogField> f = {}) {
  Log(LogLevel::kWarn, m, f);
}
inline void LogError(std::string_view m, std::initializer_list<LogField> f = {}) {
  Log(LogLevel::kError, m, f);
}

/// What Log writes after time and level: text `msg key=value`, json `"msg":"...","key":...`. Control
/// characters, quotes and blanks in values are quoted, so one call is always one line.
std::string FormatLogLine(LogFormat format, std::string_view message, std::initializer_list<LogField> fields);

/// A JSON string literal, quotes included. Bytes that are not UTF-8 become U+FFFD.
std::string JsonQuote(std::string_view text);

}  // namespace weir
