// The providers prometheus and web against servers of ours: what they ask, and what they make of every kind
// of answer.
#include <boost/json/parse.hpp>
#include <cmath>

#include "common/http.h"
#include "controller/analysis/run.h"
#include "controller/analysis/web/web.h"
#include "controller/prometheus/prometheus.h"
#include "tests/integration/analysis/loop.h"
#include "tests/integration/analysis/raw_server.h"

namespace weir::analysis {
namespace {

namespace json = boost::json;
constexpr TimePoint kNow{std::chrono::milliseconds(1'700'000'000'250)};

TEST(PrometheusCall, InstantAndRange) {
  PrometheusQuery query{
      .address = "http://p:9090/prom/", .query = "up{a=\"b\"}", .headers = {{"X-Scope-OrgID", "t"}}};
  auto call = prometheus::MakeCall(query, kNow);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->method, "GET");
  EXPECT_EQ(call->url.target, "/prom/api/v1/query?query=up%7Ba%3D%22b%22%7D&time=1700000000.250");
  EXPECT_EQ(call->headers.back(), (std::pair<std::string, std::string>("X-Scope-OrgID", "t")));
  EXPECT_EQ(call->timeout, std::chrono::seconds(30));
  query.range = RangeQuery{"now() - duration(\"5m\")", "now()", "1m"};
  call = prometheus::MakeCall(query, kNow);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->url.target,
            "/prom/api/v1/"
            "query_range?query=up%7Ba%3D%22b%22%7D&start=1699999700.250&end=1700000000.250&step=60.000");
}

TEST(PrometheusCall, ALongQuestionIsPosted) {
  const PrometheusQuery query{.address = "http://p", .query = std::string(5000, 'x')};
  const auto call = prometheus::MakeCall(query, kNow);
  ASSERT_TRUE(call.ok());
  EXPECT_EQ(call->method, "POST");
  EXPECT_EQ(call->url.target, "/api/v1/query");
  EXPECT_TRUE(call->body.starts_with("query=xxx"));
  EXPECT_EQ(call->headers.front().second, "application/x-www-form-urlencoded");
}

