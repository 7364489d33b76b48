#include "controller/model/webhook_body.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>

#include "controller/model/yaml_reader.h"

namespace weir::model {
namespace {

constexpr std::array<std::string_view, 14> kNames = {"id",    "event",   "time",      "namespace", "rollout",
                                                     "phase", "message", "stable",    "canary",    "step",
                                                     "steps", "weight",  "maxWeight", "generation"};

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

/// Calls `text` for what stands between names and `name` for each of them. False where braces do not close.
bool Scan(std::string_view body, const std::function<void(std::string_view)>& text,
          const std::function<void(std::string_view)>& name) {
  while (!body.empty()) {
    const size_t open = body.find("{{");
    text(body.substr(0, open));
    if (open == std::string_view::npos) return true;
    const size_t close = body.find("}}", open);
    if (close == std::string_view::npos) return false;
    name(Trim(body.substr(open + 2, close - open - 2)));
    body.remove_prefix(close + 2);
  }
  return true;
}

void AppendEscaped(std::string_view value, std::string& out) {
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
}

}  // namespace

Status CheckWebhookBody(std::string_view body) {
  std::string unknown;
  const auto name = [&](std::string_view found) {
    if (unknown.empty() && std::ranges::find(kNames, found) == kNames.end())
      unknown = Quote("{{" + std::string(found) + "}}");
  };
  if (!Scan(
          body, [](std::string_view) {}, name)) {
    return InvalidArgument("found {{{{ without }}}}, expected a name in double braces");
  }
  if (unknown.empty()) return OkStatus();
  return InvalidArgument("found {}, expected one of {}", unknown, fmt::join(kNames, ", "));
}

std::string RenderWebhookBody(std::string_view body, const WebhookFields& fields) {
  std::string out;
  Scan(
      body, [&](std::string_view text) { out += text; },
      [&](std::string_view name) {
        if (const auto found = fields.find(std::string(name)); found != fields.end())
          AppendEscaped(found->second, out);
      });
  return out;
}

std::string_view DefaultWebhookBody() {
  static const std::string body = [] {
    std::string text = "{";
    for (const std::string_view name : kNames)
      text += fmt::format("{}\"{}\":\"{{{{{}}}}}\"", text == "{" ? "" : ",", name, name);
    return text + "}";
  }();
  return body;
}

}  // namespace weir::model
