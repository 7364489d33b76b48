#include "controller/app/endings.h"

#include <algorithm>
#include <set>

namespace weir::app {
namespace {

/// An agent that says this answers orders, if only with the reason why it cannot carry them out.
constexpr std::string_view kUnderstands = "end_orders";

bool Understands(const dispatch::Node& node) {
  return std::find(node.abilities.begin(), node.abilities.end(), kUnderstands) != node.abilities.end();
}

std::string CauseOf(const engine::Ending& ending) { return ending.completed ? "complete" : "abort"; }

}  // namespace

std::string EndOrderId(const ObjectKey& rollout, const engine::Ending& ending) {
  return fmt::format("{}/{}/{}@{}.{}", rollout.ns, rollout.name, ending.revision, ending.generation,
                     ending.number);
}

std::vector<Endings::Standing> Endings::StandingOrders() const {
  std::vector<Standing> standing;
  for (const auto& [key, entry] : core_.rollouts()) {
    if (!entry.state.ending || !entry.state.ending->ordered) continue;
    const engine::Ending& ending = *entry.state.ending;
    const std::string& service = core_.objects().rollouts.at(key).service;
    Standing& one = standing.emplace_back(Standing{key, &ending, {}});
    one.order.set_id(EndOrderId(key, ending));
    one.order.set_generation(ending.generation);
    one.order.set_namespace_(key.ns);
    one.order.set_service(service);
    one.order.set_revision(ending.revision);
    const auto frontends = core_.frontends().find({key.ns, service});
    if (frontends == core_.frontends().end()) continue;
    for (const auto& [id, frontend] : frontends->second) *one.order.add_frontends() = frontend.key();
  }
  return standing;
}

void Endings::Load() {
  for (const auto& [key, entry] : core_.rollouts()) {
    if (!entry.state.ending || !entry.state.ending->ordered) continue;
    counted_[key] = {EndOrderId(key, *entry.state.ending), SumOf(*entry.state.ending).connections};
  }
}

void Endings::Changed(const ObjectKey& rollout) {
  const auto entry = core_.rollouts().find(rollout);
  if (entry == core_.rollouts().end()) {
    counted_.erase(rollout);
  } else if (const auto& ending = entry->second.state.ending; ending && ending->ordered) {
    const std::string id = EndOrderId(rollout, *ending);
    auto& [counted_id, counted] = counted_[rollout];
    if (counted_id != id) {
      counted_id = id;
      counted = 0;
    }
    const uint64_t sum = SumOf(*ending).connections;
    uint64_t& total = totals_[{rollout.ns, rollout.name, ending->revision, CauseOf(*ending)}];
    total += sum - std::min(sum, counted);
    counted = std::max(sum, counted);
  }
  Look();
}

void Endings::Look() {
  const std::vector<Standing> standing = StandingOrders();
  // Nearly always: nothing stands, nothing stood, and nobody has come.
  const uint64_t connects = dispatcher_.counters().connects;
  if (standing.empty() && !stood_ && connects == connects_) return;
  stood_ = !standing.empty();
  connects_ = connects;
  std::set<std::string> ids;
  for (const Standing& one : standing) ids.insert(one.order.id());
  std::erase_if(answers_, [&](const auto& entry) { return !ids.contains(entry.first); });
  for (const auto& [name, node] : dispatcher_.nodes()) {
    if (!node.connected || !Understands(node)) continue;
    v1::ControllerMessage message;
    v1::EndOrders& orders = *message.mutable_end_orders();
    std::string told_ids;
    for (const Standing& one : standing) {
      if (one.ending->nodes.contains(name)) continue;
      *orders.add_orders() = one.order;
      told_ids += one.order.id() + '\n';
    }
    const auto told = told_.find(name);
    // A new session is told even that nothing stands: what its node was told before may be void.
    if (told != told_.end() && told->second.session == node.connected_since && told->second.ids == told_ids)
      continue;
    dispatcher_.Tell(name, message);
    told_[name] = {node.connected_since, std::move(told_ids)};
  }
}

void Endings::OnEnded(const std::string& node, const v1::Ended& ended) {
  engine::NodeEnded& answer = answers_[ended.id()][node];
  answer = {.connections = ended.tcp() + ended.udp(), .left = ended.left(), .trouble = ended.trouble()};
  if (answer.left > 0 && answer.trouble.empty()) answer.trouble = "no reason given";
}

std::vector<std::pair<ObjectKey, engine::ConnectionsEnded>> Endings::News() {
  std::vector<std::pair<ObjectKey, engine::ConnectionsEnded>> news;
  for (const Standing& one : StandingOrders()) {
    engine::ConnectionsEnded event{.number = one.ending->number, .nodes = {}};
    if (const auto answers = answers_.find(one.order.id()); answers != answers_.end())
      event.nodes = answers->second;
    for (const auto& [name, node] : dispatcher_.nodes()) {
      if (!node.connected || Understands(node)) continue;
      event.nodes[name].trouble =
          fmt::format("weir-agent {} cannot end connections: upgrade it", node.agent_version);
    }
    std::erase_if(event.nodes, [&](const auto& answer) {
      const auto held = one.ending->nodes.find(answer.first);
      return held != one.ending->nodes.end() && held->second == answer.second;
    });
    if (!event.nodes.empty()) news.emplace_back(one.rollout, std::move(event));
  }
  return news;
}

}  // namespace weir::app