TEST(PrometheusCall, BasicAuthenticationAndErrors) {
  const PrometheusQuery query{
      .address = "http://p", .query = "up", .username = "Aladdin", .password = "open sesame"};
  EXPECT_EQ(prometheus::MakeCall(query, kNow)->headers.front().second, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
  EXPECT_TRUE(Message(prometheus::MakeCall({.address = "p:9090"}, kNow).status())
                  .starts_with("address: found \"p:9090\""));
  const auto range = [](RangeQuery bad) {
    return Message(
        prometheus::MakeCall({.address = "http://p", .query = "up", .range = std::move(bad)}, kNow).status());
  };
  EXPECT_EQ(range({"soon", "now()", "1m"}),
            "rangeQuery.start: column 1: found \"soon\", expected now() or date(\"...\")");
  EXPECT_EQ(range({"now()", "now(", "1m"}), "rangeQuery.end: column 5: found the end, expected \")\"");
  EXPECT_EQ(range({"now()", "now()", "0s"}), "rangeQuery.step: found \"0s\", expected a duration above 0");
  EXPECT_EQ(range({"now()", "now() - duration('1m')", "1m"}),
            "rangeQuery: found an end before the start, expected it after");
}

/// The value as Argo writes it, or the error.
std::string Told(unsigned status, const std::string& body) {
  const auto value = prometheus::ReadAnswer({status, body});
  return value.ok() ? ValueText(*value) : Message(value.status());
}

TEST(PrometheusAnswer, EveryKind) {
  const auto success = [](const std::string& type, const std::string& result) {
    return R"({"status":"success","data":{"resultType":")" + type + R"(","result":)" + result + "}}";
  };
  EXPECT_EQ(
      Told(200, success("vector", R"([{"metric":{},"value":[1.5,"0.95"]},{"metric":{},"value":[1,"1"]}])")),
      "[0.95,1]");
  EXPECT_EQ(Told(200, success("vector", "[]")), "[]");
  EXPECT_EQ(
      Told(200, success("vector", R"([{"value":[1,"NaN"]},{"value":[1,"+Inf"]},{"value":[1,"-Inf"]}])")),
      "[NaN,+Inf,-Inf]");
  EXPECT_EQ(Told(200, success("scalar", R"([1,"1e3"])")), "1000");
  EXPECT_EQ(Told(200, success("matrix", R"([{"values":[[1,"1"],[2,"2"]]},{"values":[[1,"3"]]}])")),
            "[1,2,3]");
  EXPECT_EQ(Told(200, success("string", R"([1,"x"])")),
            "the result is of type \"string\", expected scalar, vector or matrix");
  EXPECT_EQ(Told(200, success("vector", R"([{"metric":{},"histogram":[1,{}]}])")),
            "the result is a histogram, expected numbers; use histogram_quantile()");
  EXPECT_EQ(Told(400, R"({"status":"error","errorType":"bad_data","error":"parse error"})"),
            "Prometheus: bad_data: parse error");
  EXPECT_EQ(Told(503, "overloaded"), "found HTTP status 503, expected 2xx");
  EXPECT_EQ(Told(301, ""), "found HTTP status 301, expected 2xx");
  const std::string unreadable = "not an answer of Prometheus' API: ";
  EXPECT_TRUE(Told(200, "<html>").starts_with(unreadable));
  EXPECT_EQ(Told(200, "[]"), unreadable + "no object");
  EXPECT_EQ(Told(200, "{}"), unreadable + "no status success with data");
  EXPECT_EQ(Told(200, success("vector", "{}")), unreadable + "no result");
  EXPECT_EQ(Told(200, success("vector", "[1]")), unreadable + "a series is no object");
  EXPECT_EQ(Told(200, success("vector", "[{}]")), unreadable + "a series without samples");
  EXPECT_EQ(Told(200, success("vector", R"([{"value":[1,2]}])")),
            unreadable + "a sample is no [time, \"value\"]");
  EXPECT_EQ(Told(200, success("vector", R"([{"value":[1,"x"]}])")), unreadable + "a value is no number");
}

class Providers : public testing::Test {
 protected:
  Providers() {
    auto server = HttpServer::Listen(loop_.context, {.listen = "127.0.0.1:0"});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    server_->Handle("/api/v1/query", [this](const HttpRequest& request) {
      asked_ = request.query;
      return answer_;
    });
    server_->Handle("/measure", [this](const HttpRequest&) { return answer_; });
  }
  std::string base() const { return "http://" + server_->address(); }
  std::string AskPrometheus() {
    const PrometheusQuery query{.address = base(), .query = "up"};
    return Text(loop_.Await<json::value>(
        [&](auto done) { prometheus::Query(loop_.client, query, kNow, std::move(done)); }));
  }
  std::string Ask(const WebRequest& request) {
    return Text(loop_.Await<json::value>([&](auto done) { AskWeb(loop_.client, request, std::move(done)); }));
  }
  static std::string Text(const Result<json::value>& value) {
    return value.ok() ? ValueText(*value) : Message(value.status());
  }

  Loop loop_;
  std::unique_ptr<HttpServer> server_;
  HttpResponse answer_;
  std::string asked_;
};

TEST_F(Providers, PrometheusIsAskedAndItsAnswerTold) {
  answer_ = {.body = R"({"status":"success","data":{"resultType":"vector","result":[{"value":[1,"0.5"]}]}})"};
  EXPECT_EQ(AskPrometheus(), "[0.5]");
  EXPECT_EQ(asked_, "query=up&time=1700000000.250");
  answer_ = {.status = 500, .body = "no"};
  EXPECT_EQ(AskPrometheus(), "found HTTP status 500, expected 2xx");
  const auto bad = loop_.Await<json::value>(
      [&](auto done) { prometheus::Query(loop_.client, {.address = "no url"}, kNow, std::move(done)); });
  EXPECT_TRUE(Message(bad.status()).starts_with("address: "));
}

TEST_F(Providers, ASlowPrometheusIsAnErrorAfterItsTimeout) {
  RawServer silent(loop_.context, "");
  PrometheusQuery query{.address = silent.url(""), .query = "up", .timeout = std::chrono::seconds(1)};
  const auto value = loop_.Await<json::value>(
      [&](auto done) { prometheus::Query(loop_.client, query, kNow, std::move(done)); });
  EXPECT_EQ(value.status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(Providers, WebIsTypedAsJsonHasIt) {
  answer_ = {.content_type = "application/json",
             .body = R"({"data": {"ok": true, "successPercent": 0.95, "count": 3, "big": 18446744073709551615,
                         "name": "x", "list": [1, 2], "none": null}})"};
  const struct {
    std::string path, expected;
  } kCases[] = {{"{$.data.ok}", "true"},
                {"{$.data.successPercent}", "0.95"},
                {"{$.data.name}", "\"x\""},
                {"{$.data.list}", "[1,2]"},
                {"{$.data.none}", "null"},
                {"{$.data.big}", "18446744073709551616"},
                {"{$.none}", "jsonPath: no \"none\" at step 1 of the path"},
                {"{$..a}", "jsonPath: column 4: recursion (..) is not carried out by Weir"}};
  for (const auto& [path, expected] : kCases) {
    EXPECT_EQ(Ask({.url = base() + "/measure", .json_path = path}), expected) << path;
  }
  const auto count = loop_.Await<json::value>([&](auto done) {
    AskWeb(loop_.client, {.url = base() + "/measure", .json_path = "{$.data.count}"}, std::move(done));
  });
  ASSERT_TRUE(count.ok());
  EXPECT_TRUE(count->is_double()) << "Go reads every number as a float";
  Metric metric;
  metric.success = *Condition::Parse("result.ok && result.successPercent >= 0.90");
  const auto data = loop_.Await<json::value>([&](auto done) {
    AskWeb(loop_.client, {.url = base() + "/measure", .json_path = "{$.data}"}, std::move(done));
  });
  EXPECT_EQ(AssessValue(metric, *data).phase, Phase::kSuccessful);
}

TEST_F(Providers, WebErrors) {
  answer_ = {.status = 404, .body = "{}"};
  EXPECT_EQ(Ask({.url = base() + "/measure"}), "found HTTP status 404, expected 2xx");
  answer_ = {.body = ""};
  EXPECT_TRUE(Ask({.url = base() + "/measure"}).starts_with("the answer is not JSON: "));
  answer_ = {.body = std::string(100, '[') + std::string(100, ']')};
  EXPECT_TRUE(Ask({.url = base() + "/measure"}).starts_with("the answer is not JSON: ")) << "too deep";
  EXPECT_TRUE(Ask({.url = "measure"}).starts_with("url: found \"measure\""));
}

TEST_F(Providers, WebSendsMethodHeadersAndBody) {
  RawServer server(loop_.context, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
  EXPECT_EQ(Ask({.method = "PUT",
                 .url = server.url("/x"),
                 .headers = {{"A", "b"}},
                 .body = "{}",
                 .json_body = true,
                 .json_path = "{$.a}"}),
            "1");
  EXPECT_TRUE(server.request().starts_with("PUT /x HTTP/1.1\r\n")) << server.request();
  EXPECT_NE(server.request().find("A: b\r\n"), std::string::npos);
  EXPECT_NE(server.request().find("Content-Type: application/json\r\n"), std::string::npos);
}

}  // namespace
}  // namespace weir::analysis
