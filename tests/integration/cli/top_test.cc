#include <boost/json/parse.hpp>

#include "cli/table.h"
#include "tests/integration/cli/cli_fixture.h"

namespace weir::cli {
namespace {

/// shop/checkout at 20 %, the canary failing; 2 agents; rates over 10 s.
v1::FiguresResponse Checkout() {
  v1::FiguresResponse response;
  response.set_window_ms(10'000);
  response.set_nodes_connected(2);
  const auto add = [&](const char* revision, v1::Role role, uint32_t weight, uint64_t connections) {
    v1::Figures* figures = response.add_figures();
    figures->set_namespace_("shop");
    figures->set_service("checkout");
    figures->set_revision(revision);
    figures->set_role(role);
    figures->set_weight(weight);
    figures->set_weight_sum(100);
    figures->set_connections_observed(connections);
    figures->set_share_observed(static_cast<double>(connections) / 5000);
    return figures;
  };
  v1::Figures* stable = add("v1", v1::ROLE_STABLE, 80, 4000);
  stable->set_connections_per_second(96);
  stable->set_connections_active(12);
  stable->set_failed_ratio(0);
  stable->set_requests_per_second(1234.5);
  stable->set_server_error_ratio(0.0002);
  stable->set_latency_p50_ms(0.42);
  stable->set_latency_p99_ms(12.3);
  v1::Figures* canary = add("v2", v1::ROLE_CANARY, 20, 1000);
  canary->set_connections_per_second(24);
  canary->set_connections_active(3);
  canary->set_failed_ratio(0.004);
  canary->set_requests_per_second(12'345);
  canary->set_server_error_ratio(0.25);
  canary->set_latency_p50_ms(1.25);
  canary->set_latency_p99_ms(2100);
  return response;
}

/// A service without HTTP, undivided, not dialled yet.
void AddIdle(v1::FiguresResponse& response) {
  v1::Figures* figures = response.add_figures();
  figures->set_namespace_("shop");
  figures->set_service("redis");
  figures->set_weight(1);
  figures->set_weight_sum(1);
  for (auto set : {&v1::Figures::set_share_observed, &v1::Figures::set_failed_ratio,
                   &v1::Figures::set_server_error_ratio, &v1::Figures::set_latency_p50_ms,
                   &v1::Figures::set_latency_p99_ms}) {
    (figures->*set)(-1);
  }
}

class TopTest : public CliTest {
 protected:
  TopTest() {
    UseServer(service_);
    service_.figures = {Checkout()};
    AddIdle(service_.figures[0]);
  }
  FakeWeirService service_;
};

TEST_F(TopTest, OnceIsOneTable) {
  const Output output = Run({"top", "--once", "-n", "shop"});
  EXPECT_EQ(output.code, 0) << output.err;
  EXPECT_EQ(output.out,
            "SERVICE   REVISION  ROLE      WEIGHT  CONN/S  ACTIVE  FAIL%  REQ/S   5XX%    P50   P99\n"
            "checkout  v1        stable  80/80.0%    96.0      12   0.0%   1234  <0.1%  420us  12ms\n"
            "          v2        canary  20/20.0%    24.0       3   0.4%  12.3k  25.0%  1.2ms  2.1s\n"
            "redis     -         -          100/-       0       0      -      -      -      -     -\n");
  EXPECT_EQ(output.err, "");
  EXPECT_EQ(service_.figures_asked.namespace_(), "shop");
  EXPECT_EQ(service_.figures_asked.window_seconds(), 10);
}

TEST_F(TopTest, OnceWaitsForRates) {
  v1::FiguresResponse early = Checkout();
  early.set_window_ms(0);
  for (auto& figures : *early.mutable_figures()) figures.set_connections_per_second(0);
  service_.figures.insert(service_.figures.begin(), {early, early});
  EXPECT_NE(Run({"top", "--once"}).out.find("96.0"), std::string::npos);
  // In vain: what there is, after the call's time.
  service_.figures = {early};
  const Output output = Run({"top", "--once", "--request-timeout", "200ms"});
  EXPECT_EQ(output.code, 0) << output.err;
  EXPECT_NE(output.out.find("20/20.0%"), std::string::npos);
  // Without an agent there is nothing to wait for.
  early.set_nodes_connected(0);
  service_.figures = {early};
  EXPECT_EQ(Run({"top", "--once", "--request-timeout", "1h"}).code, 0);
}

TEST_F(TopTest, FlagsReachTheController) {
  Run({"top", "checkout", "-A", "--once", "--interval", "250ms", "--window", "1m"});
  EXPECT_EQ(service_.figures_asked.namespace_(), "");
  EXPECT_EQ(service_.figures_asked.service(), "checkout");
  EXPECT_EQ(service_.figures_asked.interval_ms(), 250);
  EXPECT_EQ(service_.figures_asked.window_seconds(), 60);
  EXPECT_EQ(Run({"top", "--interval", "1ms"}).code, 1);
  EXPECT_EQ(Run({"top", "--window", "2m"}).err, "weirctl: --window 2m: expected 1000 to 60000 ms\n");
}

TEST_F(TopTest, WithoutATerminalTablesFollowEachOther) {
  service_.figures = {Checkout(), Checkout()};
  service_.end_of_watch = {grpc::StatusCode::NOT_FOUND, "no service checkout in namespace shop"};
  const Output output = Run({"top", "checkout", "-n", "shop"});
  EXPECT_EQ(output.code, 1);
  EXPECT_EQ(output.err, "weirctl: no service checkout in namespace shop\n");
  EXPECT_EQ(output.out.find('\x1b'), std::string::npos);
  const size_t second = output.out.find("\n\nSERVICE");
  ASSERT_NE(second, std::string::npos) << output.out;
  EXPECT_EQ(output.out.substr(0, second + 1), output.out.substr(second + 2));
}

TEST_F(TopTest, OnATerminalItRedrawsInPlaceAndWarnsInColour) {
  service_.figures = {Checkout(), Checkout()};
  service_.end_of_watch = {grpc::StatusCode::PERMISSION_DENIED, "no more for you"};
  terminal_ = true;
  columns_ = 120;
  const Output output = Run({"top", "-n", "shop"});
  EXPECT_NE(output.out.find("shop · 2 agents · rates over 10 s"), std::string::npos) << output.out;
  EXPECT_NE(output.out.find("\x1b[4F\x1b[J"), std::string::npos) << "title, header and two rows";
  EXPECT_NE(output.out.find("\x1b[31m25.0%"), std::string::npos) << "many errors are red";
  EXPECT_NE(output.out.find("\x1b[33m0.4%"), std::string::npos) << "some are yellow";
  variables_["NO_COLOR"] = "1";
  EXPECT_EQ(Run({"top", "-n", "shop"}).out.find("\x1b[31m"), std::string::npos);
}

TEST_F(TopTest, NoLineIsWiderThanTheTerminal) {
  for (auto& figures : *service_.figures[0].mutable_figures()) {
    figures.set_service("checkout-with-a-name-that-is-long");
    figures.set_revision("7d4b9c6f5d");
  }
  terminal_ = true;
  variables_["NO_COLOR"] = "1";
  for (const bool all : {false, true}) {
    for (const int columns : {60, 80, 100, 120}) {
      columns_ = columns;
      std::istringstream lines(Run({"top", "--once", all ? "-A" : "-nshop"}).out);
      int count = 0;
      for (std::string line; std::getline(lines, line); ++count)
        EXPECT_LE(DisplayWidth(line), static_cast<size_t>(columns)) << line;
      EXPECT_EQ(count, 4);
    }
  }
  columns_ = 80;
  EXPECT_NE(Run({"top", "--once", "-n", "shop"}).out.find("checkout-with-a-name-that-is-…"),
            std::string::npos)
      << Run({"top", "--once", "-n", "shop"}).out;
}

TEST_F(TopTest, ADeviationIsMarked) {
  terminal_ = true;
  columns_ = 120;
  EXPECT_EQ(Run({"top", "--once"}).out.find("\x1b[33m20/20.0%"), std::string::npos);
  service_.figures[0].mutable_figures(1)->set_connections_observed(1003);
  service_.figures[0].mutable_figures(1)->set_share_observed(1003.0 / 5000);
  EXPECT_NE(Run({"top", "--once"}).out.find("\x1b[33m20/20.1%"), std::string::npos)
      << "two nodes are off by less than two connections together";
}

TEST_F(TopTest, JsonHasPlainNumbers) {
  service_.figures = {Checkout(), Checkout()};
  service_.end_of_watch = {grpc::StatusCode::PERMISSION_DENIED, "no more for you"};
  std::istringstream lines(Run({"top", "-A", "-o", "json"}).out);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_NE(line.find("\"latencyP50Ms\":0.42"), std::string::npos) << line;
    const auto document = boost::json::parse(line).as_object();
    EXPECT_EQ(document.at("windowMs").as_int64(), 10'000);
    const auto& figures = document.at("figures").as_array();
    EXPECT_EQ(figures.at(1).at("role").as_string(), "canary");
    EXPECT_EQ(figures.at(1).at("serverErrorRatio").as_double(), 0.25);
  }
  EXPECT_EQ(count, 2);
  EXPECT_NE(Run({"top", "--once", "-o", "json"}).out.find("  \"windowMs\": 10000,\n"), std::string::npos);
}

TEST_F(TopTest, NothingToShowIsSaid) {
  service_.figures = {v1::FiguresResponse()};
  const Output output = Run({"top", "--once"});
  EXPECT_EQ(output.code, 0);
  EXPECT_EQ(output.out, "");
  EXPECT_EQ(output.err, "No services found.\n");
}

}  // namespace
}  // namespace weir::cli
