#include "controller/analysis/sequential.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace weir::analysis {
namespace {

constexpr double kPriorChi2 = 6, kPriorDf = 2;
constexpr SequentialTest::Grid kFactors = {1.25, 1.6, 2, 3, 5, 10, 30, 100};
constexpr SequentialTest::Grid kNegligibleFactors = {0, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.8};

/// Adds one window's log likelihood ratios of `grid` against `null`.
void AddRatios(const Window& window, double null, const SequentialTest::Grid& grid, double phi,
               SequentialTest::Grid& logs) {
  const auto k_c = static_cast<double>(window.canary_bad), k_s = static_cast<double>(window.stable_bad);
  const auto n_c = static_cast<double>(window.canary_total), n_s = static_cast<double>(window.stable_total);
  if (n_c == 0 || n_s == 0 || k_c + k_s == 0) return;  // nothing to compare: every ratio is 1
  for (size_t j = 0; j < grid.size(); ++j) {
    const double all = std::log((grid[j] * n_c + n_s) / (null * n_c + n_s));
    logs[j] += (k_c * std::log(grid[j] / null) - (k_c + k_s) * all) / phi;
  }
}

}  // namespace

double LogMeanExp(std::span<const double> logs) {
  const double top = std::ranges::max(logs);
  double sum = 0;
  for (const double log : logs) sum += std::exp(log - top);
  return top + std::log(sum / static_cast<double>(logs.size()));
}

std::string FormatE(double log_e) {
  const double log10 = log_e / std::log(10.0);
  if (log10 < 3) return fmt::format("{:.2g}", std::exp(log_e));
  double exponent = std::floor(log10);
  double mantissa = std::pow(10.0, log10 - exponent);
  if (mantissa >= 9.95) {  // would round to 10.0
    mantissa = 1;
    ++exponent;
  }
  return fmt::format("{:.1f}e{:.0f}", mantissa, exponent);
}

void Dispersion::AddEndpoints(std::span<const EndpointCount> endpoints) {
  double bad = 0, total = 0, groups = 0;
  for (const EndpointCount& endpoint : endpoints) {
    if (endpoint.total == 0) continue;
    bad += static_cast<double>(endpoint.bad);
    total += static_cast<double>(endpoint.total);
    ++groups;
  }
  if (groups < 2 || bad == 0) return;
  for (const EndpointCount& endpoint : endpoints) {
    if (endpoint.total == 0) continue;
    const double expected = bad * static_cast<double>(endpoint.total) / total;
    const double off = static_cast<double>(endpoint.bad) - expected;
    chi2 += off * off / expected;
  }
  df += groups - 1;
}

void Dispersion::AddWindow(EndpointCount window) {
  if (window.total == 0) return;
  if (has_before_) {
    const EndpointCount pair[] = {before_, window};
    AddEndpoints(pair);
  } else {
    before_ = window;
  }
  has_before_ = !has_before_;
}

double Phi(double chi2, double df) {
  const double phi = std::max(1.0, (chi2 + kPriorChi2) / (df + kPriorDf));
  return 1 + (phi - 1) * (1 + std::sqrt(2 / (df + kPriorDf)));
}

SequentialTest::SequentialTest(const SequentialOptions& options) : options_(options) {
  for (size_t j = 0; j < kGrid; ++j) {
    worse_grid_[j] = options.tolerance * kFactors[j];
    mirrored_grid_[j] = options.twice / kFactors[j];
  }
}

void SequentialTest::Add(const Window& given, std::span<const EndpointCount> endpoints) {
  Window window = given;
  window.canary_bad = std::min(window.canary_bad, window.canary_total);
  window.stable_bad = std::min(window.stable_bad, window.stable_total);
  const double phi = this->phi();  // of the windows before this one
  AddRatios(window, options_.tolerance, worse_grid_, phi, state_.worse_log);
  AddRatios(window, options_.twice, mirrored_grid_, phi, state_.mirrored_log);
  // The canary's rate alone, Poisson, against `negligible`.
  for (size_t j = 0; j < kGrid; ++j) {
    const double factor = kNegligibleFactors[j];
    const double bad = static_cast<double>(window.canary_bad);
    // A rate of 0 is refuted by the first bad one, for good.
    const double per_bad = factor > 0 ? std::log(factor) : -1e300;
    const double ratio = (bad > 0 ? bad * per_bad : 0.0) +
                         static_cast<double>(window.canary_total) * options_.negligible * (1 - factor);
    state_.negligible_log[j] = std::max(state_.negligible_log[j] + ratio / phi, -1e300);
  }
  state_.total.canary_bad += window.canary_bad;
  state_.total.canary_total += window.canary_total;
  state_.total.stable_bad += window.stable_bad;
  state_.total.stable_total += window.stable_total;
  if (window.canary_bad > 0) ++state_.bad_windows;

  const double alarm = -std::log(options_.alpha);
  if (state_.total.canary_bad >= options_.min_bad && state_.bad_windows >= options_.min_bad_windows &&
      log_e() >= alarm) {
    state_.worse = true;
  }
  if (has_traffic() && log_e_mirrored() >= alarm) state_.confident = true;

  if (!options_.dispersion) return;
  if (endpoints.size() > 1) {
    state_.stable.AddEndpoints(endpoints);
  } else {
    state_.stable.AddWindow({window.stable_bad, window.stable_total});
  }
  state_.canary.AddWindow({window.canary_bad, window.canary_total});
}

double SequentialTest::phi() const {
  if (!options_.dispersion) return 1;
  return Phi(state_.stable.chi2 + state_.canary.chi2, state_.stable.df + state_.canary.df);
}
double SequentialTest::log_e() const { return LogMeanExp(state_.worse_log); }
double SequentialTest::log_e_mirrored() const {
  // The mean of two E-values is one.
  const double both[] = {LogMeanExp(state_.mirrored_log), LogMeanExp(state_.negligible_log)};
  return LogMeanExp(both);
}

std::string SequentialTest::Reason(std::string_view bad) const {
  const Window& total = state_.total;
  if (total.canary_total == 0 || total.stable_total == 0) {
    return fmt::format("no traffic to compare: canary {} in all, stable {}", total.canary_total,
                       total.stable_total);
  }
  const double canary = static_cast<double>(total.canary_bad) / static_cast<double>(total.canary_total);
  const double stable = static_cast<double>(total.stable_bad) / static_cast<double>(total.stable_total);
  std::string ratio;
  if (stable > 0) {
    ratio = canary >= 10 * stable ? fmt::format("{:.0f} times the rate, ", canary / stable)
                                  : fmt::format("{:.2g} times the rate, ", canary / stable);
  }
  return fmt::format("canary {} {} of {}, stable {} of {}: {}E = {}", total.canary_bad, bad,
                     total.canary_total, total.stable_bad, total.stable_total, ratio, FormatE(log_e()));
}

}  // namespace weir::analysis
