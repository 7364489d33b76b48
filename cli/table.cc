#include "cli/table.h"

#include <algorithm>
#include <cstdint>

namespace weir::cli {
namespace {

constexpr size_t kColumnGap = 2;

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
    : header_(std::move(header)), use_color_(use_color) {
  for (const std::string& title : header_) widths_.push_back(DisplayWidth(title));
}

void Table::Fit(const Row& row) {
  for (size_t i = 0; i < widths_.size() && i < row.size(); ++i) {
    widths_[i] = std::max(widths_[i], DisplayWidth(Printable(row[i].text)));
  }
}

void Table::PrintHeader(std::ostream& out) const {
  Row row;
  for (const std::string& title : header_) row.push_back({title, Color::kBold});
  PrintRow(out, row);
}

void Table::PrintRow(std::ostream& out, const Row& row) const {
  for (size_t i = 0; i < widths_.size(); ++i) {
    const Cell cell = i < row.size() ? row[i] : Cell{};
    const std::string text = cell.text.empty() ? "-" : Printable(cell.text);
    out << Paint(text, cell.color, use_color_);
    if (i + 1 < widths_.size()) {
      const size_t width = DisplayWidth(text);
      out << std::string((widths_[i] > width ? widths_[i] - width : 0) + kColumnGap, ' ');
    }
  }
  out << '\n';
}

void Table::Print(std::ostream& out, const std::vector<Row>& rows) {
  for (const Row& row : rows) Fit(row);
  PrintHeader(out);
  for (const Row& row : rows) PrintRow(out, row);
}

}  // namespace weir::cli
