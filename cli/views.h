// API messages as table rows and sentences.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/table.h"
#include "weir/v1/rollouts.pb.h"

namespace weir::cli {

struct ViewOptions {
  bool wide = false;
  bool with_namespace = false;  // a NAMESPACE column first
  int64_t now_unix_ms = 0;      // for ages
};

Color PhaseColor(const std::string& phase);
/// "20%" of the usual maximum of 100, else "5/1000".
std::string WeightText(uint32_t weight, uint32_t max_weight);
/// "1/4": the steps done (the index of the present one) and how many there are, as Argo Rollouts shows it; ""
/// without.
std::string StepText(const v1::Rollout& rollout);
/// "Paused, step 1/4 (pause), v2 at 20%".
std::string Summary(const v1::Rollout& rollout);
/// "12s", "5m", "3h", "2d".
std::string AgeText(int64_t milliseconds);
/// "127.96.0.1:80/TCP"
std::string FrontendText(const v1::FrontendKey& key);

std::vector<std::string> RolloutHeader(const ViewOptions& options);
Row RolloutRow(const v1::Rollout& rollout, const ViewOptions& options);

std::vector<std::string> SplitHeader(const ViewOptions& options);
Row SplitRow(const v1::Split& split, const ViewOptions& options);

/// What every revision does. `before` is the row above (or null): a service's name is shown once.
std::vector<std::string> FiguresHeader(bool with_namespace);
Row FiguresRow(const v1::Figures& figures, const v1::Figures* before, const v1::FiguresResponse& response,
               bool with_namespace);
/// How many columns are text; the others are numbers.
size_t FiguresTextColumns(bool with_namespace);
/// Columns that a narrow terminal does without, those to go first before the others.
std::vector<std::string> FiguresDispensable(bool with_namespace);

std::vector<std::string> NodeHeader(const ViewOptions& options);
Row NodeRow(const v1::Node& node, const ViewOptions& options);

std::vector<std::string> ServiceHeader(const ViewOptions& options);
Row ServiceRow(const v1::ServiceInfo& service, const ViewOptions& options);

std::vector<std::string> WebhookHeader(const ViewOptions& options);
Row WebhookRow(const v1::WebhookStatus& webhook, const ViewOptions& options);

}  // namespace weir::cli
