#include "controller/analysis/weir_metric.h"

#include <fmt/format.h>

#include <boost/json/value_from.hpp>
#include <boost/json/value_to.hpp>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>

namespace weir::analysis {
namespace {

namespace json = boost::json;

constexpr double kFade = 0.995;

SequentialOptions OptionsOf(const WeirQuery& query) {
  SequentialOptions options;
  options.alpha = query.alpha;
  options.tolerance = query.tolerance;
  return options;
}

std::string FormatSeconds(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.3g} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.3g} ms", seconds * 1e3);
  return fmt::format("{:.3g} s", seconds);
}

/// As text: Boost.JSON does not read every double back as it was.
template <size_t n>
json::array Numbers(const std::array<double, n>& values) {
  json::array texts;
  for (const double value : values) texts.emplace_back(fmt::format("{}", value));
  return texts;
}
template <size_t n>
void ReadNumbers(const json::value& from, std::array<double, n>& into) {
  const json::array& values = from.as_array();
  for (size_t i = 0; i < n; ++i) {
    const json::string& text = values.at(i).as_string();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into[i]);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(into[i]))
      throw json::system_error(make_error_code(json::error::syntax));
  }
}

}  // namespace

double BucketEdge(size_t bucket) {
  if (bucket + 1 >= kLatencyBuckets) return std::numeric_limits<double>::infinity();
  return std::exp2(static_cast<double>(bucket) / 4 - 20);
}

std::optional<size_t> LatencyThreshold::Bucket() const {
  const double total = std::accumulate(past_.begin(), past_.end(), 0.0);
  if (total < 10 / (1 - quantile_)) return std::nullopt;
  double below = 0;
  for (size_t bucket = 0; bucket < kLatencyBuckets; ++bucket) {
    below += past_[bucket];
    if (below >= quantile_ * total) return bucket;
  }
  return kLatencyBuckets - 1;
}

void LatencyThreshold::Add(const LatencyCounts& stable) {
  for (size_t bucket = 0; bucket < kLatencyBuckets; ++bucket)
    past_[bucket] = past_[bucket] * kFade + static_cast<double>(stable[bucket]);
}

WeirMetric::WeirMetric(const WeirQuery& query) : query_(query), test_(OptionsOf(query)) {
  if (query.measure == Measure::kLatencyP90) threshold_.emplace(0.9);
  if (query.measure == Measure::kLatencyP99) threshold_.emplace(0.99);
}

EndpointCount WeirMetric::Count(const VariantFigures& figures) const {
  switch (query_.measure) {
    case Measure::kErrors:
      return {figures.errors, figures.requests};
    case Measure::kErrorConnections:
      return {figures.error_connections, figures.connections};
    case Measure::kFailedConnects:
      return {figures.failed_connects, figures.connects};
    default:
      break;
  }
  EndpointCount count;
  const std::optional<size_t> slow = threshold_->Bucket();
  if (!slow) return count;  // no past yet: the window is for learning only
  for (size_t bucket = 0; bucket < kLatencyBuckets; ++bucket) {
    count.total += figures.latency[bucket];
    if (bucket > *slow) count.bad += figures.latency[bucket];
  }
  return count;
}

void WeirMetric::Add(const WindowFigures& window) {
  const EndpointCount canary = Count(window.canary), stable = Count(window.stable);
  std::vector<EndpointCount> endpoints;
  endpoints.reserve(window.stable_endpoints.size());
  for (const VariantFigures& endpoint : window.stable_endpoints) endpoints.push_back(Count(endpoint));
  test_.Add({canary.bad, canary.total, stable.bad, stable.total}, endpoints);
  // After it was used: a threshold that knew this window would not be of the past.
  if (threshold_) threshold_->Add(window.stable.latency);
}

Verdict::Kind WeirMetric::Decision() const {
  if (test_.worse()) return Verdict::Kind::kWorse;
  if (!test_.has_traffic()) return Verdict::Kind::kNoTraffic;
  return test_.confident() ? Verdict::Kind::kConfident : Verdict::Kind::kUndecided;
}

std::string WeirMetric::BadWord() const {
  switch (query_.measure) {
    case Measure::kErrors:
      return "errors";
    case Measure::kErrorConnections:
      return "connections with errors";
    case Measure::kFailedConnects:
      return "failed connects";
    default:
      break;
  }
  const std::optional<size_t> slow = threshold_->Bucket();
  return slow ? fmt::format("responses slower than {}", FormatSeconds(BucketEdge(*slow))) : "slow responses";
}

Verdict WeirMetric::Read() const {
  Verdict verdict;
  verdict.kind = Decision();
  verdict.value = fmt::format("E = {}", FormatE(test_.log_e()));
  verdict.reason = test_.Reason(BadWord());
  if (query_.until_confident && verdict.kind != Verdict::Kind::kNoTraffic) {
    verdict.reason += fmt::format("; at least twice as bad: {}, E = {}",
                                  verdict.kind == Verdict::Kind::kConfident ? "ruled out" : "not ruled out",
                                  FormatE(test_.log_e_mirrored()));
  }
  return verdict;
}

json::value WeirMetric::ToJson() const {
  const SequentialTest::State& state = test_.state();
  json::object out{
      {"worseLog", Numbers(state.worse_log)},
      {"mirroredLog", Numbers(state.mirrored_log)},
      {"negligibleLog", Numbers(state.negligible_log)},
      {"badWindows", state.bad_windows},
      {"worse", state.worse},
      {"confident", state.confident},
      {"total",
       {state.total.canary_bad, state.total.canary_total, state.total.stable_bad, state.total.stable_total}},
      {"dispersion", Numbers<4>({state.stable.chi2, state.stable.df, state.canary.chi2, state.canary.df})}};
  if (threshold_) out["past"] = Numbers(threshold_->past());
  return out;
}

bool WeirMetric::Restore(const json::value& from) try {
  const json::object& in = from.as_object();
  SequentialTest::State state;
  ReadNumbers(in.at("worseLog"), state.worse_log);
  ReadNumbers(in.at("mirroredLog"), state.mirrored_log);
  ReadNumbers(in.at("negligibleLog"), state.negligible_log);
  state.bad_windows = in.at("badWindows").to_number<uint32_t>();
  state.worse = in.at("worse").as_bool();
  state.confident = in.at("confident").as_bool();
  std::array<uint64_t*, 4> totals = {&state.total.canary_bad, &state.total.canary_total,
                                     &state.total.stable_bad, &state.total.stable_total};
  for (size_t i = 0; i < totals.size(); ++i)
    *totals[i] = in.at("total").as_array().at(i).to_number<uint64_t>();
  std::array<double, 4> dispersion{};
  ReadNumbers(in.at("dispersion"), dispersion);
  state.stable.chi2 = dispersion[0];
  state.stable.df = dispersion[1];
  state.canary.chi2 = dispersion[2];
  state.canary.df = dispersion[3];
  std::array<double, kLatencyBuckets> past{};
  if (threshold_) {
    ReadNumbers(in.at("past"), past);
    threshold_->Restore(past);
  }
  test_.Restore(state);
  return true;
} catch (const std::exception&) {  // Boost.JSON's way to say that a value is another one
  return false;
}

}  // namespace weir::analysis
