// The two forms in which Prometheus and its kin read metrics: the text format 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/) and OpenMetrics 1.0
// (https://github.com/prometheus/OpenMetrics, specification/OpenMetrics.md). Target weir_http.
//
// Debian's prometheus-cpp has a serializer for the former only; and a family of 100,000 lines is better
// written straight into the answer than built as objects first.
#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

enum class ExpositionFormat { kText, kOpenMetrics };

/// What an Accept header (RFC 9110, section 12.5.1) prefers: OpenMetrics only where it is named, in
/// version 1.0.0 or without one, with no lower a quality than the text format's. Everything else, an empty
/// header and one that does not parse get the text format.
ExpositionFormat ChooseFormat(std::string_view accept);
std::string_view ContentType(ExpositionFormat format);

/// Upper bounds of a classic histogram, ascending, +Inf not among them, with their labels made once: the
/// canonical floats of OpenMetrics ("1.0", not "1") in both formats, so that a series keeps its name
/// whichever is asked for.
class HistogramBounds {
 public:
  explicit HistogramBounds(std::vector<double> bounds);
  size_t size() const { return bounds_.size(); }
  double operator[](size_t i) const { return bounds_[i]; }

 private:
  friend class ExpositionWriter;
  std::vector<double> bounds_;
  std::vector<std::string> ends_;  // `le="0.5"} `, the last one's for +Inf
  size_t ends_bytes_ = 0;          // of all of them
};

/// `name="value"`, the value escaped; appended after a comma where `labels` holds some already. The name must
/// be one
/// (`[a-zA-Z_][a-zA-Z0-9_]*`).
void AppendLabel(std::string& labels, std::string_view name, std::string_view value);

/// Writes families one after the other. Every line of a family comes between its Family() and the next one's,
/// each label set once: the caller's care. `labels` everywhere: what AppendLabel() made, without braces; may
/// be empty. One thread at a time.
class ExpositionWriter {
 public:
  /// `buffer`: its memory is written into, whatever it holds is not read. One that an earlier exposition
  /// filled saves the kernel's handing out of the pages, which for 30 MB takes longer than the writing.
  explicit ExpositionWriter(ExpositionFormat format, std::string buffer = {});

  /// Starts a family. A counter's name ends in _total; OpenMetrics calls the family by what stands before.
  /// The unit OpenMetrics wants is read from the name's end: _seconds, _milliseconds or _bytes. A family
  /// without a line is left out.
  void Family(std::string_view name, prometheus::MetricType type, std::string_view help);
  void Add(std::string_view labels, uint64_t value);
  void Add(std::string_view labels, double value);
  /// `cumulative[i]`: observations at or below bounds[i], so never descending; `count` all of them.
  void AddHistogram(std::string_view labels, const HistogramBounds& bounds,
                    std::span<const uint64_t> cumulative, uint64_t count, double sum);
  /// One of prometheus-cpp's, whatever its type.
  void AddFamily(const prometheus::MetricFamily& family);

  ExpositionFormat format() const { return format_; }
  /// The whole exposition; the writer is spent.
  std::string Finish();

 private:
  void AddMetric(const prometheus::ClientMetric& metric, prometheus::MetricType type);
  /// Room for so many bytes more; to be followed by Wrote().
  char* Room(size_t bytes);
  void Wrote(const char* end) { used_ = static_cast<size_t>(end - out_.data()); }
  void Append(std::string_view text);
  void Head(std::string_view suffix, std::string_view labels, std::string_view more = {});
  void End(int64_t timestamp_ms = 0);
  void Number(uint64_t value);
  void Number(double value);
  void Announce();

  ExpositionFormat format_;
  std::string out_;     // as long as there is room
  size_t used_ = 0;     // of it
  std::string begin_;   // of a histogram's lines; a member for its memory
  std::string name_;    // as its lines begin
  std::string header_;  // of a family that has no line yet
};

/// A source that writes itself. Called on the thread of the HTTP server.
class MetricsSource {
 public:
  virtual ~MetricsSource() = default;
  virtual void Write(ExpositionWriter& writer) = 0;
};

}  // namespace weir
