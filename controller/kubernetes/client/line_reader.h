// Puts lines together from pieces as they arrive. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace weir::kubernetes {

class LineReader {
 public:
  explicit LineReader(size_t max_line) : max_line_(max_line) {}

  /// Calls `take` with each whole line, without its end; empty lines are left out. `take` returns false to
  /// end it: the rest is dropped. False: a line is longer than max_line.
  template <typename Take>
  bool Feed(std::string_view data, const Take& take) {
    for (size_t end = 0; (end = data.find('\n')) != std::string_view::npos; data.remove_prefix(end + 1)) {
      const std::string_view piece = data.substr(0, end);
      if (begun_.size() + piece.size() > max_line_) return false;
      // Most lines come in one piece: no copy of those.
      bool more = true;
      if (begun_.empty()) {
        if (!piece.empty()) more = take(piece);
      } else {
        begun_ += piece;
        const std::string line = std::move(begun_);
        begun_.clear();
        more = take(std::string_view(line));
      }
      if (!more) return true;
    }
    if (begun_.size() + data.size() > max_line_) return false;
    begun_ += data;
    return true;
  }

  void Clear() { begun_.clear(); }

 private:
  size_t max_line_;
  std::string begun_;
};

}  // namespace weir::kubernetes
