// Text for people: aligned columns, colour where a terminal reads it.
#pragma once

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

  /// Makes the columns wide enough for `row`.
  void Fit(const Row& row);
  void PrintHeader(std::ostream& out) const;
  /// The last cell is not padded; an empty one is shown as "-".
  void PrintRow(std::ostream& out, const Row& row) const;
  /// Fits and prints header and rows.
  void Print(std::ostream& out, const std::vector<Row>& rows);

 private:
  std::vector<std::string> header_;
  std::vector<size_t> widths_;
  bool use_color_;
};

}  // namespace weir::cli
