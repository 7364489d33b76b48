// Medians, percentiles and Markdown tables. No threads, no I/O but PrintTable.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weir::bench {

/// The value below which `percent` (0..100) of the values lie, by linear interpolation; 0 for no values.
double Percentile(std::vector<double> values, double percent);
inline double Median(std::vector<double> values) { return Percentile(std::move(values), 50); }

/// What is said of one variant over all rounds.
struct Spread {
  double median = 0, p10 = 0, p90 = 0;
};
Spread SpreadOf(const std::vector<double>& round_medians);

/// a[i] - b[i]: a difference measured in the same round cancels what the machine did in that round.
std::vector<double> Differences(const std::vector<double>& a, const std::vector<double>& b);
std::vector<double> Ratios(const std::vector<double>& a, const std::vector<double>& b);

/// "12.34", "1.2 - 3.4".
std::string Number(double value, int digits = 2);
std::string Signed(double value, int digits = 2);
std::string Range(const Spread& spread, int digits = 2);

/// Prints a Markdown table to stdout: the first column is text, the others are set to the right.
void PrintTable(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);
/// "### title" and a paragraph.
void PrintHeading(const std::string& title, const std::string& text);

}  // namespace weir::bench
