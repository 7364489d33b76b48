#include "common/exposition.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <limits>

namespace weir {
namespace {

using prometheus::MetricType;
constexpr auto kText = ExpositionFormat::kText;
constexpr auto kOpenMetrics = ExpositionFormat::kOpenMetrics;

TEST(ChooseFormat, WhatTheHeaderPrefers) {
  const struct {
    const char* accept;
    ExpositionFormat format;
  } rows[] = {
      {"", kText},
      {"*/*", kText},  // curl
      {"text/plain", kText},
      {"application/openmetrics-text", kOpenMetrics},
      {"Application/OpenMetrics-Text; version=1.0.0; charset=utf-8", kOpenMetrics},
      {"application/openmetrics-text;version=\"1.0.0\"", kOpenMetrics},
      // Prometheus 2.42 and 3.0
      {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
       "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
       kOpenMetrics},
      {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
       "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
       kOpenMetrics},
      {"application/openmetrics-text;version=0.0.1", kText},  // a version we do not write
      {"application/openmetrics-text;q=0.3,text/plain;q=0.7", kText},
      {"text/plain ; q=0.3 , application/openmetrics-text ; q=0.7", kOpenMetrics},
      {"application/openmetrics-text;q=0", kText},
      {"application/openmetrics-text;q=nonsense", kText},
      {"application/openmetrics-text;q=7", kText},
      {",;,=;q", kText},
  };
  for (const auto& row : rows) EXPECT_EQ(ChooseFormat(row.accept), row.format) << row.accept;
}

TEST(AppendLabel, EscapesTheValue) {
  std::string labels;
  AppendLabel(labels, "plain", "v1");
  AppendLabel(labels, "odd", "a\\b\"c\nd");
  AppendLabel(labels, "empty", "");
  EXPECT_EQ(labels, R"(plain="v1",odd="a\\b\"c\nd",empty="")");
}

std::string Write(ExpositionFormat format, const std::function<void(ExpositionWriter&)>& write) {
  ExpositionWriter writer(format);
  write(writer);
  return writer.Finish();
}

TEST(ExpositionWriter, NamesOfCountersAndUnits) {
  const auto write = [](ExpositionWriter& writer) {
    writer.Family("weir_sent_bytes_total", MetricType::Counter, "What \"it\" is,\na\\b.");
    writer.Add("a=\"b\"", uint64_t{18446744073709551615U});
    writer.Family("weir_open", MetricType::Gauge, "h");
    writer.Add("", uint64_t{0});
    writer.Family("weir_nothing_total", MetricType::Counter, "left out");
    writer.Family("weir_age_seconds", MetricType::Untyped, "h");
    writer.Add("", 0.25);
  };
  EXPECT_EQ(Write(kText, write), R"(# HELP weir_sent_bytes_total What "it" is,\na\\b.
# TYPE weir_sent_bytes_total counter
weir_sent_bytes_total{a="b"} 18446744073709551615
# HELP weir_open h
# TYPE weir_open gauge
weir_open 0
# HELP weir_age_seconds h
# TYPE weir_age_seconds untyped
weir_age_seconds 0.25
)");
  EXPECT_EQ(Write(kOpenMetrics, write), R"(# HELP weir_sent_bytes What \"it\" is,\na\\b.
# TYPE weir_sent_bytes counter
# UNIT weir_sent_bytes bytes
weir_sent_bytes_total{a="b"} 18446744073709551615
# HELP weir_open h
# TYPE weir_open gauge
weir_open 0
# HELP weir_age_seconds h
# TYPE weir_age_seconds unknown
# UNIT weir_age_seconds seconds
weir_age_seconds 0.25
# EOF
)");
}

TEST(ExpositionWriter, NumbersThatAreNone) {
  const std::string text = Write(kText, [](ExpositionWriter& writer) {
    writer.Family("g", MetricType::Gauge, "h");
    writer.Add("", std::numeric_limits<double>::infinity());
    writer.Add("a=\"1\"", -std::numeric_limits<double>::infinity());
    writer.Add("a=\"2\"", std::nan(""));
  });
  EXPECT_NE(text.find("g +Inf\ng{a=\"1\"} -Inf\ng{a=\"2\"} NaN\n"), std::string::npos) << text;
}

TEST(ExpositionWriter, HistogramsKeepTheirBoundsNamesInBothFormats) {
  const HistogramBounds bounds({0.00006103515625, 0.5, 1, 1000});
  for (const ExpositionFormat format : {kText, kOpenMetrics}) {
    const std::string text = Write(format, [&](ExpositionWriter& writer) {
      writer.Family("x_seconds", MetricType::Histogram, "h");
      writer.AddHistogram("a=\"b\"", bounds, std::array<uint64_t, 4>{0, 1, 2, 2}, 3, 1001.75);
      writer.AddHistogram("", bounds, std::array<uint64_t, 4>{}, 0, 0);
    });
    EXPECT_NE(text.find(R"(
x_seconds_bucket{a="b",le="6.103515625e-05"} 0
x_seconds_bucket{a="b",le="0.5"} 1
x_seconds_bucket{a="b",le="1.0"} 2
x_seconds_bucket{a="b",le="1000.0"} 2
x_seconds_bucket{a="b",le="+Inf"} 3
x_seconds_count{a="b"} 3
x_seconds_sum{a="b"} 1001.75
x_seconds_bucket{le="6.103515625e-05"} 0
)"),
              std::string::npos)
        << text;
  }
}

TEST(ExpositionWriter, FamiliesOfPrometheusCpp) {
  prometheus::ClientMetric histogram;
  histogram.label = {{"a", "\"b\""}};
  histogram.histogram = {3, 7.5, {{1, 1}, {2, 2.5}, {3, std::numeric_limits<double>::infinity()}}};
  prometheus::ClientMetric summary;
  summary.summary = {2, 3, {{0.5, 1}, {0.99, std::nan("")}}};
  prometheus::ClientMetric counter;
  counter.counter.value = 5;
  counter.timestamp_ms = 1700000000123;
  const auto write = [&](ExpositionWriter& writer) {
    writer.AddFamily({"h", "", MetricType::Histogram, {histogram}});
    writer.AddFamily({"s", "", MetricType::Summary, {summary}});
    writer.AddFamily({"c_total", "", MetricType::Counter, {counter}});
    writer.AddFamily({"none", "", MetricType::Gauge, {}});
  };
  const std::string lines = R"(# TYPE h histogram
h_bucket{a="\"b\"",le="1.0"} 1
h_bucket{a="\"b\"",le="2.5"} 2
h_bucket{a="\"b\"",le="+Inf"} 3
h_count{a="\"b\""} 3
h_sum{a="\"b\""} 7.5
# HELP s 
# TYPE s summary
s{quantile="0.5"} 1
s{quantile="0.99"} NaN
s_count 2
s_sum 3
)";
  EXPECT_EQ(Write(kText, write),
            "# HELP h \n" + lines + "# HELP c_total \n# TYPE c_total counter\nc_total 5 1700000000123\n");
  EXPECT_EQ(Write(kOpenMetrics, write),
            "# HELP h \n" + lines + "# HELP c \n# TYPE c counter\nc_total 5 1700000000.123\n# EOF\n");
}

}  // namespace
}  // namespace weir
