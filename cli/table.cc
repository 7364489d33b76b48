#include "cli/table.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace weir::cli {
namespace {

constexpr size_t kColumnGap = 2;
constexpr size_t kLeastTextWidth = 6;  // of a column that is cut short

struct CodePoint {
  uint32_t value;
  size_t bytes;
};

/// The first code point of a text that is not empty; a byte that starts none stands for itself.
CodePoint FirstCodePoint(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text[0]);
  const size_t length = lead < 0x80           ? 1
                        : (lead >> 5) == 0x6  ? 2
                        : (lead >> 4) == 0xe  ? 3
                        : (lead >> 3) == 0x1e ? 4
                                              : 0;
  if (length <= 1 || text.size() < length) return {lead, 1};
  uint32_t value = lead & (0x7fU >> length);
  for (size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if ((byte >> 6) != 0x2) return {lead, 1};
    value = value << 6 | (byte & 0x3fU);
  }
  return {value, length};
}

bool In(uint32_t value, uint32_t first, uint32_t last) { return value >= first && value <= last; }

/// Unicode's East Asian Width W and F, and the combining marks, as far as names and messages use them.
size_t CodePointWidth(uint32_t c) {
  if (In(c, 0x0300, 0x036f) || In(c, 0x1ab0, 0x1aff) || In(c, 0x200b, 0x200f) || In(c, 0x20d0, 0x20ff) ||
      In(c, 0xfe00, 0xfe0f)) {
    return 0;
  }
  if (In(c, 0x1100, 0x115f) || In(c, 0x2e80, 0xa4cf) || In(c, 0xac00, 0xd7a3) || In(c, 0xf900, 0xfaff) ||
      In(c, 0xfe30, 0xfe6f) || In(c, 0xff00, 0xff60) || In(c, 0xffe0, 0xffe6) || In(c, 0x1f300, 0x1f64f) ||
      In(c, 0x1f900, 0x1f9ff) || In(c, 0x20000, 0x3fffd)) {
    return 2;
  }
  return 1;
}

/// `text` in at most `width` columns, with an ellipsis where something is missing.
std::string Cut(const std::string& text, size_t width) {
  if (DisplayWidth(text) <= width) return text;
  std::string_view rest = text;
  std::string result;
  size_t used = 1;  // the ellipsis
  while (!rest.empty()) {
    const CodePoint point = FirstCodePoint(rest);
    used += CodePointWidth(point.value);
    if (used > width) break;
    result += rest.substr(0, point.bytes);
    rest.remove_prefix(point.bytes);
  }
  return result + "…";
}

std::string_view Escape(Color color) {
  switch (color) {
    case Color::kNone:
      return "";
    case Color::kBold:
      return "\x1b[1m";
    case Color::kDim:
      return "\x1b[2m";
    case Color::kRed:
      return "\x1b[31m";
    case Color::kGreen:
      return "\x1b[32m";
    case Color::kYellow:
      return "\x1b[33m";
    case Color::kBlue:
      return "\x1b[36m";
  }
  return "";
}

}  // namespace

size_t DisplayWidth(std::string_view text) {
  size_t width = 0;
  while (!text.empty()) {
    const CodePoint point = FirstCodePoint(text);
    width += CodePointWidth(point.value);
    text.remove_prefix(point.bytes);
  }
  return width;
}

std::string Printable(std::string_view text) {
  std::string result;
  bool in_space = false;
  while (!text.empty()) {
    const CodePoint point = FirstCodePoint(text);
    const bool space = point.value == ' ' || In(point.value, '\t', '\r');
    if (space) {
      if (!in_space) result += ' ';
    } else if (point.value < 0x20 || In(point.value, 0x7f, 0x9f)) {
      result += '?';
    } else {
      result += text.substr(0, point.bytes);
    }
    in_space = space;
    text.remove_prefix(point.bytes);
  }
  return result;
}

std::string Paint(std::string_view text, Color color, bool enabled) {
  if (!enabled || color == Color::kNone) return std::string(text);
  return std::string(Escape(color)).append(text).append("\x1b[0m");
}

Table::Table(std::vector<std::string> header, bool use_color)
    : header_(std::move(header)), hidden_(header_.size()), gap_(kColumnGap), use_color_(use_color) {
  for (const std::string& title : header_) widths_.push_back(DisplayWidth(title));
}

void Table::Fit(const Row& row) {
  for (size_t i = 0; i < widths_.size() && i < row.size(); ++i) {
    widths_[i] = std::max(widths_[i], DisplayWidth(Printable(row[i].text)));
  }
}

size_t Table::Width() const {
  size_t width = 0;
  for (size_t i = 0; i < widths_.size(); ++i) {
    if (!hidden_[i]) width += widths_[i] + (width > 0 ? gap_ : 0);
  }
  return width;
}

void Table::Narrow(size_t width, const std::vector<std::string>& dispensable) {
  if (Width() <= width) return;
  narrow_ = true;
  gap_ = 1;
  for (const std::string& title : dispensable) {
    if (Width() <= width) return;
    const auto found = std::find(header_.begin(), header_.end(), title);
    if (found != header_.end()) hidden_[static_cast<size_t>(found - header_.begin())] = true;
  }
  while (Width() > width) {
    const auto end = widths_.begin() + static_cast<std::ptrdiff_t>(std::min(right_from_, widths_.size()));
    const auto widest = std::max_element(widths_.begin(), end);
    if (widest == end || *widest <= kLeastTextWidth) return;
    --*widest;
  }
}

void Table::PrintHeader(std::ostream& out) const {
  Row row;
  for (const std::string& title : header_) row.push_back({title, Color::kBold});
  PrintRow(out, row);
}

void Table::PrintRow(std::ostream& out, const Row& row) const {
  const size_t shown = widths_.size() - static_cast<size_t>(std::count(hidden_.begin(), hidden_.end(), true));
  size_t left = shown;
  for (size_t i = 0; i < widths_.size(); ++i) {
    if (hidden_[i]) continue;
    const Cell cell = i < row.size() ? row[i] : Cell{};
    std::string text = cell.text.empty() ? "-" : Printable(cell.text);
    if (narrow_) text = Cut(text, widths_[i]);
    const size_t width = DisplayWidth(text);
    const std::string padding(widths_[i] > width ? widths_[i] - width : 0, ' ');
    const bool last = --left == 0;
    if (i >= right_from_) out << padding;
    out << Paint(text, cell.color, use_color_);
    if (i < right_from_ && !last) out << padding;
    if (!last) out << std::string(gap_, ' ');
  }
  out << '\n';
}

void Table::Print(std::ostream& out, const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    if (!narrow_) Fit(row);
  }
  PrintHeader(out);
  for (const Row& row : rows) PrintRow(out, row);
}

}  // namespace weir::cli
