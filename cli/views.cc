#include "cli/views.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "common/net.h"
#include "common/role.h"

namespace weir::cli {
namespace {

constexpr uint32_t kPercent = 100;
constexpr double kLeastRatio = 0.0005;  // is shown as 0.1 %
constexpr double kManyErrors = 0.01;    // are red

std::vector<std::string> WithNamespace(std::vector<std::string> header, const ViewOptions& options) {
  if (options.with_namespace) header.insert(header.begin(), "NAMESPACE");
  return header;
}

Row WithNamespace(Row row, const std::string& namespace_name, const ViewOptions& options) {
  if (options.with_namespace) row.insert(row.begin(), Cell{namespace_name});
  return row;
}

void Append(Row& row, std::initializer_list<Cell> cells) { row.insert(row.end(), cells); }

std::string Joined(const google::protobuf::RepeatedPtrField<std::string>& words, std::string_view separator) {
  return fmt::format("{}", fmt::join(words, separator));
}

template <typename Value>
std::string PerVariant(const google::protobuf::RepeatedPtrField<v1::VariantStatus>& variants, Value value) {
  std::vector<std::string> parts;
  for (const v1::VariantStatus& variant : variants) {
    parts.push_back(fmt::format("{}={}", variant.revision(), value(variant)));
  }
  return fmt::format("{}", fmt::join(parts, " "));
}

uint64_t ConnectionsOf(const google::protobuf::RepeatedPtrField<v1::VariantStatus>& variants) {
  uint64_t sum = 0;
  for (const v1::VariantStatus& variant : variants) sum += variant.connections_observed();
  return sum;
}

/// "20.0%", "<0.1%"; "" for a ratio of nothing (-1).
std::string PercentText(double ratio) {
  if (ratio < 0) return "";
  if (ratio > 0 && ratio < kLeastRatio) return "<0.1%";
  return fmt::format("{:.1f}%", ratio * kPercent);
}

/// "0", "2.5", "120", "12.3k", "4.5M".
std::string RateText(double rate) {
  if (rate == 0) return "0";
  if (rate < 99.95) return fmt::format("{:.1f}", rate);
  if (rate < 9'999.5) return fmt::format("{:.0f}", rate);
  if (rate < 999'950) return fmt::format("{:.1f}k", rate / 1e3);
  return fmt::format("{:.1f}M", rate / 1e6);
}

/// "420us", "1.2ms", "35ms", "2.1s"; "" for none (-1).
std::string LatencyText(double ms) {
  if (ms < 0) return "";
  if (ms < 0.9995) return fmt::format("{:.0f}us", ms * 1000);
  if (ms < 9.95) return fmt::format("{:.1f}ms", ms);
  if (ms < 999.5) return fmt::format("{:.0f}ms", ms);
  return fmt::format("{:.1f}s", ms / 1000);
}

Color ErrorColor(double ratio) {
  if (ratio >= kManyErrors) return Color::kRed;
  return ratio > 0 ? Color::kYellow : Color::kNone;
}

/// "20/20.0%": wanted, observed; "20/-" before the first connection.
std::string WantedAndObserved(const v1::Figures& figures) {
  if (figures.weight_sum() == 0) return "";
  const double wanted = static_cast<double>(figures.weight()) / figures.weight_sum() * kPercent;
  // At most one digit behind the point, and none where it would be 0.
  std::string text = fmt::format("{:.1f}", wanted);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  const std::string observed = PercentText(figures.share_observed());
  return fmt::format("{}/{}", text, observed.empty() ? "-" : observed);
}

/// Every node is exact to less than a connection, so all together are to less than one per node.
bool Deviates(const v1::Figures& figures, uint32_t nodes) {
  if (figures.share_observed() <= 0 || figures.weight_sum() == 0) return false;
  const auto counted = static_cast<double>(figures.connections_observed());
  const double all = counted / figures.share_observed();
  return std::abs(counted - all * figures.weight() / figures.weight_sum()) > std::max(1U, nodes);
}

std::string ShareText(const google::protobuf::RepeatedPtrField<v1::VariantStatus>& variants) {
  const double all = static_cast<double>(ConnectionsOf(variants));
  if (all == 0) return "";
  return PerVariant(variants, [&](const auto& variant) {
    return PercentText(static_cast<double>(variant.connections_observed()) / all);
  });
}

std::string Fraction(uint64_t part, uint64_t whole) { return fmt::format("{}/{}", part, whole); }

Color EndpointColor(uint32_t ready) { return ready == 0 ? Color::kRed : Color::kNone; }

}  // namespace

Color PhaseColor(const std::string& phase) {
  if (phase == "Healthy") return Color::kGreen;
  if (phase == "Paused") return Color::kYellow;
  if (phase == "Progressing") return Color::kBlue;
  return Color::kRed;
}

std::string WeightText(uint32_t weight, uint32_t max_weight) {
  return max_weight == kPercent ? fmt::format("{}%", weight) : Fraction(weight, max_weight);
}

std::string StepText(const v1::Rollout& rollout) {
  const auto steps = static_cast<uint32_t>(rollout.steps_size());
  if (steps == 0) return "";
  return Fraction(std::min(rollout.current_step_index(), steps), steps);
}

std::string Summary(const v1::Rollout& rollout) {
  std::string text = rollout.phase();
  const auto index = static_cast<int>(rollout.current_step_index());
  if (rollout.phase() != "Healthy" && index < rollout.steps_size()) {
    text += fmt::format(", step {} ({})", StepText(rollout), rollout.steps(index).text());
  }
  if (!rollout.canary_revision().empty()) {
    text += fmt::format(", {} at {}", rollout.canary_revision(),
                        WeightText(rollout.canary_weight(), rollout.max_weight()));
  } else if (!rollout.stable_revision().empty()) {
    text += fmt::format(", all traffic to {}", rollout.stable_revision());
  }
  return text;
}

std::string AgeText(int64_t milliseconds) {
  const int64_t seconds = std::max<int64_t>(0, milliseconds / 1000);
  if (seconds < 120) return fmt::format("{}s", seconds);
  if (seconds < 120 * 60) return fmt::format("{}m", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{}h", seconds / 3600);
  return fmt::format("{}d", seconds / 86400);
}

std::string FrontendText(const v1::FrontendKey& key) {
  const auto address = IpAddress::FromBytes(key.address());
  const std::string place = address ? ToString(SocketAddress{*address, static_cast<uint16_t>(key.port())})
                                    : fmt::format("?:{}", key.port());
  return fmt::format("{}/{}", place, key.protocol() == v1::PROTOCOL_UDP ? "UDP" : "TCP");
}

std::vector<std::string> RolloutHeader(const ViewOptions& options) {
  std::vector<std::string> header{"NAME",   "PHASE", "STEP",       "WEIGHT",  "REVISION",
                                  "STABLE", "NODES", "GENERATION", "UPDATED", "MESSAGE"};
  if (options.wide) header.insert(header.end(), {"SERVICE", "OBSERVED", "BEHIND", "REFUSING", "ENDED"});
  return WithNamespace(std::move(header), options);
}

Row RolloutRow(const v1::Rollout& rollout, const ViewOptions& options) {
  const bool all_acked = rollout.nodes_acked() >= rollout.nodes_desired();
  Row row{
      {rollout.name(), Color::kBold},
      {rollout.phase(), PhaseColor(rollout.phase())},
      {StepText(rollout)},
      {WeightText(rollout.canary_weight(), rollout.max_weight())},
      {rollout.revision()},
      {rollout.stable_revision()},
      {Fraction(rollout.nodes_acked(), rollout.nodes_desired()), all_acked ? Color::kNone : Color::kYellow},
      {std::to_string(rollout.generation())},
      {rollout.updated_unix_ms() == 0 ? "" : AgeText(options.now_unix_ms - rollout.updated_unix_ms())},
      {rollout.message()}};
  if (options.wide) {
    Append(row, {{rollout.service()},
                 {PerVariant(rollout.variants(), [](const auto& v) { return v.connections_observed(); })},
                 {Joined(rollout.nodes_behind(), ","), Color::kYellow},
                 {Joined(rollout.nodes_refusing(), "; "), Color::kRed},
                 {rollout.has_ended() ? rollout.ended().text() : ""}});
  }
  return WithNamespace(std::move(row), rollout.namespace_(), options);
}

std::vector<std::string> SplitHeader(const ViewOptions& options) {
  std::vector<std::string> header{"SERVICE", "PORT", "ADDRESS", "SOURCE", "WEIGHTS", "OBSERVED"};
  if (options.wide) header.insert(header.end(), {"CONNECTIONS", "READY", "ROLES", "NODES"});
  return WithNamespace(std::move(header), options);
}

Row SplitRow(const v1::Split& split, const ViewOptions& options) {
  Row row{{split.service(), Color::kBold},
          {split.port_name()},
          {split.consumer_namespace().empty()
               ? FrontendText(split.key())
               : fmt::format("{} from {}", FrontendText(split.key()), split.consumer_namespace())},
          {split.source()},
          {PerVariant(split.variants(), [](const auto& v) { return v.weight(); })},
          {ShareText(split.variants())}};
  if (options.wide) {
    std::vector<std::string> nodes;
    for (const v1::NodeSplit& node : split.nodes()) {
      const uint64_t connections = ConnectionsOf(node.variants());
      nodes.push_back(fmt::format("{}: {}{}of {}", node.node(), ShareText(node.variants()),
                                  connections == 0 ? "" : " ", connections));
    }
    Append(row,
           {{PerVariant(split.variants(), [](const auto& v) { return v.connections_observed(); })},
            {PerVariant(split.variants(),
                        [](const auto& v) { return Fraction(v.endpoints_ready(), v.endpoints_total()); })},
            {PerVariant(split.variants(), [](const auto& v) { return RoleWord(v.role()); })},
            {fmt::format("{}", fmt::join(nodes, "; "))}});
  }
  return WithNamespace(std::move(row), split.namespace_(), options);
}

std::vector<std::string> FiguresHeader(bool with_namespace) {
  return WithNamespace(
      {"SERVICE", "REVISION", "ROLE", "WEIGHT", "CONN/S", "ACTIVE", "FAIL%", "REQ/S", "5XX%", "P50", "P99"},
      {.with_namespace = with_namespace});
}

size_t FiguresTextColumns(bool with_namespace) { return with_namespace ? 4 : 3; }

std::vector<std::string> FiguresDispensable(bool with_namespace) {
  std::vector<std::string> titles{"P50", "ACTIVE", "ROLE"};
  if (with_namespace) titles.insert(titles.begin() + 2, "CONN/S");
  return titles;
}

Row FiguresRow(const v1::Figures& figures, const v1::Figures* before, const v1::FiguresResponse& response,
               bool with_namespace) {
  const bool same_namespace = before != nullptr && before->namespace_() == figures.namespace_();
  const bool same_service = same_namespace && before->service() == figures.service();
  const Color role = figures.role() == v1::ROLE_CANARY        ? Color::kYellow
                     : figures.role() == v1::ROLE_UNSPECIFIED ? Color::kDim
                                                              : Color::kNone;
  const bool http = figures.latency_p50_ms() >= 0 || figures.requests_per_second() > 0;
  Row row{{same_service ? " " : figures.service(), Color::kBold},
          {figures.revision(), role},
          {std::string(RoleWord(figures.role())), role},
          {WantedAndObserved(figures),
           Deviates(figures, response.nodes_connected()) ? Color::kYellow : Color::kNone},
          {RateText(figures.connections_per_second())},
          {std::to_string(figures.connections_active())},
          {PercentText(figures.failed_ratio()), ErrorColor(figures.failed_ratio())},
          {http ? RateText(figures.requests_per_second()) : ""},
          {PercentText(figures.server_error_ratio()), ErrorColor(figures.server_error_ratio())},
          {LatencyText(figures.latency_p50_ms())},
          {LatencyText(figures.latency_p99_ms())}};
  return WithNamespace(std::move(row), same_namespace ? " " : figures.namespace_(),
                       {.with_namespace = with_namespace});
}

std::vector<std::string> NodeHeader(const ViewOptions& options) {
  std::vector<std::string> header{"NAME", "NUMBER", "CONNECTED", "GENERATION", "AGENT", "SEEN", "REFUSES"};
  if (options.wide) header.insert(header.end(), {"KERNEL", "ABILITIES", "TAKEN OUT", "LEFT OUT"});
  return header;
}

Row NodeRow(const v1::Node& node, const ViewOptions& options) {
  const bool current = node.generation_acked() == node.generation_sent();
  Row row{
      {node.name(), Color::kBold},
      {std::to_string(node.number())},
      {node.connected() ? "yes" : "no", node.connected() ? Color::kGreen : Color::kRed},
      {Fraction(node.generation_acked(), node.generation_sent()), current ? Color::kNone : Color::kYellow},
      {node.agent_version()},
      {node.last_seen_unix_ms() == 0 ? "" : AgeText(options.now_unix_ms - node.last_seen_unix_ms())},
      {node.nack_reason(), Color::kRed}};
  if (options.wide) {
    Append(row, {{node.kernel_release()},
                 {Joined(node.abilities(), ",")},
                 {Joined(node.taken_out(), "; "), Color::kRed},
                 {Joined(node.left_out(), "; "), Color::kYellow}});
  }
  return row;
}

std::vector<std::string> ServiceHeader(const ViewOptions& options) {
  return WithNamespace({"NAME", "ADDRESSES", "ENDPOINTS", "SPLIT"}, options);
}

Row ServiceRow(const v1::ServiceInfo& service, const ViewOptions& options) {
  std::vector<std::string> frontends;
  for (const v1::FrontendKey& key : service.frontends()) frontends.push_back(FrontendText(key));
  Row row{{service.name(), Color::kBold},
          {fmt::format("{}", fmt::join(frontends, ","))},
          {Fraction(service.endpoints_ready(), service.endpoints_total()),
           EndpointColor(service.endpoints_ready())},
          {service.split()}};
  return WithNamespace(std::move(row), service.namespace_(), options);
}

std::vector<std::string> WebhookHeader(const ViewOptions& options) {
  return WithNamespace({"NAME", "SERVER", "EVENTS", "SIGNED", "DELIVERED", "RETRIED", "FAILED", "DROPPED",
                        "WAITING", "LAST ERROR"},
                       options);
}

Row WebhookRow(const v1::WebhookStatus& webhook, const ViewOptions& options) {
  std::string error = webhook.last_error();
  if (!error.empty()) {
    error = fmt::format("{} ({} ago)", error,
                        AgeText(std::max<int64_t>(0, options.now_unix_ms - webhook.last_error_unix_ms())));
  }
  const auto bad = [](uint64_t count) { return count > 0 ? Color::kRed : Color::kNone; };
  Row row{{webhook.name(), Color::kBold},
          {webhook.server()},
          {fmt::format("{}", fmt::join(webhook.events(), ","))},
          {webhook.signed_() ? "yes" : "no"},
          {std::to_string(webhook.delivered())},
          {std::to_string(webhook.retried())},
          {std::to_string(webhook.failed()), bad(webhook.failed())},
          {std::to_string(webhook.dropped()), bad(webhook.dropped())},
          {std::to_string(webhook.waiting())},
          {error}};
  return WithNamespace(std::move(row), webhook.namespace_(), options);
}

}  // namespace weir::cli
