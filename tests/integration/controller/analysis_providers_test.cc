// Providers in trouble, and blueGreen's two places: before the flip and after it.
#include "tests/integration/controller/analysis_fixture.h"

namespace weir::testing {
namespace {

/// A Prometheus that is out of order, and what comes of it.
struct Trouble {
  const char* name;
  std::string answer;  // all bytes; empty: none ever; "down": nobody listens
  const char* condition;
  const char* phase;    // of the rollout
  const char* message;  // part of it
};

std::string Vector(const std::string& values) {
  return Answers::Response("{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[" +
                           values + "]}}");
}
std::string Sample(const std::string& value) { return "{\"metric\":{},\"value\":[1,\"" + value + "\"]}"; }

TEST_F(AnalysisTest, APrometheusInTroubleIsToldAsItIs) {
  const char* const plain = "result[0] >= 0.95";
  const Trouble troubles[] = {
      {"down", "down", plain, "Degraded",
       "Error: metric rate Error: consecutiveErrors (3) > consecutiveErrorLimit (2), "
       "last http://127.0.0.1:"},
      {"slow", "", plain, "Degraded", "no answer within 1000 ms"},
      {"wrong", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", plain, "Degraded",
       "consecutiveErrors (3)"},
      {"refusing", "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", plain, "Degraded",
       "503"},
      {"NaN fails", Vector(Sample("NaN")), plain, "Degraded",
       "Failed: metric rate Failed: failed (1) > failureLimit (0), last value [NaN]"},
      {"NaN is provided for", Vector(Sample("NaN")), "isNaN(result[0]) || result[0] >= 0.95", "Healthy", ""},
      {"empty is an error", Vector(""), plain, "Degraded", "consecutiveErrors (3)"},
      {"empty is provided for", Vector(""), "len(result) == 0 || result[0] >= 0.95", "Healthy", ""},
      {"too low", Vector(Sample("0.9")), plain, "Degraded", "last value [0.9]"},
      {"well", Vector(Sample("0.99")), plain, "Healthy", ""},
  };
  const std::string steps = "[{setWeight: 20}, {analysis: {templates: [{templateName: rate}]}}]";
  Node a("a", controller_->port());
  Apply({TemplateYaml("rate",
                      "{name: rate, provider: {prometheus: {address: 'http://127.0.0.1:1', query: up}}}")});
  Stable(RolloutYaml("v1", steps));
  std::string stable = "v1", canary = "v2";
  bool aborted = false;
  for (const Trouble& trouble : troubles) {
    SCOPED_TRACE(trouble.name);
    const bool down = trouble.answer == "down";
    auto server = std::make_unique<Answers>(down ? "" : trouble.answer, Answers::Raw());
    std::string url = server->url();
    url.pop_back();  // the path
    if (down) server.reset();
    Apply({TemplateYaml(
        "rate", "{name: rate, interval: 200ms, count: 2, consecutiveErrorLimit: 2, successCondition: '" +
                    std::string(trouble.condition) + "', provider: {prometheus: {address: '" + url +
                    "', query: up, timeout: 1}}}")});
    if (aborted) {
      v1::Rollout rollout;
      ASSERT_TRUE(client_->Call(&v1::WeirService::Stub::Retry, Client::Checkout(), &rollout).ok());
    } else {
      Apply({RolloutYaml(canary, steps)});
    }
    ASSERT_TRUE(client_->Watch(
        [&](const v1::Rollout& r) {
          return r.phase() == trouble.phase && (r.phase() != "Healthy" || r.stable_revision() == canary);
        },
        30s))
        << client_->Get().DebugString();
    aborted = std::string(trouble.phase) == "Degraded";
    if (aborted) {
      EXPECT_NE(client_->Get().message().find(trouble.message), std::string::npos)
          << client_->Get().message();
    } else {
      std::swap(stable, canary);
    }
  }
  EXPECT_TRUE(client_->Get().analyses().empty());
}

std::string BlueGreenYaml(const std::string& revision, const std::string& more) {
  return "apiVersion: weir.dev/v1alpha1\nkind: Rollout\nmetadata: {name: checkout, namespace: shop}\nspec:\n"
         "  revision: " +
         revision + "\n  strategy:\n    blueGreen: {activeService: checkout, previewService: preview" + more +
         "}\n";
}

TEST_F(AnalysisTest, BlueGreenIsJudgedAtItsPreviewBeforeTheFlip) {
  const std::string pre = ", prePromotionAnalysis: {templates: [{templateName: weir-success-rate}]}";
  Node a("a", controller_->port());
  Apply({HttpServiceYaml("preview", "127.96.0.2")});
  Stable(BlueGreenYaml("v1", pre));
  a.Serve("v1", {40, 0});
  Apply({BlueGreenYaml("v2", pre)});
  a.Serve("v2", {10, 10}, "preview");
  ASSERT_TRUE(Becomes("Degraded"));
  const v1::Rollout rollout = client_->Get();
  EXPECT_NE(rollout.message().find("analysis before promotion Failed: metric errors Failed: canary "),
            std::string::npos)
      << rollout.message();
  EXPECT_EQ(rollout.active_revision(), "v1");
  EXPECT_EQ(Runs().at(0).where(), "prePromotion");
}

TEST_F(AnalysisTest, BlueGreenGoesBackIfItIsWorseAfterTheFlip) {
  const std::string post =
      ", postPromotionAnalysis: {templates: [{templateName: weir-success-rate}]}, scaleDownDelaySeconds: 600";
  Node a("a", controller_->port());
  Apply({HttpServiceYaml("preview", "127.96.0.2")});
  Stable(BlueGreenYaml("v1", post));
  a.Serve("v1", {40, 0});
  // Some of the past to compare with.
  ASSERT_TRUE(client_->WatchFigures([](const v1::FiguresResponse& r) {
    for (const auto& figures : r.figures()) {
      if (figures.revision() == "v1" && figures.requests_per_second() > 0 && r.window_ms() >= 3000)
        return true;
    }
    return false;
  }));
  Apply({BlueGreenYaml("v2", post)});
  ASSERT_TRUE(client_->Watch([](const v1::Rollout& r) { return r.active_revision() == "v2"; }));
  a.Serve("v1", {0, 0});
  a.Serve("v2", {40, 20});
  ASSERT_TRUE(Becomes("Degraded"));
  const v1::Rollout rollout = client_->Get();
  EXPECT_NE(rollout.message().find("analysis after promotion Failed: metric errors Failed: canary "),
            std::string::npos)
      << rollout.message();
  EXPECT_EQ(rollout.active_revision(), "v1");
  EXPECT_EQ(rollout.stable_revision(), "v1");
}

}  // namespace
}  // namespace weir::testing
