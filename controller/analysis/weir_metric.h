// The provider `weir`: windows of the kernel's figures to the verdict of a sequential test. Pure. What feeds
// it: one WindowFigures a second, added up over all nodes, the canary and stable over the same second.
#pragma once

#include <array>
#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controller/analysis/sequential.h"
#include "controller/analysis/template.h"

namespace weir::analysis {

/// Buckets of weir.v1.Histogram: 1..108 hold (2^((i-1)/4), 2^(i/4)] * 2^-20 s, 0 all below, 109 all above.
inline constexpr size_t kLatencyBuckets = 110;
using LatencyCounts = std::array<uint64_t, kLatencyBuckets>;
/// Upper edge of a bucket in seconds; infinity for the last.
double BucketEdge(size_t bucket);

/// What one variant, or one endpoint of it, did in one window.
struct VariantFigures {
  uint64_t requests = 0, errors = 0;                // errors: 5xx, and requests whose connection ended first
  uint64_t connections = 0, error_connections = 0;  // with a first response; with at least one 5xx
  uint64_t connects = 0,
           failed_connects = 0;  // connects: opened and failed; failed: not by the client's own doing
  LatencyCounts latency{};       // responses
};

struct WindowFigures {
  VariantFigures canary, stable;
  std::vector<VariantFigures> stable_endpoints;  // empty where it is not known which endpoint served
};

/// The bucket above which a share of stable's past responses lies. The past fades with a half-life of 138
/// windows.
class LatencyThreshold {
 public:
  /// `quantile`: 0.9 or 0.99.
  explicit LatencyThreshold(double quantile) : quantile_(quantile) {}
  /// Responses in buckets above are slow; nullopt while the past is too short: 10 / (1 - quantile) responses.
  std::optional<size_t> Bucket() const;
  void Add(const LatencyCounts& stable);
  const std::array<double, kLatencyBuckets>& past() const { return past_; }
  void Restore(const std::array<double, kLatencyBuckets>& past) { past_ = past; }

 private:
  double quantile_;
  std::array<double, kLatencyBuckets> past_{};
};

/// What is known so far. It is about everything since the start, so the latest verdict stands for all before.
struct Verdict {
  enum class Kind : uint8_t { kWorse, kConfident, kNoTraffic, kUndecided } kind = Kind::kNoTraffic;
  std::string value;   // "E = 2.1e6"
  std::string reason;  // "canary 38 errors of 400, stable 4 of 1600: 38 times the rate, E = 2.1e6"
};

class WeirMetric {
 public:
  explicit WeirMetric(const WeirQuery& query);

  void Add(const WindowFigures& window);
  /// Cheap: for a look after every window.
  Verdict::Kind Decision() const;
  Verdict Read() const;
  const SequentialTest& test() const { return test_; }

  boost::json::value ToJson() const;
  /// False if it is not what ToJson() gives.
  bool Restore(const boost::json::value& json);

 private:
  EndpointCount Count(const VariantFigures& figures) const;
  std::string BadWord() const;

  WeirQuery query_;
  SequentialTest test_;
  std::optional<LatencyThreshold> threshold_;  // of latency
};

}  // namespace weir::analysis
