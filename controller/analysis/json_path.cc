#include "controller/analysis/json_path.h"

#include <algorithm>
#include <charconv>

namespace weir::analysis {
namespace {

namespace json = boost::json;

constexpr size_t kMaxSteps = 64;

bool IsNamePart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         (static_cast<unsigned char>(c) & 0x80U) != 0;
}

}  // namespace

Result<JsonPath> JsonPath::Parse(std::string_view text) {
  JsonPath path;
  size_t at = 0;
  size_t end = text.size();
  const auto fail = [&at](std::string_view problem) {
    return InvalidArgument("column {}: {}", at + 1, problem);
  };
  if (text.starts_with('{')) {
    if (!text.ends_with('}')) return fail("found { without end, expected }");
    at = 1;
    --end;
  }
  if (at < end && text[at] == '$') ++at;
  while (at < end) {
    if (path.steps_.size() >= kMaxSteps) return fail("found more than 64 steps, expected fewer");
    if (text[at] == '.') {
      ++at;
      if (at >= end && path.steps_.empty()) break;  // {.} is the whole
      if (at < end && text[at] == '.') return fail("recursion (..) is not carried out by Weir");
      if (at < end && text[at] == '*') {
        ++at;
        path.steps_.emplace_back(All{});
        continue;
      }
      if (at < end && text[at] == '[') continue;
      std::string name;
      while (at < end && (IsNamePart(text[at]) || (text[at] == '\\' && at + 1 < end))) {
        if (text[at] == '\\') ++at;  // kubectl's way to write a dot within a name
        name += text[at++];
      }
      if (name.empty()) return fail("expected the name of a field");
      path.steps_.emplace_back(std::move(name));
    } else if (text[at] == '[') {
      const size_t close = text.find(']', at);
      if (close == std::string_view::npos || close >= end) return fail("found [ without end, expected ]");
      const std::string_view inside = text.substr(at + 1, close - at - 1);
      int64_t index = 0;
      const auto [last, error] = std::from_chars(inside.data(), inside.data() + inside.size(), index);
      const bool quoted =
          inside.size() >= 2 && (inside[0] == '\'' || inside[0] == '"') && inside.back() == inside[0];
      if (inside == "*") {
        path.steps_.emplace_back(All{});
      } else if (quoted) {
        path.steps_.emplace_back(std::string(inside.substr(1, inside.size() - 2)));
      } else if (error == std::errc() && last == inside.data() + inside.size()) {
        path.steps_.emplace_back(index);
      } else {
        ++at;
        return fail(
            "expected an index, a name in quotes or *; filters, unions and slices are not carried out by "
            "Weir");
      }
      at = close + 1;
    } else if (path.steps_.empty() && IsNamePart(text[at])) {  // a.b without $
      std::string name;
      while (at < end && IsNamePart(text[at])) name += text[at++];
      path.steps_.emplace_back(std::move(name));
    } else {
      return fail("expected . or [; one expression such as {$.data.ok}");
    }
  }
  return path;
}

Result<json::value> JsonPath::Find(const json::value& document) const {
  ASSIGN_OR_RETURN(const json::value* const found, Follow(document, 0));
  return json::value(*found);
}

Result<const json::value*> JsonPath::Follow(const json::value& from, size_t step) const {
  if (step == steps_.size()) return &from;
  if (const auto* name = std::get_if<std::string>(&steps_[step])) {
    const json::value* field = from.is_object() ? from.get_object().if_contains(*name) : nullptr;
    if (field == nullptr) return NotFound("no {:?} at step {} of the path", *name, step + 1);
    return Follow(*field, step + 1);
  }
  if (const auto* index = std::get_if<int64_t>(&steps_[step])) {
    const auto size = from.is_array() ? static_cast<int64_t>(from.get_array().size()) : 0;
    const int64_t at = *index < 0 ? *index + size : *index;
    if (at < 0 || at >= size) return NotFound("no [{}] at step {} of the path", *index, step + 1);
    return Follow(from.get_array()[static_cast<size_t>(at)], step + 1);
  }
  // *: the first that leads on.
  const auto each = [&](const auto& values, const auto& value_of) -> Result<const json::value*> {
    for (const auto& item : values) {
      auto found = Follow(value_of(item), step + 1);
      if (found.ok()) return found;
    }
    return NotFound("no value at step {} of the path", step + 1);
  };
  if (from.is_array())
    return each(from.get_array(), [](const json::value& v) -> const json::value& { return v; });
  if (from.is_object())
    return each(from.get_object(), [](const auto& member) -> const json::value& { return member.value(); });
  return NotFound("no value at step {} of the path", step + 1);
}

}  // namespace weir::analysis
