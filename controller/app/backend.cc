#include "controller/app/backend.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "common/version.h"
#include "controller/app/analysis_status.h"
#include "controller/app/figures.h"
#include "controller/app/safety.h"

namespace weir::app {
namespace {

constexpr std::string_view kDefaultNamespace = "default";

struct Kind {
  std::string_view name;                    // as model::KindOf gives it
  std::vector<std::string_view> spellings;  // lower case
};

const std::vector<Kind>& Kinds() {
  static const std::vector<Kind> kinds = {
      {"Service", {"service", "services", "svc"}},
      {"EndpointSlice", {"endpointslice", "endpointslices"}},
      {"Rollout", {"rollout", "rollouts", "ro"}},
      {"TrafficSplit", {"trafficsplit", "trafficsplits", "ts"}},
      {"AnalysisTemplate", {"analysistemplate", "analysistemplates", "at"}},
      {"Webhook", {"webhook", "webhooks"}},
      {"HTTPRoute", {"httproute", "httproutes"}},
      {"GRPCRoute", {"grpcroute", "grpcroutes"}},
      {"TCPRoute", {"tcproute", "tcproutes"}},
      {"ReferenceGrant", {"referencegrant", "referencegrants", "refgrant"}},
      {"Node", {"node", "nodes"}},
  };
  return kinds;
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

Result<std::string> ParseKind(const std::string& text) {
  std::string lower = Lower(text);
  for (const auto& kind : Kinds()) {
    if (std::count(kind.spellings.begin(), kind.spellings.end(), lower) > 0) return std::string(kind.name);
  }
  return InvalidArgument(
      "kind: found '{}', expected Service, EndpointSlice, Rollout, TrafficSplit, HTTPRoute, GRPCRoute, "
      "TCPRoute, ReferenceGrant, AnalysisTemplate, Webhook or Node",
      text);
}

std::string NamespaceOr(const std::string& ns) { return ns.empty() ? std::string(kDefaultNamespace) : ns; }

ObjectKey KeyOf(const v1::ObjectName& name) { return {NamespaceOr(name.namespace_()), name.name()}; }

template <typename Map>
const typename Map::mapped_type* FindIn(const Map& map, const ObjectKey& key) {
  auto found = map.find(key);
  return found == map.end() ? nullptr : &found->second;
}

enum class Presence { kAbsent, kDifferent, kSame };

Presence Compare(const model::ObjectSet& objects, const model::Object& object) {
  auto compare = [](const auto* present, const auto& wanted) {
    if (present == nullptr) return Presence::kAbsent;
    return *present == wanted ? Presence::kSame : Presence::kDifferent;
  };
  struct Visitor {
    const model::ObjectSet& objects;
    decltype(compare)& compare_;
    Presence operator()(const model::Service& o) { return compare_(FindIn(objects.services, o.key), o); }
    Presence operator()(const model::EndpointSlice& o) { return compare_(FindIn(objects.slices, o.key), o); }
    Presence operator()(const model::Rollout& o) { return compare_(FindIn(objects.rollouts, o.key), o); }
    Presence operator()(const model::TrafficSplit& o) { return compare_(FindIn(objects.splits, o.key), o); }
    Presence operator()(const model::AnalysisTemplate& o) {
      return compare_(FindIn(objects.templates, o.key), o);
    }
    Presence operator()(const model::Route& o) {
      const auto found = objects.routes.find(o.id());
      return compare_(found == objects.routes.end() ? nullptr : &found->second, o);
    }
    Presence operator()(const model::ReferenceGrant& o) { return compare_(FindIn(objects.grants, o.key), o); }
    Presence operator()(const model::Webhook& o) { return compare_(FindIn(objects.webhooks, o.key), o); }
  };
  return std::visit(Visitor{objects, compare}, object);
}

bool Exists(const model::ObjectSet& objects, std::string_view kind, const ObjectKey& key) {
  return objects.Get(kind, key).has_value();
}

void AddChange(google::protobuf::RepeatedPtrField<v1::ObjectChange>& changes, std::string_view kind,
               const ObjectKey& key, v1::ObjectChange::Result result) {
  v1::ObjectChange& change = *changes.Add();
  change.set_kind(std::string(kind));
  change.set_namespace_(key.ns);
  change.set_name(key.name);
  change.set_result(result);
}

template <typename Map>
std::vector<ObjectKey> Matching(const Map& map, const v1::ListRequest& request) {
  std::vector<ObjectKey> keys;
  for (const auto& [key, value] : map) {
    if (!request.namespace_().empty() && request.namespace_() != key.ns) continue;
    if (!request.name().empty() && request.name() != key.name) continue;
    keys.push_back(key);
  }
  return keys;
}

}  // namespace

Result<v1::ApplyResponse> BackendImpl::Apply(const v1::ApplyRequest& request, api::Manifests manifests) {
  if (manifests.empty())
    return InvalidArgument("no object found in {} file(s): expected at least one", request.files_size());
  if (applying_.from_cluster && !request.dry_run()) {
    return FailedPrecondition(
        "this controller reads its objects from the Kubernetes API: use kubectl apply, or weirctl apply "
        "--dry-run to check");
  }
  v1::ApplyResponse response;
  ObjectChanges changes;
  for (model::Document& document : manifests) {
    if (const auto* rollout = std::get_if<model::Rollout>(&document.object);
        rollout != nullptr && rollout->workload && !applying_.from_cluster) {
      return InvalidArgument(
          "{}:{}: Rollout {}: spec.workloadRef: found a Deployment, expected a controller that runs with "
          "--kubernetes; "
          "name the revision in spec.revision",
          document.file, document.line, model::ToString(rollout->key));
    }
    Presence presence = Compare(core_.objects(), document.object);
    v1::ObjectChange::Result result = presence == Presence::kAbsent ? v1::ObjectChange::RESULT_CREATED
                                      : presence == Presence::kSame ? v1::ObjectChange::RESULT_UNCHANGED
                                                                    : v1::ObjectChange::RESULT_CONFIGURED;
    AddChange(*response.mutable_changes(), model::KindOf(document.object), model::KeyOf(document.object),
              result);
    if (presence != Presence::kSame) {
      changes.puts.emplace_back(std::move(document.object), std::move(document.yaml));
    }
  }
  if (request.dry_run()) {
    RETURN_IF_ERROR(core_.Check(changes));
  } else if (!changes.puts.empty()) {
    RETURN_IF_ERROR(core_.Change(changes));
  }
  return response;
}

Result<v1::DeleteResponse> BackendImpl::DeleteNode(const std::string& name) {
  RETURN_IF_ERROR(dispatcher_.ForgetNode(name));
  RETURN_IF_ERROR(core_.ForgetNode(name));
  observed_.Forget(name);
  cluster_.Forget(name);
  v1::DeleteResponse response;
  AddChange(*response.mutable_changes(), "Node", {"", name}, v1::ObjectChange::RESULT_DELETED);
  return response;
}

Result<v1::DeleteResponse> BackendImpl::Delete(const v1::DeleteRequest& request, api::Manifests manifests) {
  if (applying_.from_cluster && (request.files_size() > 0 || Lower(request.kind()).rfind("node", 0) != 0))
    return FailedPrecondition(
        "this controller reads its objects from the Kubernetes API: use kubectl delete");
  ObjectChanges changes;
  if (request.files_size() > 0) {
    for (const model::Document& document : manifests) {
      changes.removals.emplace_back(model::KindOf(document.object), model::KeyOf(document.object));
    }
  } else {
    ASSIGN_OR_RETURN(std::string kind, ParseKind(request.kind()));
    if (request.name().empty())
      return InvalidArgument("name: found nothing, expected the name of a {}", kind);
    if (kind == "Node") return DeleteNode(request.name());
    changes.removals.emplace_back(kind, ObjectKey{NamespaceOr(request.namespace_()), request.name()});
  }
  v1::DeleteResponse response;
  for (const auto& [kind, key] : changes.removals) {
    if (!Exists(core_.objects(), kind, key)) {
      return NotFound("no {} {}; nothing was deleted", Lower(kind), model::ToString(key));
    }
    AddChange(*response.mutable_changes(), kind, key, v1::ObjectChange::RESULT_DELETED);
  }
  Status status = core_.Change(changes);
  if (status.code() == absl::StatusCode::kInvalidArgument) {
    // The request is well formed; it is what would remain that does not fit together.
    return FailedPrecondition("{}; nothing was deleted", Message(status));
  }
  RETURN_IF_ERROR(status);
  return response;
}

Status BackendImpl::CheckRollout(const ObjectKey& key) const {
  if (core_.rollouts().contains(key)) return OkStatus();
  if (core_.objects().splits.contains(key)) {
    return NotFound("no rollout {}; the TrafficSplit of that name changes its weights by apply",
                    model::ToString(key));
  }
  return NotFound("no rollout {}", model::ToString(key));
}

v1::Rollout BackendImpl::StatusOf(const ObjectKey& key) {
  const model::Rollout& object = core_.objects().rollouts.at(key);
  const uint64_t generation = core_.rollouts().at(key).state.generation;
  const AckView& view = acks_.For(object.ack_timeout);
  engine::Acks acks = view.For(generation);
  acks.refusing = view.Refusing(generation);
  v1::Rollout status = RolloutStatus({core_, observed_}, key, acks);
  if (const std::string remark = applying_.remark ? applying_.remark(key) : ""; !remark.empty())
    status.set_message(status.message().empty() ? remark : status.message() + "; " + remark);
  const NodeList nodes = NodesThatTookOut(dispatcher_.nodes());
  for (const auto& node : TakenOutOf(nodes, object, core_.rollouts().at(key).state).nodes)
    status.add_nodes_taken_out(node);
  AddAnalyses(analysis_, key, core_.rollouts().at(key).state, status);
  return status;
}

Result<v1::Rollout> BackendImpl::Command(const ObjectKey& key, const engine::Event& event) {
  RETURN_IF_ERROR(CheckRollout(key));
  RETURN_IF_ERROR(core_.Feed(key, event));
  return StatusOf(key);
}

Result<v1::Rollout> BackendImpl::GetRollout(const v1::ObjectName& request) {
  ObjectKey key = KeyOf(request);
  RETURN_IF_ERROR(CheckRollout(key));
  return StatusOf(key);
}

Result<v1::ListRolloutsResponse> BackendImpl::ListRollouts(const v1::ListRequest& request) {
  v1::ListRolloutsResponse response;
  for (const ObjectKey& key : Matching(core_.rollouts(), request)) *response.add_rollouts() = StatusOf(key);
  return response;
}

Result<v1::Rollout> BackendImpl::Promote(const v1::PromoteRequest& request) {
  return Command({NamespaceOr(request.namespace_()), request.name()}, engine::Promote{request.full()});
}
Result<v1::Rollout> BackendImpl::Abort(const v1::ObjectName& request) {
  return Command(KeyOf(request), engine::Abort{});
}
Result<v1::Rollout> BackendImpl::Retry(const v1::ObjectName& request) {
  return Command(KeyOf(request), engine::Retry{});
}
Result<v1::Rollout> BackendImpl::Pause(const v1::ObjectName& request) {
  return Command(KeyOf(request), engine::UserPause{});
}
Result<v1::Rollout> BackendImpl::Resume(const v1::ObjectName& request) {
  return Command(KeyOf(request), engine::Resume{});
}
Result<v1::Rollout> BackendImpl::SetWeight(const v1::SetWeightRequest& request) {
  return Command({NamespaceOr(request.namespace_()), request.name()},
                 engine::SetWeightByHand{request.weight()});
}
Result<v1::Rollout> BackendImpl::Undo(const v1::UndoRequest& request) {
  return Command({NamespaceOr(request.namespace_()), request.name()}, engine::Undo{request.to_revision()});
}

Result<v1::ListNodesResponse> BackendImpl::ListNodes(const v1::ListNodesRequest&) {
  v1::ListNodesResponse response;
  response.set_generation(core_.generation());
  for (const auto& [name, node] : dispatcher_.nodes()) *response.add_nodes() = NodeStatus(node);
  return response;
}

Result<v1::ListSplitsResponse> BackendImpl::ListSplits(const v1::ListRequest& request) {
  v1::ListSplitsResponse response;
  for (const ObjectKey& key : Matching(core_.frontends(), request))
    AddSplits({core_, observed_}, key, response);
  return response;
}

Result<v1::ListServicesResponse> BackendImpl::ListServices(const v1::ListRequest& request) {
  return ServiceList({core_, observed_}, request.namespace_(), request.name());
}

Result<v1::ListWebhooksResponse> BackendImpl::ListWebhooks(const v1::ListRequest& request) {
  v1::ListWebhooksResponse response;
  for (const ObjectKey& key : Matching(core_.objects().webhooks, request))
    *response.add_webhooks() = WebhookStatusOf(core_.objects().webhooks.at(key), webhooks_.ReportOf(key));
  return response;
}

Result<v1::FiguresResponse> BackendImpl::ListFigures(const v1::FiguresRequest& request) {
  ASSIGN_OR_RETURN(auto response, FiguresOf({core_, observed_}, cluster_, request, clock_.Now()));
  response.set_nodes_connected(static_cast<uint32_t>(dispatcher_.connected()));
  return response;
}

Result<v1::ListAnalysisRunsResponse> BackendImpl::ListAnalysisRuns(const v1::ListRequest& request) {
  return AnalysisRuns(analysis_, request);
}

Result<v1::GetVersionResponse> BackendImpl::GetVersion(const v1::GetVersionRequest&) {
  v1::GetVersionResponse response;
  response.set_version(std::string(kVersion));
  return response;
}

}  // namespace weir::app
