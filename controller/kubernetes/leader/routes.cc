#include "controller/kubernetes/leader/routes.h"

#include <algorithm>

#include "controller/model/json_object.h"
#include "controller/model/route_status.h"

namespace weir::kubernetes {
namespace {

namespace json = boost::json;
constexpr auto kKinds = {model::RouteKind::kHttp, model::RouteKind::kGrpc, model::RouteKind::kTcp};

/// "httproutes".
std::string PluralOf(model::RouteKind kind) {
  std::string plural(model::NameOf(kind));
  std::ranges::transform(plural, plural.begin(), [](unsigned char c) { return std::tolower(c); });
  return plural + "s";
}

/// In the version in which it was read.
StatusKey StatusKeyOf(const model::RouteId& id, const json::object& route) {
  const std::string api(Text(route, {"apiVersion"}));
  const size_t slash = api.find('/');
  return {{api.substr(0, slash), slash == std::string::npos ? "" : api.substr(slash + 1), PluralOf(id.kind)},
          id.key};
}

}  // namespace

std::optional<model::RouteKind> RouteKindOf(std::string_view kind) {
  for (const auto route : kKinds) {
    if (kind == model::NameOf(route)) return route;
  }
  return std::nullopt;
}

StatusKey Routes::Put(model::RouteKind kind, json::object object) {
  const model::RouteId id{kind, KeyOf(object)};
  Entry& entry = routes_[id];
  StatusKey key = StatusKeyOf(id, object);
  auto read = model::ReadJson(object, Text(object, {"apiVersion"}), model::NameOf(kind));
  std::optional<model::Route> route;
  if (read.ok()) route = std::get<model::Route>(*std::move(read));
  entry.object = std::move(object);
  if (route != entry.route) {  // else labels, or a status: Weir's own among them
    entry.route = std::move(route);
    entry.pending = true;
  }
  return key;
}

std::optional<StatusKey> Routes::Remove(model::RouteKind kind, const ObjectKey& key) {
  const auto found = routes_.find({kind, key});
  if (found == routes_.end()) return std::nullopt;
  const StatusKey status = StatusKeyOf(found->first, found->second.object);
  routes_.erase(found);
  return status;
}

void Routes::TakenUp(const std::map<model::RouteId, model::RouteVerdict>& verdicts, uint64_t generation) {
  for (auto& [id, entry] : routes_) {
    const auto verdict = verdicts.find(id);
    if (verdict == verdicts.end() || (!entry.pending && entry.verdict == verdict->second)) continue;
    entry.verdict = verdict->second;
    entry.pending = false;
    entry.since = generation;
  }
}

std::optional<StatusToWrite> Routes::MakeStatus(const StatusKey& key,
                                                const std::function<bool(uint64_t)>& all_acked,
                                                model::Created now) const {
  for (const auto kind : kKinds) {
    if (key.resource.plural != PluralOf(kind)) continue;
    const auto found = routes_.find({kind, key.key});
    if (found == routes_.end() || found->second.pending || !found->second.route) return std::nullopt;
    const Entry& entry = found->second;
    model::RouteFacts facts;
    facts.verdict = *entry.verdict;
    facts.all_acked = all_acked(entry.since);
    facts.now = now;
    auto present = model::ReadRouteParents(entry.object);
    if (present.ok()) facts.present = *std::move(present);
    const auto parents = model::RouteStatus(*entry.route, facts);
    if (parents == facts.present) return std::nullopt;
    // The list is one value to the API: it must not undo what another controller has just written.
    return StatusToWrite{model::WriteRouteParents(parents), std::string(ResourceVersionOf(entry.object))};
  }
  return std::nullopt;
}

std::vector<StatusKey> Routes::Keys() const {
  std::vector<StatusKey> keys;
  for (const auto& [id, entry] : routes_) keys.push_back(StatusKeyOf(id, entry.object));
  return keys;
}

}  // namespace weir::kubernetes
