// The built-in test: is the canary worse than stable at the same time? Sequential and always valid: look
// after every window, with no inflated rate of false alarms (an E-value; Ville's inequality). Pure; one
// object, one thread.
//
// Per window, canary k_c bad of n_c, stable k_s of n_s. Given the bad ones, each is the canary's with
// probability theta(r) = r n_c / (r n_c + n_s) when the canary's rate is r times stable's. Against "at most
// r0 times":
//
//   l_j += [k_c ln(theta(r_j)/theta(r0)) + k_s ln((1-theta(r_j))/(1-theta(r0)))] / phi,   E = mean_j exp(l_j)
//
// and E reaches 1/alpha with probability at most alpha while the canary is no worse, whatever the shares, the
// load and the rate they have in common do (conditional Poisson model with phi = 1: Lindon and Malek, arXiv
// 2011.03567). phi makes up for errors that come in clumps and is estimated from past windows; with it this
// is a heuristic, checked by simulation.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace weir::analysis {

/// What happened in one window. `bad` above `total` counts as `total`.
struct Window {
  uint64_t canary_bad = 0, canary_total = 0, stable_bad = 0, stable_total = 0;
  bool operator==(const Window&) const = default;
};

/// One endpoint of stable in one window.
struct EndpointCount {
  uint64_t bad = 0, total = 0;
};

/// How much more counts vary than a Poisson process would, from chi-square statistics of windows that are
/// past.
class Dispersion {
 public:
  /// One window, by endpoint: is what is bad spread over them as the totals are? Windows in which nothing was
  /// bad say nothing.
  void AddEndpoints(std::span<const EndpointCount> endpoints);
  /// One window, endpoints unknown: compared with the one before, in pairs, so that a slow drift does not
  /// count.
  void AddWindow(EndpointCount window);

  double chi2 = 0, df = 0;
  bool operator==(const Dispersion& other) const { return chi2 == other.chi2 && df == other.df; }

 private:
  EndpointCount before_;  // the first of a pair
  bool has_before_ = false;
};

/// max(1, (chi2 + 6) / (df + 2)), 3 before anything is known, and what is above 1 raised by 1 + sqrt(2 / (df
/// + 2)) for what is not known yet. README.md says why not DESIGN's 60 and 20.
double Phi(double chi2, double df);

struct SequentialOptions {
  double alpha = 0.01;      // chance of a false alarm, ever
  double tolerance = 1.25;  // r0: times stable's rate that is still well
  double twice = 2.0;       // the mirrored test: times stable's rate that must be ruled out
  /// The mirrored test has nothing to compare where nothing is ever bad: a rate of the canary's proven below
  /// this is well too.
  double negligible = 0.001;
  /// No alarm before so many bad ones of the canary, and before so many windows with any: a single clump is
  /// none.
  uint64_t min_bad = 3;
  uint32_t min_bad_windows = 2;
  bool dispersion = true;  // false: phi = 1
  bool operator==(const SequentialOptions&) const = default;
};

class SequentialTest {
 public:
  static constexpr size_t kGrid = 8;
  using Grid = std::array<double, kGrid>;

  explicit SequentialTest(const SequentialOptions& options = {});

  /// `endpoints`: stable's, where known.
  void Add(const Window& window, std::span<const EndpointCount> endpoints = {});

  /// E has reached 1/alpha, at some time: the canary is worse. Stays true.
  bool worse() const { return state_.worse; }
  /// "At least twice as bad" has been rejected, at some time, and the canary is not worse.
  bool confident() const { return state_.confident && !state_.worse; }
  /// Both have had traffic.
  bool has_traffic() const { return state_.total.canary_total > 0 && state_.total.stable_total > 0; }

  double log_e() const;           // of "worse", natural logarithm
  double log_e_mirrored() const;  // of "not twice as bad"
  double phi() const;
  const Window& total() const { return state_.total; }

  /// "canary 38 errors of 400, stable 4 of 1600: 38 times the rate, E = 2.1e6".
  std::string Reason(std::string_view bad) const;

  /// Everything that must outlive the process.
  struct State {
    Grid worse_log{}, mirrored_log{}, negligible_log{};
    Dispersion stable, canary;
    Window total;
    uint32_t bad_windows = 0;  // of the canary's
    bool worse = false, confident = false;
    bool operator==(const State&) const = default;
  };
  const State& state() const { return state_; }
  void Restore(const State& state) { state_ = state; }

 private:
  SequentialOptions options_;
  Grid worse_grid_{}, mirrored_grid_{};
  State state_;
};

/// ln(mean(exp(x))) without overflow.
double LogMeanExp(std::span<const double> logs);

/// e to the power `log_e` in words: "0.31", "57", "2.1e6", "3.4e512".
std::string FormatE(double log_e);

}  // namespace weir::analysis
