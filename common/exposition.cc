#include "common/exposition.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace weir {
namespace {

using prometheus::MetricType;

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

/// Takes what stands before the next separator off the front of `rest`.
std::string_view TakeUntil(std::string_view& rest, char separator) {
  const size_t end = rest.find(separator);
  const std::string_view taken = Trim(rest.substr(0, end));
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return taken;
}

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

struct MediaRange {
  std::string_view type;
  std::string_view version;
  double quality = 1;
};

MediaRange ParseRange(std::string_view text) {
  MediaRange range;
  range.type = TakeUntil(text, ';');
  while (!text.empty()) {
    std::string_view value = TakeUntil(text, ';');
    const std::string_view name = TakeUntil(value, '=');
    if (EqualsIgnoringCase(name, "version")) range.version = Trim(value);
    if (EqualsIgnoringCase(name, "q")) {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), range.quality);
      const bool valid = error == std::errc() && range.quality >= 0 && range.quality <= 1;
      if (!valid) range.quality = 0;
    }
  }
  return range;
}

constexpr size_t kMaxFloat = 32;  // more than the shortest digits of any double take

/// The shortest digits that read back as the same number.
void AppendShortest(std::string& out, double value) {
  char digits[kMaxFloat];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(digits, end);
}

/// OpenMetrics, "Considerations: Canonical Numbers": a float has a point or an exponent.
std::string CanonicalFloat(double value) {
  std::string text;
  AppendShortest(text, value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

/// Backslash, line feed, and where asked the quote.
void AppendEscaped(std::string& out, std::string_view text, bool quote) {
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\' || (quote && c == '"')) out += '\\';
    out += c;
  }
}

std::string_view TypeName(MetricType type, ExpositionFormat format) {
  switch (type) {
    case MetricType::Counter:
      return "counter";
    case MetricType::Gauge:
      return "gauge";
    case MetricType::Summary:
      return "summary";
    case MetricType::Histogram:
      return "histogram";
    case MetricType::Untyped:
      break;
  }
  return format == ExpositionFormat::kOpenMetrics ? "unknown" : "untyped";
}

std::string_view UnitOf(std::string_view family) {
  for (const std::string_view unit : {"_seconds", "_milliseconds", "_bytes"}) {
    if (family.ends_with(unit) && family.size() > unit.size()) return unit.substr(1);
  }
  return {};
}

constexpr std::string_view kTotal = "_total";
constexpr size_t kFirstRoom = 4096;
constexpr size_t kMaxDigits = 20;  // of a uint64_t

/// There must be room; returns where the text ends.
char* Put(char* to, std::string_view text) { return std::copy(text.begin(), text.end(), to); }

char* Put(char* to, uint64_t value) { return std::to_chars(to, to + kMaxDigits, value).ptr; }

}  // namespace

ExpositionFormat ChooseFormat(std::string_view accept) {
  double open_metrics = 0;
  double text = 0;
  while (!accept.empty()) {
    const MediaRange range = ParseRange(TakeUntil(accept, ','));
    if (EqualsIgnoringCase(range.type, "application/openmetrics-text")) {
      const bool ours = range.version.empty() || range.version == "1.0.0" || range.version == "\"1.0.0\"";
      if (ours) open_metrics = std::max(open_metrics, range.quality);
    } else if (EqualsIgnoringCase(range.type, "text/plain")) {
      text = std::max(text, range.quality);
    }
  }
  return open_metrics > 0 && open_metrics >= text ? ExpositionFormat::kOpenMetrics : ExpositionFormat::kText;
}

std::string_view ContentType(ExpositionFormat format) {
  return format == ExpositionFormat::kOpenMetrics
             ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
             : "text/plain; version=0.0.4; charset=utf-8";
}

HistogramBounds::HistogramBounds(std::vector<double> bounds) : bounds_(std::move(bounds)) {
  for (const double bound : bounds_) ends_.push_back("le=\"" + CanonicalFloat(bound) + "\"} ");
  ends_.emplace_back("le=\"+Inf\"} ");
  for (const std::string& end : ends_) ends_bytes_ += end.size();
}

void AppendLabel(std::string& labels, std::string_view name, std::string_view value) {
  if (!labels.empty()) labels += ',';
  labels += name;
  labels += "=\"";
  AppendEscaped(labels, value, true);
  labels += '"';
}

ExpositionWriter::ExpositionWriter(ExpositionFormat format, std::string buffer)
    : format_(format), out_(std::move(buffer)) {}

char* ExpositionWriter::Room(size_t bytes) {
  if (out_.size() - used_ < bytes)
    out_.resize(std::max({kFirstRoom, out_.capacity(), 2 * used_, used_ + bytes}));
  return out_.data() + used_;
}

void ExpositionWriter::Append(std::string_view text) { Wrote(Put(Room(text.size()), text)); }

