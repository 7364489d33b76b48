#include "controller/app/status.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "controller/app/safety.h"
#include "controller/model/manifest.h"

namespace weir::app {
namespace {

int64_t Milliseconds(engine::TimePoint time) { return time.time_since_epoch().count(); }

/// Whether the rollout divides this service or has it as its preview.
bool Decides(const model::Rollout& rollout, const ObjectKey& service) {
  return rollout.key.ns == service.ns &&
         (rollout.service == service.name ||
          (!rollout.preview_service.empty() && rollout.preview_service == service.name));
}

/// "Rollout/checkout", "TrafficSplit/x", "HTTPRoute/x", or nothing.
std::string OwnerOf(const Core& core, const ObjectKey& service, const model::ServicePort& port) {
  for (const auto& [key, rollout] : core.objects().rollouts) {
    if (Decides(rollout, service)) return "Rollout/" + key.name;
  }
  return core.SourceOf(service, port);
}

/// Those of all its ports, each once: "HTTPRoute/x, TCPRoute/y".
std::string OwnersOf(const Core& core, const model::Service& service) {
  std::vector<std::string> owners;
  for (const model::ServicePort& port : service.ports) {
    std::string owner = core.SourceOf(service.key, port);
    if (!owner.empty() && std::find(owners.begin(), owners.end(), owner) == owners.end())
      owners.push_back(std::move(owner));
  }
  return fmt::format("{}", fmt::join(owners, ", "));
}

const RolloutEntry* RolloutOf(const Core& core, const ObjectKey& service) {
  for (const auto& [key, rollout] : core.objects().rollouts) {
    if (Decides(rollout, service)) return &core.rollouts().at(key);
  }
  return nullptr;
}

void AddVariant(const RolloutEntry& entry, const std::string& revision, v1::Role role, uint32_t weight,
                const std::map<std::string, uint64_t>& observed, v1::Rollout& status) {
  if (revision.empty()) return;
  v1::VariantStatus& variant = *status.add_variants();
  variant.set_revision(revision);
  variant.set_role(role);
  variant.set_weight(weight);
  if (auto found = entry.endpoints.find(revision); found != entry.endpoints.end()) {
    variant.set_endpoints_ready(found->second.ready);
    variant.set_endpoints_total(found->second.total);
  }
  if (auto found = observed.find(revision); found != observed.end()) {
    variant.set_connections_observed(found->second);
  }
}

void AddBlueGreen(const model::Rollout& object, const RolloutEntry& entry,
                  const engine::Description& description, v1::Rollout& status) {
  status.set_active_revision(entry.weights.stable);
  if (!object.preview_service.empty()) {
    status.set_preview_service(object.preview_service);
    status.set_preview_revision(entry.weights.canary.empty() ? entry.weights.stable : entry.weights.canary);
  }
  if (!description.previous_remaining) return;
  status.set_previous_revision(entry.state.previous);
  status.set_previous_remaining_ms(description.previous_remaining->count());
}

void AddEnding(const engine::Ending& ending, const engine::Acks& acks, const engine::Description& description,
               engine::TimePoint now, v1::EndedConnections& status) {
  const engine::EndedSum sum = engine::SumOf(ending);
  status.set_revision(ending.revision);
  status.set_cause(ending.completed ? "complete" : "abort");
  status.set_ordered(ending.ordered);
  const bool due = !ending.ordered && ending.due;
  status.set_remaining_ms(due ? std::max<int64_t>(0, (*ending.due - now).count()) : -1);
  status.set_connections(sum.connections);
  status.set_left(sum.left);
  status.set_nodes_desired(acks.desired);
  status.set_nodes_answered(static_cast<uint32_t>(ending.nodes.size()));
  for (const std::string& trouble : sum.troubles) status.add_troubles(trouble);
  status.set_text(description.ending);
}

}  // namespace

v1::Rollout RolloutStatus(const Facts& facts, const ObjectKey& key, const engine::Acks& acks) {
  const model::Rollout& object = facts.core.objects().rollouts.at(key);
  const RolloutEntry& entry = facts.core.rollouts().at(key);
  const engine::State& state = entry.state;
  engine::Description description = engine::Describe(state, facts.core.Now());

  v1::Rollout status;
  status.set_namespace_(key.ns);
  status.set_name(key.name);
  status.set_service(object.service);
  status.set_phase(engine::PhaseName(description.phase));
  status.set_message(description.message);
  status.set_revision(state.spec.revision);
  status.set_stable_revision(state.stable);
  status.set_canary_revision(state.canary);
  status.set_current_step_index(state.step);
  for (const auto& step : state.spec.steps) status.add_steps()->set_text(model::StepText(step));
  status.set_canary_weight(description.canary_weight);
  status.set_max_weight(state.spec.max_weight);
  status.set_generation(state.generation);
  status.set_nodes_desired(acks.desired);
  status.set_nodes_acked(acks.acked);
  for (const auto& node : acks.behind) status.add_nodes_behind(node);
  for (const auto& node : acks.refusing) status.add_nodes_refusing(node);
  status.set_pause_remaining_ms(description.pause_remaining ? description.pause_remaining->count() : -1);
  status.set_paused(description.paused);
  status.set_aborted(state.aborted);
  if (state.started) status.set_started_unix_ms(Milliseconds(*state.started));
  status.set_updated_unix_ms(Milliseconds(entry.updated));

  std::map<std::string, uint64_t> observed;
  if (auto found = facts.core.frontends().find({key.ns, object.service});
      found != facts.core.frontends().end()) {
    for (const auto& [id, frontend] : found->second) {
      for (const auto& [revision, count] : facts.observed.Sum(frontend)) observed[revision] += count;
    }
  }
  const bool canary = !object.spec.blue_green;
  status.set_strategy(canary ? "canary" : "blueGreen");
  AddVariant(entry, entry.weights.stable, canary ? v1::ROLE_STABLE : v1::ROLE_ACTIVE,
             entry.weights.stable_weight, observed, status);
  AddVariant(entry, entry.weights.canary, canary ? v1::ROLE_CANARY : v1::ROLE_PREVIEW,
             entry.weights.canary_weight, observed, status);
  AddVariant(entry, entry.weights.previous, v1::ROLE_PREVIOUS, 0, observed, status);
  status.set_previous_remaining_ms(-1);
  if (!canary) AddBlueGreen(object, entry, description, status);
  if (state.ending) AddEnding(*state.ending, acks, description, facts.core.Now(), *status.mutable_ended());
  return status;
}

void AddSplits(const Facts& facts, const ObjectKey& service, v1::ListSplitsResponse& response) {
  auto frontends = facts.core.frontends().find(service);
  if (frontends == facts.core.frontends().end()) return;
  const RolloutEntry* rollout = RolloutOf(facts.core, service);
  for (const auto& [id, frontend] : frontends->second) {
    v1::Split& split = *response.add_splits();
    split.set_namespace_(service.ns);
    split.set_service(service.name);
    const model::ServicePort port{
        .port = static_cast<uint16_t>(frontend.key().port()),
        .protocol = frontend.key().protocol() == v1::PROTOCOL_TCP ? Protocol::kTcp : Protocol::kUdp};
    const std::string& clients = frontend.consumer_namespace();
    const std::string owner =
        clients.empty() ? OwnerOf(facts.core, service, port) : facts.core.SourceOf(service, port, clients);
    split.set_source(owner.empty() ? "Service" : owner);
    split.set_port_name(frontend.port_name());
    *split.mutable_key() = frontend.key();
    split.set_consumer_namespace(clients);
    auto sum = facts.observed.Sum(frontend);
    for (const auto& variant : frontend.variants()) {
      v1::VariantStatus& status = *split.add_variants();
      status.set_revision(variant.revision());
      status.set_role(variant.role());
      status.set_weight(variant.weight());
      status.set_endpoints_ready(static_cast<uint32_t>(variant.endpoints_size()));
      status.set_endpoints_total(static_cast<uint32_t>(variant.endpoints_size()));
      if (rollout != nullptr) {
        if (auto found = rollout->endpoints.find(variant.revision()); found != rollout->endpoints.end()) {
          status.set_endpoints_ready(found->second.ready);
          status.set_endpoints_total(found->second.total);
        }
      }
      if (auto found = sum.find(variant.revision()); found != sum.end())
        status.set_connections_observed(found->second);
    }
    for (const auto& [node, variants] : facts.observed.Of(frontend)) {
      v1::NodeSplit& counted = *split.add_nodes();
      counted.set_node(node);
      for (const auto& count : *variants) {
        v1::VariantStatus& status = *counted.add_variants();
        status.set_revision(count.revision());
        status.set_weight(count.weight());
        status.set_connections_observed(count.connections());
      }
    }
  }
}

v1::ListServicesResponse ServiceList(const Facts& facts, const std::string& ns, const std::string& name) {
  const model::ObjectSet& objects = facts.core.objects();
  struct Addresses {
    std::set<IpAddress> ready, all;
  };
  std::map<ObjectKey, Addresses> endpoints;
  for (const auto& [key, slice] : objects.slices) {
    Addresses& addresses = endpoints[{key.ns, slice.service}];
    for (const auto& endpoint : slice.endpoints) {
      addresses.all.insert(endpoint.address);
      if (endpoint.state == model::EndpointState::kReady) addresses.ready.insert(endpoint.address);
    }
  }
  std::map<ObjectKey, std::string> owners;
  for (const auto& [key, rollout] : objects.rollouts)
    for (const std::string& owned : {rollout.service, rollout.preview_service})
      if (!owned.empty()) owners[{key.ns, owned}] = "Rollout/" + key.name;

  v1::ListServicesResponse response;
  for (const auto& [key, service] : objects.services) {
    if ((!ns.empty() && ns != key.ns) || (!name.empty() && name != key.name)) continue;
    v1::ServiceInfo& info = *response.add_services();
    info.set_namespace_(key.ns);
    info.set_name(key.name);
    if (auto found = facts.core.frontends().find(key); found != facts.core.frontends().end()) {
      for (const auto& [id, frontend] : found->second) *info.add_frontends() = frontend.key();
    }
    info.set_endpoints_ready(static_cast<uint32_t>(endpoints[key].ready.size()));
    info.set_endpoints_total(static_cast<uint32_t>(endpoints[key].all.size()));
    const auto owner = owners.find(key);
    info.set_split(owner != owners.end() ? owner->second : OwnersOf(facts.core, service));
  }
  return response;
}

v1::Node NodeStatus(const dispatch::Node& node) {
  v1::Node status;
  status.set_name(node.name);
  status.set_number(node.number);
  status.set_connected(node.connected);
  status.set_agent_version(node.agent_version);
  status.set_kernel_release(node.kernel_release);
  status.set_generation_acked(node.generation_acked);
  status.set_generation_sent(node.generation_sent);
  status.set_nack_reason(node.nack_reason);
  if (node.last_seen) {
    status.set_last_seen_unix_ms(
        std::chrono::duration_cast<std::chrono::milliseconds>(node.last_seen->time_since_epoch()).count());
  }
  for (const auto& ability : node.abilities) status.add_abilities(ability);
  AddSafety(node, status);
  return status;
}

v1::WebhookStatus WebhookStatusOf(const model::Webhook& webhook, const webhooks::Report& report) {
  v1::WebhookStatus status;
  status.set_namespace_(webhook.key.ns);
  status.set_name(webhook.key.name);
  if (const auto url = ParseUrl(webhook.url); url.ok())
    status.set_server(fmt::format("{}://{}", url->https ? "https" : "http", url->authority()));
  for (const std::string& event : webhook.events) status.add_events(event);
  status.set_signed_(!webhook.secret.empty());
  status.set_delivered(report.delivered);
  status.set_retried(report.retried);
  status.set_failed(report.failed);
  status.set_dropped(report.dropped);
  status.set_waiting(static_cast<uint32_t>(report.waiting));
  status.set_last_error(report.last_error);
  if (!report.last_error.empty()) {
    status.set_last_error_unix_ms(
        Milliseconds(std::chrono::floor<std::chrono::milliseconds>(report.last_error_at)));
  }
  return status;
}

}  // namespace weir::app
