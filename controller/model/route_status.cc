#include "controller/model/route_status.h"

#include <algorithm>
#include <utility>

namespace weir::model {
namespace {

constexpr size_t kMaxEntries = 32;    // of the API
constexpr size_t kMaxMessage = 1024;  // of the API 32768

/// The entry of ours for this parent.
const RouteParentStatus* OursFor(const ParentRef& parent, const std::vector<RouteParentStatus>& present) {
  const auto found = std::ranges::find_if(present, [&parent](const RouteParentStatus& entry) {
    return entry.controller == kControllerName && entry.parent == parent;
  });
  return found == present.end() ? nullptr : &*found;
}

/// Not cut within a UTF-8 character.
std::string Shortened(std::string text) {
  if (text.size() <= kMaxMessage) return text;
  size_t end = kMaxMessage;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

/// With the time of its last transition, which `before` remembers.
Condition ConditionOf(std::string type, std::string status, std::string reason, std::string message,
                      int64_t generation, Created now, const RouteParentStatus* before) {
  Condition condition{std::move(type),    std::move(status), std::move(reason),
                      std::move(message), generation,        now};
  if (before == nullptr) return condition;
  const auto old = std::ranges::find(before->conditions, condition.type, &Condition::type);
  if (old != before->conditions.end() && old->status == condition.status)
    condition.last_transition = old->last_transition;
  return condition;
}

Condition ConditionOf(std::string type, const Finding& finding, const Route& route, const RouteFacts& facts,
                      const RouteParentStatus* before) {
  return ConditionOf(std::move(type), finding.holds ? "True" : "False", finding.reason,
                     Shortened(finding.message), route.generation, facts.now, before);
}

RouteParentStatus EntryFor(const Route& route, const ParentRef& parent, const Finding& accepted,
                           const RouteFacts& facts) {
  const RouteParentStatus* before = OursFor(parent, facts.present);
  RouteParentStatus entry{parent, std::string(kControllerName), {}};
  if (accepted.holds && !facts.all_acked) {
    if (before != nullptr) return *before;
    entry.conditions.push_back(ConditionOf("Accepted", "Unknown", "Pending",
                                           "not every agent has acknowledged the weights yet",
                                           /*generation=*/0, facts.now, before));
    return entry;
  }
  entry.conditions.push_back(ConditionOf("Accepted", accepted, route, facts, before));
  entry.conditions.push_back(ConditionOf("ResolvedRefs", facts.verdict.resolved_refs, route, facts, before));
  return entry;
}

}  // namespace

std::vector<RouteParentStatus> RouteStatus(const Route& route, const RouteFacts& facts) {
  std::vector<RouteParentStatus> ours;
  for (const auto& [index, accepted] : facts.verdict.accepted) {
    if (index < route.parents.size()) ours.push_back(EntryFor(route, route.parents[index], accepted, facts));
  }
  // Each stays in its place: the list is one value to the API, and others compare it.
  std::vector<RouteParentStatus> parents;
  for (const RouteParentStatus& entry : facts.present) {
    if (entry.controller != kControllerName) {
      parents.push_back(entry);
      continue;
    }
    const auto mine = std::ranges::find(ours, entry.parent, &RouteParentStatus::parent);
    if (mine == ours.end()) continue;  // a parent that is named no more
    parents.push_back(std::move(*mine));
    ours.erase(mine);
  }
  for (RouteParentStatus& entry : ours) {
    if (parents.size() < kMaxEntries) parents.push_back(std::move(entry));
  }
  return parents;
}

}  // namespace weir::model