void ExpositionWriter::Family(std::string_view name, MetricType type, std::string_view help) {
  const bool open_metrics = format_ == ExpositionFormat::kOpenMetrics;
  name_ = name;
  std::string_view family = name;
  if (open_metrics && type == MetricType::Counter && family.ends_with(kTotal))
    family.remove_suffix(kTotal.size());
  const auto line = [&](std::string_view keyword) {
    header_.append("# ").append(keyword).append(" ").append(family).append(" ");
  };
  header_.clear();
  line("HELP");
  AppendEscaped(header_, help, open_metrics);
  header_ += '\n';
  line("TYPE");
  header_.append(TypeName(type, format_)).append("\n");
  if (const std::string_view unit = UnitOf(family); open_metrics && !unit.empty()) {
    line("UNIT");
    header_.append(unit).append("\n");
  }
}

void ExpositionWriter::Announce() {
  if (header_.empty()) return;
  Append(header_);
  header_.clear();
}

void ExpositionWriter::Head(std::string_view suffix, std::string_view labels, std::string_view more) {
  char* at = Room(name_.size() + suffix.size() + labels.size() + more.size() + 4);
  at = Put(Put(at, name_), suffix);
  if (!labels.empty() || !more.empty()) {
    *at++ = '{';
    at = Put(at, labels);
    if (!labels.empty() && !more.empty()) *at++ = ',';
    at = Put(at, more);
    *at++ = '}';
  }
  *at++ = ' ';
  Wrote(at);
}

void ExpositionWriter::End(int64_t timestamp_ms) {
  std::string end;
  if (timestamp_ms != 0) {
    end += ' ';
    if (format_ == ExpositionFormat::kText) {
      end += std::to_string(timestamp_ms);
    } else {
      AppendShortest(end, static_cast<double>(timestamp_ms) / 1000);  // in seconds
    }
  }
  end += '\n';
  Append(end);
}

void ExpositionWriter::Number(uint64_t value) { Wrote(Put(Room(kMaxDigits), value)); }

void ExpositionWriter::Number(double value) {
  if (std::isnan(value)) {
    Append("NaN");
  } else if (std::isinf(value)) {
    Append(value > 0 ? "+Inf" : "-Inf");
  } else {
    char* const at = Room(kMaxFloat);
    Wrote(std::to_chars(at, at + kMaxFloat, value).ptr);
  }
}

void ExpositionWriter::Add(std::string_view labels, uint64_t value) {
  Announce();
  Head({}, labels);
  Number(value);
  Append("\n");
}

void ExpositionWriter::Add(std::string_view labels, double value) {
  Announce();
  Head({}, labels);
  Number(value);
  Append("\n");
}

void ExpositionWriter::AddHistogram(std::string_view labels, const HistogramBounds& bounds,
                                    std::span<const uint64_t> cumulative, uint64_t count, double sum) {
  Announce();
  begin_.assign(name_).append("_bucket{").append(labels);
  if (!labels.empty()) begin_ += ',';
  const size_t lines = bounds.size() + 1;
  char* at = Room(lines * (begin_.size() + kMaxDigits + 1) + bounds.ends_bytes_);
  for (size_t i = 0; i < lines; ++i) {
    at = Put(Put(at, begin_), bounds.ends_[i]);
    at = Put(at, i < bounds.size() ? cumulative[i] : count);
    *at++ = '\n';
  }
  Wrote(at);
  Head("_count", labels);
  Number(count);
  Append("\n");
  Head("_sum", labels);
  Number(sum);
  Append("\n");
}

void ExpositionWriter::AddFamily(const prometheus::MetricFamily& family) {
  Family(family.name, family.type, family.help);
  for (const prometheus::ClientMetric& metric : family.metric) AddMetric(metric, family.type);
}

void ExpositionWriter::AddMetric(const prometheus::ClientMetric& metric, MetricType type) {
  Announce();
  std::string labels;
  for (const auto& label : metric.label) AppendLabel(labels, label.name, label.value);
  const auto line = [&](std::string_view suffix, auto value, const std::string& more = {}) {
    Head(suffix, labels, more);
    Number(value);
    End(metric.timestamp_ms);
  };
  const auto more = [](std::string_view name, double value) {
    std::string label;
    AppendLabel(label, name, std::isinf(value) ? "+Inf" : CanonicalFloat(value));
    return label;
  };
  switch (type) {
    case MetricType::Counter:
      return line({}, metric.counter.value);
    case MetricType::Gauge:
      return line({}, metric.gauge.value);
    case MetricType::Untyped:
      return line({}, metric.untyped.value);
    case MetricType::Summary:
      for (const auto& quantile : metric.summary.quantile) {
        line({}, quantile.value, more("quantile", quantile.quantile));
      }
      line("_count", metric.summary.sample_count);
      return line("_sum", metric.summary.sample_sum);
    case MetricType::Histogram:
      break;
  }
  const prometheus::ClientMetric::Histogram& histogram = metric.histogram;
  for (const auto& bucket : histogram.bucket) {
    if (!std::isinf(bucket.upper_bound))
      line("_bucket", bucket.cumulative_count, more("le", bucket.upper_bound));
  }
  line("_bucket", histogram.sample_count, more("le", std::numeric_limits<double>::infinity()));
  line("_count", histogram.sample_count);
  line("_sum", histogram.sample_sum);
}

std::string ExpositionWriter::Finish() {
  if (format_ == ExpositionFormat::kOpenMetrics) Append("# EOF\n");
  out_.resize(used_);
  return std::move(out_);
}

}  // namespace weir
