#include "tests/bench/stats.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace weir::bench {

double Percentile(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double place = percent / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (values[above] - values[below]) * (place - static_cast<double>(below));
}

Spread SpreadOf(const std::vector<double>& round_medians) {
  return {Percentile(round_medians, 50), Percentile(round_medians, 10), Percentile(round_medians, 90)};
}

std::vector<double> Differences(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> result;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) result.push_back(a[i] - b[i]);
  return result;
}

std::vector<double> Ratios(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> result;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) result.push_back(a[i] / b[i]);
  return result;
}

std::string Number(double value, int digits) { return fmt::format("{:.{}f}", value, digits); }
std::string Signed(double value, int digits) { return fmt::format("{:+.{}f}", value, digits); }
std::string Range(const Spread& spread, int digits) {
  return fmt::format("{:.{}f} - {:.{}f}", spread.p10, digits, spread.p90, digits);
}

void PrintTable(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> width;
  for (const auto& cell : header) width.push_back(std::max<size_t>(cell.size(), 3));
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  }
  const auto print_row = [&](const std::vector<std::string>& row) {
    std::string line = "|";
    for (size_t i = 0; i < row.size(); ++i) {
      line +=
          i == 0 ? fmt::format(" {:<{}} |", row[i], width[i]) : fmt::format(" {:>{}} |", row[i], width[i]);
    }
    std::puts(line.c_str());
  };
  print_row(header);
  std::string rule = "|";
  for (size_t i = 0; i < header.size(); ++i)
    rule += " " + std::string(width[i] - 1, '-') + (i == 0 ? "-" : ":") + " |";
  std::puts(rule.c_str());
  for (const auto& row : rows) print_row(row);
  std::puts("");
  std::fflush(stdout);
}

void PrintHeading(const std::string& title, const std::string& text) {
  std::printf("### %s\n\n%s\n\n", title.c_str(), text.c_str());
  std::fflush(stdout);
}

}  // namespace weir::bench
