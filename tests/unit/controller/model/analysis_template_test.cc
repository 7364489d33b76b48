// AnalysisTemplates as they are read; what is refused is in tests/testdata/manifests/bad/analysis_*.yaml.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "controller/analysis/metric.h"
#include "controller/model/manifest.h"

namespace weir::model {
namespace {

std::map<std::string, AnalysisTemplate> Read() {
  std::ifstream file(std::string(WEIR_MANIFESTS) + "/analysis.yaml");
  std::ostringstream text;
  text << file.rdbuf();
  std::map<std::string, AnalysisTemplate> templates;
  const auto documents = ParseManifests(text.str(), "analysis.yaml");
  EXPECT_TRUE(documents.ok()) << documents.status();
  if (!documents.ok()) return templates;
  for (const Document& document : *documents) {
    const auto& read = std::get<AnalysisTemplate>(document.object);
    templates.emplace(read.key.name, read);
  }
  return templates;
}

TEST(AnalysisTemplate, PrometheusFieldByField) {
  auto templates = Read();
  const analysis::Template& spec = templates["success-rate"].spec;
  EXPECT_EQ(spec.name, "success-rate");
  ASSERT_EQ(spec.args.size(), 1U);
  EXPECT_EQ(spec.args[0], (analysis::Argument{.name = "service-name"}));
  const analysis::MetricTemplate& metric = spec.metrics.at(0);
  EXPECT_EQ(metric.interval, "5m");
  EXPECT_EQ(metric.failure_limit, "3");
  EXPECT_EQ(metric.success_condition, "result[0] >= 0.95");
  const auto& query = std::get<analysis::PrometheusQuery>(metric.provider);
  EXPECT_EQ(query.address, "http://prometheus.example.com:9090");
  EXPECT_EQ(query.timeout, std::chrono::seconds(40));
  EXPECT_EQ(query.headers, (std::vector<analysis::Header>{{"X-Scope-OrgID", "tenant_a"}}));
  EXPECT_TRUE(query.query.starts_with("sum(irate(\n"));
  EXPECT_FALSE(query.range);
  const auto& range =
      std::get<analysis::PrometheusQuery>(templates["range-query-example"].spec.metrics.at(0).provider);
  EXPECT_EQ(range.range,
            (analysis::RangeQuery{"now() - duration(\"{{args.lookback-duration}}\")", "now()", "1m"}));
}

TEST(AnalysisTemplate, WebArgumentsAndLists) {
  auto templates = Read();
  const analysis::Template& spec = templates["args-example"].spec;
  EXPECT_EQ(spec.args.at(1).from, analysis::Argument::From::kStable);
  EXPECT_EQ(spec.args.at(4).value, "3");
  EXPECT_EQ(spec.dry_run, std::vector<std::string>{"total-.*"});
  EXPECT_EQ(spec.retention, (std::vector<analysis::Retention>{{"webmetric", 20}}));
  const auto& web = std::get<analysis::WebRequest>(spec.metrics.at(0).provider);
  EXPECT_EQ(web.method, "POST");
  EXPECT_TRUE(web.json_body);
  EXPECT_EQ(web.body, R"({"name":"{{ args.service-name }}","deep":[1,2.5E0,true,null,"3"]})");
  EXPECT_EQ(web.timeout, std::chrono::seconds(20));
  EXPECT_EQ(spec.metrics[0].count, "{{ args.limit }}");
  EXPECT_EQ(spec.metrics[0].consecutive_error_limit, "0");
  const auto& basic = std::get<analysis::PrometheusQuery>(spec.metrics.at(1).provider);
  EXPECT_EQ(basic.username, "u");
  EXPECT_EQ(basic.password, "{{args.api-token}}");
  EXPECT_TRUE(basic.insecure);
  EXPECT_EQ(templates["all-of-them"].spec.templates,
            (std::vector<std::string>{"success-rate", "args-example"}));
  const auto& weir = std::get<analysis::WeirQuery>(templates["of-the-kernel"].spec.metrics.at(0).provider);
  EXPECT_EQ(weir, (analysis::WeirQuery{.alpha = 0.001, .tolerance = 1.5}));
}

TEST(AnalysisTemplate, FilesBecomeRuns) {
  const auto templates = Read();
  const analysis::RunRequest request{
      .templates = {"all-of-them", "weir-success-rate"},
      .args = {{.name = "service-name", .value = "shop"}, {.name = "api-token", .value = "secret"}},
      .stable = "v1",
      .latest = "v2",
      .background = true};
  const auto metrics = analysis::ResolveRun(request, [&](std::string_view name) -> const analysis::Template* {
    const auto found = templates.find(std::string(name));
    return found == templates.end() ? nullptr : &found->second.spec;
  });
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  ASSERT_EQ(metrics->size(), 5U);
  EXPECT_EQ(metrics->at(1).count, 3U);
  EXPECT_EQ(metrics->at(1).failure_limit, 3);
  EXPECT_EQ(std::get<analysis::WebRequest>(metrics->at(1).provider).url,
            "http://example/measure?service=shop");
  EXPECT_TRUE(metrics->at(2).dry_run);
  EXPECT_EQ(std::get<analysis::PrometheusQuery>(metrics->at(2).provider).password, "secret");
}

TEST(AnalysisTemplate, TheSetKeepsThem) {
  const auto templates = Read();
  ObjectSet set;
  for (const auto& [name, read] : templates) set.Put(read);
  EXPECT_EQ(set.templates.size(), templates.size());
  EXPECT_TRUE(set.Remove("AnalysisTemplate", {"default", "success-rate"}));
  EXPECT_FALSE(set.Remove("AnalysisTemplate", {"default", "success-rate"}));
  EXPECT_EQ(KindOf(templates.begin()->second), "AnalysisTemplate");
}

}  // namespace
}  // namespace weir::model
