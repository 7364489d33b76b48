#include "common/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>

namespace weir {
namespace {

constexpr const char* kTextPattern = "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
constexpr const char* kJsonPattern = R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})";

struct Logger {
  Logger() : log("weir", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    log.set_formatter(
        std::make_unique<spdlog::pattern_formatter>(kTextPattern, spdlog::pattern_time_type::utc));
    log.set_level(spdlog::level::info);
    log.flush_on(spdlog::level::debug);
  }
  spdlog::logger log;
  std::atomic<LogFormat> format{LogFormat::kText};
};

Logger& Instance() {
  static Logger* logger = new Logger;  // never destroyed: other threads may log while the process ends
  return *logger;
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

/// Length of the valid UTF-8 sequence at the start of text; 0 when there is none.
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 && first <= 0xf4 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (length == 0 || first > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if (first == 0xe0 && byte(1) < 0xa0) return 0;  // overlong
  if (first == 0xed && byte(1) > 0x9f) return 0;  // surrogate
  if (first == 0xf0 && byte(1) < 0x90) return 0;  // overlong
  if (first == 0xf4 && byte(1) > 0x8f) return 0;  // above U+10FFFF
  return length;
}

bool IsPlain(std::string_view value) {
  return !value.empty() && std::all_of(value.begin(), value.end(), [](unsigned char c) {
    return c > 0x20 && c < 0x7f && c != '"' && c != '=' && c != '\\';
  });
}

bool IsJsonNumber(const std::string& value) {
  return value != "nan" && value != "-nan" && value.find("inf") == std::string::npos;
}

}  // namespace

std::string JsonQuote(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    if (length == 0) {
      out += "\\ufffd";
      text.remove_prefix(1);
      continue;
    }
    const char c = text[0];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (length == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return out += '"';
}

std::string FormatLogLine(LogFormat format, std::string_view message,
                          std::initializer_list<LogField> fields) {
  std::string line = format == LogFormat::kJson ? "\"msg\":" + JsonQuote(message) : std::string(message);
  for (const LogField& field : fields) {
    if (format == LogFormat::kJson) {
      const bool quoted = field.quoted || !IsJsonNumber(field.value);
      line += fmt::format(",{}:{}", JsonQuote(field.key), quoted ? JsonQuote(field.value) : field.value);
    } else {
      const bool quoted = field.quoted && !IsPlain(field.value);
      line += fmt::format(" {}={}", field.key, quoted ? JsonQuote(field.value) : field.value);
    }
  }
  return line;
}

Status InitLogging(const LogOptions& options) {
  spdlog::level::level_enum level;
  if (options.level == "debug") {
    level = spdlog::level::debug;
  } else if (options.level == "info") {
    level = spdlog::level::info;
  } else if (options.level == "warn") {
    level = spdlog::level::warn;
  } else if (options.level == "error") {
    level = spdlog::level::err;
  } else {
    return InvalidArgument("--log-level {:?}: expected debug, info, warn or error", options.level);
  }
  if (options.format != "text" && options.format != "json") {
    return InvalidArgument("--log-format {:?}: expected text or json", options.format);
  }
  Logger& logger = Instance();
  const bool json = options.format == "json";
  logger.format = json ? LogFormat::kJson : LogFormat::kText;
  logger.log.set_formatter(std::make_unique<spdlog::pattern_formatter>(json ? kJsonPattern : kTextPattern,
                                                                       spdlog::pattern_time_type::utc));
  logger.log.set_level(level);
  return OkStatus();
}

bool LogEnabled(LogLevel level) { return Instance().log.should_log(ToSpdlog(level)); }

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  Logger& logger = Instance();
  if (!logger.log.should_log(ToSpdlog(level))) return;
  logger.log.log(ToSpdlog(level), "{}", FormatLogLine(logger.format, message, fields));
}

}  // namespace weir
