// Text for people: aligned columns, colour where a terminal reads it.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace weir::cli {

enum class Color { kNone, kBold, kDim, kRed, kGreen, kYellow, kBlue };

/// Columns a terminal needs for UTF-8 `text`: 0 for combining marks, 2 for wide East Asian characters and
/// emoji, 1 for everything else. Bytes that are not UTF-8 count one each.
size_t DisplayWidth(std::string_view text);

/// `text` without control characters, so that a message from elsewhere can neither break a table nor drive
/// the terminal: a space for each run of white space, '?' for others.
std::string Printable(std::string_view text);

/// `text` in `color`, or as it is where `enabled` is false.
std::string Paint(std::string_view text, Color color, bool enabled);

struct Cell {
  std::string text;
  Color color = Color::kNone;
};
using Row = std::vector<Cell>;

/// Rows under a header. Widths only grow, so rows printed one at a time stay in line with the earlier ones as
/// far as they can.
class Table {
 public:
  Table(std::vector<std::string> header, bool use_color);

  /// Columns from `first` on are set to the right, as numbers are.
  void AlignRight(size_t first) { right_from_ = first; }
  /// Fits what was fitted into `width`: smaller gaps, then without the columns `dispensable` names, in its
  /// order, then with the widest text columns cut short.
  void Narrow(size_t width, const std::vector<std::string>& dispensable);
  /// Makes the columns wide enough for `row`.
  void Fit(const Row& row);
  void PrintHeader(std::ostream& out) const;
  /// The last cell is not padded; an empty one is shown as "-", one with a space as nothing.
  void PrintRow(std::ostream& out, const Row& row) const;
  /// Fits and prints header and rows.
  void Print(std::ostream& out, const std::vector<Row>& rows);

 private:
  std::vector<std::string> header_;
  /// What a line takes.
  size_t Width() const;

  std::vector<size_t> widths_;
  std::vector<bool> hidden_;
  size_t gap_, right_from_ = SIZE_MAX;
  bool narrow_ = false;
  bool use_color_;
};

}  // namespace weir::cli
