// Runs weirctl inside the test process, with an environment of the test's own.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "cli/cli.h"
#include "tests/integration/cli/fake_weir_service.h"

namespace weir::cli {

struct Output {
  int code = -1;
  std::string out;
  std::string err;
};

/// shop/checkout in the middle of its rollout: paused at step 1 of 4 with 20 % on v2.
inline v1::Rollout PausedCheckout() {
  v1::Rollout rollout;
  rollout.set_namespace_("shop");
  rollout.set_name("checkout");
  rollout.set_service("checkout");
  rollout.set_phase("Paused");
  rollout.set_revision("v2");
  rollout.set_stable_revision("v1");
  rollout.set_canary_revision("v2");
  rollout.set_current_step_index(1);
  for (const char* step : {"setWeight: 20", "pause", "setWeight: 50", "pause: 10s"}) {
    rollout.add_steps()->set_text(step);
  }
  rollout.set_canary_weight(20);
  rollout.set_max_weight(100);
  rollout.set_generation(7);
  rollout.set_nodes_desired(2);
  rollout.set_nodes_acked(2);
  rollout.set_pause_remaining_ms(-1);
  rollout.set_paused(true);
  rollout.set_updated_unix_ms(1'000'000);
  const auto add = [&](const char* revision, v1::Role role, uint32_t weight, uint64_t observed) {
    v1::VariantStatus* variant = rollout.add_variants();
    variant->set_revision(revision);
    variant->set_role(role);
    variant->set_weight(weight);
    variant->set_endpoints_ready(1);
    variant->set_endpoints_total(1);
    variant->set_connections_observed(observed);
  };
  add("v1", v1::ROLE_STABLE, 80, 400);
  add("v2", v1::ROLE_CANARY, 20, 100);
  return rollout;
}

inline v1::Rollout HealthyCheckout() {
  v1::Rollout rollout = PausedCheckout();
  rollout.set_phase("Healthy");
  rollout.set_paused(false);
  rollout.set_stable_revision("v2");
  rollout.clear_canary_revision();
  rollout.set_current_step_index(4);
  rollout.set_canary_weight(0);
  rollout.set_generation(10);
  return rollout;
}

class CliTest : public ::testing::Test {
 protected:
  Output Run(std::vector<std::string> arguments) {
    std::istringstream in(input_);
    std::ostringstream out;
    std::ostringstream err;
    Environment environment{
        .in = in,
        .out = out,
        .err = err,
        .out_is_terminal = terminal_,
        .variable = [this](const std::string& name) -> std::optional<std::string> {
          const auto it = variables_.find(name);
          return it == variables_.end() ? std::nullopt : std::optional<std::string>(it->second);
        },
        .terminal_size = [this] { return TerminalSize{.rows = 24, .columns = columns_}; },
        .now_unix_ms = [] { return int64_t{1'090'000}; },
        .program = program_,
    };
    const int code = cli::Run(arguments, environment);
    return {code, out.str(), err.str()};
  }

  void UseServer(const FakeWeirService& service) { variables_["WEIR_SERVER"] = service.address(); }

  std::string input_;
  bool terminal_ = false;
  int columns_ = 80;
  std::string program_ = "weirctl";
  std::map<std::string, std::string> variables_;
};

}  // namespace weir::cli
