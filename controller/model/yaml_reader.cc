#include "controller/model/yaml_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <numeric>

namespace weir::model {
namespace {

constexpr size_t kShown = 64;  // bytes of a value that an error repeats

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

/// Damerau-Levenshtein, adjacent letters swapped counting as one.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string Complaint(std::string_view found, std::string_view expected, std::string_view remedy) {
  return fmt::format("found {}, expected {}{}{}", found, expected, remedy.empty() ? "" : "; ", remedy);
}

std::string Quote(std::string_view text) {
  std::string quoted = "\"";
  size_t end = std::min(text.size(), kShown);
  while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80) --end;
  for (const char byte : text.substr(0, end)) {
    if (byte == '"' || byte == '\\') quoted += '\\';
    if (static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f) {
      quoted += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    } else {
      quoted += byte;
    }
  }
  return quoted + (end < text.size() ? "...\"" : "\"");
}

std::optional<std::string_view> Nearest(std::string_view text, std::span<const std::string_view> candidates) {
  const size_t limit = std::clamp<size_t>(text.size() / 3, 1, 3);
  std::optional<std::string_view> nearest;
  size_t best = limit + 1;
  for (const std::string_view candidate : candidates) {
    if (candidate.size() > text.size() + limit || text.size() > candidate.size() + limit) continue;
    const size_t distance = EditDistance(Lower(text), Lower(candidate));
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::optional<Cursor> Cursor::Find(std::string_view key) const& {
  const auto entry = std::ranges::find(node_->entries, key, &YamlEntry::key);
  if (entry == node_->entries.end() || entry->value->kind == YamlNode::Kind::kNull) return std::nullopt;
  return Cursor(*entry->value, entry->line, *this, entry->key, 0);
}

std::vector<Cursor> Cursor::Items() const& {
  if (node_->kind != YamlNode::Kind::kSequence) {
    Fail("a list", "begin each item with a dash");
    return {};
  }
  std::vector<Cursor> items;
  items.reserve(node_->items.size());
  for (size_t i = 0; i < node_->items.size(); ++i) {
    items.push_back(Cursor(*node_->items[i], node_->items[i]->line, *this, {}, i));
  }
  return items;
}

std::vector<std::pair<std::string_view, Cursor>> Cursor::Entries() const& {
  if (node_->kind != YamlNode::Kind::kMap) {
    Fail("a map");
    return {};
  }
  std::vector<std::pair<std::string_view, Cursor>> entries;
  for (const YamlEntry& entry : node_->entries) {
    if (entry.value->kind == YamlNode::Kind::kNull) continue;
    entries.emplace_back(entry.key, Cursor(*entry.value, entry.line, *this, entry.key, 0));
  }
  return entries;
}

bool Cursor::ExpectMap(std::initializer_list<std::string_view> known,
                       std::span<const Refusal> refused) const {
  if (node_->kind != YamlNode::Kind::kMap) {
    Fail(fmt::format("a map with the fields {}", fmt::join(known, ", ")));
    return false;
  }
  for (const YamlEntry& entry : node_->entries) {
    if (std::ranges::find(known, entry.key) != known.end()) continue;
    const Cursor field(*entry.value, entry.line, *this, entry.key, 0);
    const auto refusal = std::ranges::find(refused, entry.key, &Refusal::field);
    if (refusal != refused.end()) {
      field.FailText(Complaint(entry.key, fmt::format("it left out: {}", refusal->why), refusal->remedy));
      continue;
    }
    const auto nearest = Nearest(entry.key, std::span(known.begin(), known.size()));
    field.FailText(Complaint(fmt::format("the unknown field {}", Quote(entry.key)),
                             fmt::format("one of {}", fmt::join(known, ", ")),
                             nearest ? fmt::format("did you mean {}?", *nearest) : "remove it"),
                   /*of_people=*/true);
  }
  return true;
}

std::optional<std::string> Cursor::String() const {
  const bool scalar = node_->kind == YamlNode::Kind::kScalar;
  if (scalar && (!node_->plain || TypeOfPlain(node_->text) == PlainType::kString)) return node_->text;
  Fail("a string", scalar ? fmt::format("put it in quotes: \"{}\"", node_->text) : "");
  return std::nullopt;
}

std::optional<int64_t> Cursor::Integer(int64_t min, int64_t max) const {
  const std::string expected = fmt::format("an integer from {} to {}", min, max);
  const bool scalar = node_->kind == YamlNode::Kind::kScalar;
  if (!scalar || !node_->plain || TypeOfPlain(node_->text) != PlainType::kInteger) {
    const bool quoted = scalar && !node_->plain && TypeOfPlain(node_->text) == PlainType::kInteger;
    Fail(expected, quoted ? "remove the quotes" : "");
    return std::nullopt;
  }
  int64_t value = 0;
  const auto [end, error] =
      std::from_chars(node_->text.data(), node_->text.data() + node_->text.size(), value);
  if (error != std::errc() || value < min || value > max) {
    Fail(expected);
    return std::nullopt;
  }
  return value;
}

std::optional<bool> Cursor::Boolean() const {
  if (node_->kind == YamlNode::Kind::kScalar && node_->plain &&
      TypeOfPlain(node_->text) == PlainType::kBoolean) {
    const std::string text = Lower(node_->text);
    return text == "true" || text == "yes" || text == "on" || text == "y";
  }
  Fail("true or false", node_->kind == YamlNode::Kind::kScalar && !node_->plain ? "remove the quotes" : "");
  return std::nullopt;
}

std::optional<std::string> Cursor::OneOf(std::initializer_list<std::string_view> values,
                                         std::string_view remedy) const {
  std::optional<std::string> text = String();
  if (!text || std::ranges::find(values, *text) != values.end()) return text;
  const auto nearest = Nearest(*text, std::span(values.begin(), values.size()));
  Fail(fmt::format("{}{}", values.size() > 1 ? "one of " : "", fmt::join(values, ", ")),
       nearest && remedy.empty() ? fmt::format("did you mean {}?", *nearest) : std::string(remedy));
  return std::nullopt;
}

std::optional<IpAddress> Cursor::Address() const {
  const std::optional<std::string> text = String();
  if (!text) return std::nullopt;
  const std::optional<IpAddress> address = IpAddress::Parse(*text);
  if (!address) {
    Fail("an IPv4 or IPv6 address", "write it without port, prefix length, zone and leading zeros");
  } else if (address->is_unspecified()) {
    Fail("an address that can be dialled", "the unspecified address is none");
  } else if (address->is_multicast()) {
    Fail("a unicast address", "multicast cannot be divided");
  } else {
    return address;
  }
  return std::nullopt;
}

std::optional<uint16_t> Cursor::Port() const {
  const std::optional<int64_t> port = Integer(1, 65535);
  if (!port) return std::nullopt;
  return static_cast<uint16_t>(*port);
}

std::optional<Protocol> Cursor::TransportProtocol() const {
  const std::optional<std::string> name = OneOf({"TCP", "UDP"});
  if (!name) return std::nullopt;
  return *name == "UDP" ? Protocol::kUdp : Protocol::kTcp;
}

std::optional<std::string> Cursor::StringAt(std::string_view key) const {
  const auto field = Find(key);
  return field ? field->String() : std::nullopt;
}

std::optional<bool> Cursor::BooleanAt(std::string_view key) const {
  const auto field = Find(key);
  return field ? field->Boolean() : std::nullopt;
}

std::optional<Cursor> Cursor::Require(std::string_view key, std::string_view expected,
                                      std::string_view remedy) const& {
  std::optional<Cursor> field = Find(key);
  if (!field && node_->kind == YamlNode::Kind::kMap) {
    static const YamlNode nothing;
    const auto entry = std::ranges::find(node_->entries, key, &YamlEntry::key);
    const int line = entry == node_->entries.end() ? line_ : entry->line;
    Cursor(nothing, line, *this, key, 0).Fail(expected, remedy);
  }
  return field;
}

std::optional<std::string> Cursor::RequireString(std::string_view key, std::string_view expected,
                                                 std::string_view remedy) const {
  const std::optional<Cursor> field = Require(key, expected, remedy);
  if (!field) return std::nullopt;
  std::optional<std::string> text = field->String();
  if (text && text->empty()) {
    field->Fail(expected, remedy);
    return std::nullopt;
  }
  return text;
}

std::string Cursor::Found() const {
  switch (node_->kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kSequence:
      return node_->items.empty() ? "an empty list" : "a list";
    case YamlNode::Kind::kMap:
      return node_->entries.empty() ? "an empty map" : "a map";
    case YamlNode::Kind::kScalar:
      break;
  }
  const PlainType type = node_->plain ? TypeOfPlain(node_->text) : PlainType::kString;
  if (type == PlainType::kString) return fmt::format("the string {}", Quote(node_->text));
  const std::string shown =
      node_->text.size() <= kShown ? node_->text : node_->text.substr(0, kShown) + "...";
  return fmt::format("the {} {}",
                     type == PlainType::kBoolean   ? "boolean"
                     : type == PlainType::kInteger ? "integer"
                                                   : "number",
                     shown);
}

void Cursor::Fail(std::string_view expected, std::string_view remedy) const {
  FailText(Complaint(Found(), expected, remedy));
}

void Cursor::FailText(std::string text, bool of_people) const {
  errors_->push_back({line_, Path(), std::move(text), of_people});
}

std::string Cursor::Path() const {
  if (parent_ == nullptr) return "";
  const std::string before = parent_->Path();
  if (parent_->node_->kind == YamlNode::Kind::kSequence) return fmt::format("{}[{}]", before, index_);
  // A name with dots in it, such as a label's, is no path.
  const bool dotted = key_.find('.') != std::string_view::npos;
  if (dotted) return fmt::format("{}[{}]", before, key_.size() > kShown ? Quote(key_) : std::string(key_));
  const std::string name = key_.size() > kShown ? Quote(key_) : std::string(key_);
  return before.empty() ? name : before + '.' + name;
}

}  // namespace weir::model
