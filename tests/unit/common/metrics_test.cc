#include "common/metrics.h"

#include <gtest/gtest.h>
#include <prometheus/counter.h>

namespace weir {
namespace {

double Value(const std::string& text, const std::string& name) {
  const size_t at = text.find("\n" + name + " ");
  return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
}

TEST(ProcessMetrics, AreTaken) {
  ProcessMetrics process;
  const std::string text = MetricsText({&process});
  EXPECT_GT(Value(text, "process_resident_memory_bytes"), 1e6) << text;
  EXPECT_GE(Value(text, "process_cpu_seconds_total"), 0.0);
  EXPECT_GE(Value(text, "process_open_fds"), 3.0);
  EXPECT_GT(Value(text, "process_start_time_seconds"), 1.6e9);
  EXPECT_NE(text.find("# TYPE process_cpu_seconds_total counter"), std::string::npos);
  EXPECT_NE(text.find("# TYPE process_open_fds gauge"), std::string::npos);
}

TEST(MetricsHandler, AnswersInTheTextFormat) {
  ProcessMetrics process;
  prometheus::Registry registry;
  prometheus::BuildCounter()
      .Name("weir_test_total")
      .Help("h")
      .Register(registry)
      .Add({{"a", "b"}})
      .Increment(3);
  const HttpResponse response = MetricsHandler({&process, &registry})({});
  EXPECT_EQ(response.status, 200u);
  EXPECT_EQ(response.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(Value(response.body, "weir_test_total{a=\"b\"}"), 3);
}

class OneGauge final : public MetricsSource {
 public:
  void Write(ExpositionWriter& writer) override {
    writer.Family("weir_test_gauge", prometheus::MetricType::Gauge, "h");
    writer.Add("", uint64_t{7});
  }
};

TEST(MetricsHandler, AnswersInOpenMetricsWhenAsked) {
  ProcessMetrics process;
  OneGauge gauge;
  const HttpResponse response =
      MetricsHandler({&process}, {&gauge})({.accept = "application/openmetrics-text;version=1.0.0"});
  EXPECT_EQ(response.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
  EXPECT_NE(response.body.find("# TYPE process_cpu_seconds counter\n# UNIT process_cpu_seconds seconds\n"
                               "process_cpu_seconds_total "),
            std::string::npos)
      << response.body;
  EXPECT_EQ(Value(response.body, "weir_test_gauge"), 7);
  EXPECT_TRUE(response.body.ends_with("\n# EOF\n"));
}

TEST(MetricsHandler, WritesAgainIntoWhatWasSent) {
  OneGauge gauge;
  const HttpHandler page = MetricsHandler({}, {&gauge});
  HttpResponse first = page({});
  const std::string text = first.body;
  const char* const memory = first.body.data();
  first.body[0] = '?';  // nothing of it is read
  first.sent(std::move(first.body));
  HttpResponse second = page({});
  EXPECT_EQ(second.body, text);
  EXPECT_EQ(second.body.data(), memory);
  EXPECT_EQ(page({}).body, text) << "while the memory is away";
  second.sent(std::move(second.body));
  EXPECT_EQ(page({}).body.data(), memory);
}

}  // namespace
}  // namespace weir
