#include "controller/kubernetes/state/cluster_store.h"

#include <boost/uuid/random_generator.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <charconv>

#include "common/sha256.h"
#include "controller/kubernetes/client/api_error.h"

namespace weir::kubernetes {
namespace {

namespace json = boost::json;

constexpr std::string_view kName = "weir-state";
constexpr std::string_view kRunsLabel = "weir.dev/state";  // of the ConfigMaps of runs: "runs"
constexpr std::string_view kRolloutAnnotation = "weir.dev/rollout";
constexpr size_t kPage = 500;

std::string RunsName(const store::RolloutKey& rollout) {
  return "weir-runs-" + Sha256Hex(rollout.ns + "/" + rollout.name).substr(0, 16);
}

template <typename T>
std::optional<T> Number(std::string_view text) {
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// Every page of a list.
template <typename Take>
Status ListAll(const std::function<Result<Response>(ApiRequest)>& ask, const std::string& path,
               const std::string& query, const Take& take) {
  std::string next;
  do {
    ApiRequest request;
    request.target =
        fmt::format("{}?limit={}{}{}", path, kPage, query, next.empty() ? "" : "&continue=" + next);
    ASSIGN_OR_RETURN(const Response page, ask(std::move(request)));
    if (const json::value* items = Find(page.body, {"items"}); items != nullptr && items->is_array()) {
      for (const json::value& item : items->get_array()) {
        if (item.is_object()) RETURN_IF_ERROR(take(item.get_object()));
      }
    }
    next = Text(page.body, {"metadata", "continue"});
  } while (!next.empty());
  return OkStatus();
}

}  // namespace

const Resource& RolloutResource() {
  static const Resource resource{"weir.dev", "v1alpha1", "rollouts"};
  return resource;
}

const Resource& ConfigMapResource() {
  static const Resource resource{"", "v1", "configmaps"};
  return resource;
}

Result<Response> ClusterStore::Ask(ApiRequest request) {
  request.timeout = options_.timeout;
  request.urgent = true;  // a thread waits, which speaks with agents else
  return client_.Call(std::move(request));
}

Result<std::unique_ptr<ClusterStore>> ClusterStore::Open(Client& client, std::function<bool()> leads,
                                                         Options options) {
  std::unique_ptr<ClusterStore> store(new ClusterStore(client, std::move(leads), std::move(options)));
  const ObjectKey key{store->options_.ns, std::string(kName)};
  auto found = store->Ask(GetRequest(ConfigMapResource(), key));
  if (!found.ok() && found.status().code() == absl::StatusCode::kNotFound) {
    const json::object map{{"apiVersion", "v1"},
                           {"kind", "ConfigMap"},
                           {"metadata", {{"name", kName}, {"namespace", key.ns}}},
                           {"data", {{"controllerId", to_string(boost::uuids::random_generator()())}}}};
    found = store->Ask(CreateRequest(ConfigMapResource(), key.ns, map));
  }
  RETURN_IF_ERROR(Annotate(found.status(), fmt::format("ConfigMap {}", model::ToString(key))));
  RETURN_IF_ERROR(store->TakeConfigMap(*found));
  return store;
}

Status ClusterStore::TakeConfigMap(const Response& response) {
  const auto wrong = [&](std::string_view field, std::string_view expected) {
    return Error(
        absl::StatusCode::kDataLoss,
        "ConfigMap {}/{}: data.{}: found \"{}\", expected {}; restore it, or delete it to begin anew",
        options_.ns, kName, field, Text(response.body, {"data", field}), expected);
  };
  resource_version_ = response.body.is_object() ? ResourceVersionOf(response.body.get_object()) : "";
  controller_id_ = Text(response.body, {"data", "controllerId"});
  if (controller_id_.empty()) return wrong("controllerId", "a UUID");
  generation_.digest = Text(response.body, {"data", "digest"});
  if (const auto text = Text(response.body, {"data", "generation"}); !text.empty()) {
    const auto number = Number<uint64_t>(text);
    if (!number) return wrong("generation", "a number");
    generation_.number = *number;
  }
  nodes_.clear();
  const auto text = Text(response.body, {"data", "nodes"});
  if (text.empty()) return OkStatus();
  const auto nodes = ParseJson(text);
  if (!nodes.ok() || !nodes->is_object()) return wrong("nodes", "numbers by name");
  for (const auto& [name, number] : nodes->get_object()) {
    if (!number.is_int64() || number.get_int64() < 0) return wrong("nodes", "numbers by name");
    nodes_[std::string(name)] = static_cast<uint32_t>(number.get_int64());
  }
  return OkStatus();
}

Result<store::Contents> ClusterStore::Load() {
  store::Contents contents;
  contents.generation = generation_;
  contents.nodes = nodes_;
  RETURN_IF_ERROR(LoadStates(contents));
  RETURN_IF_ERROR(LoadRuns(contents));
  return contents;
}

Status ClusterStore::LoadStates(store::Contents& contents) {
  const auto ask = [this](ApiRequest request) { return Ask(std::move(request)); };
  return ListAll(ask, CollectionPath(RolloutResource(), ""), "", [&](const json::object& rollout) {
    const ObjectKey key = KeyOf(rollout);
    if (const auto state = Text(rollout, {"status", "state"}); !state.empty())
      contents.states[{key.ns, key.name}] = std::string(state);
    return OkStatus();
  });
}

Status ClusterStore::LoadRuns(store::Contents& contents) {
  const auto ask = [this](ApiRequest request) { return Ask(std::move(request)); };
  const std::string query = fmt::format("&labelSelector={}%3Druns", "weir.dev%2Fstate");
  return ListAll(ask, CollectionPath(ConfigMapResource(), options_.ns), query, [&](const json::object& map) {
    const std::string rollout(Text(map, {"metadata", "annotations", kRolloutAnnotation}));
    const size_t slash = rollout.find('/');
    const json::value* data = Find(map, {"data"});
    if (slash == std::string::npos || data == nullptr || !data->is_object()) return OkStatus();
    const store::RolloutKey key{rollout.substr(0, slash), rollout.substr(slash + 1)};
    for (const auto& [id, run] : data->get_object()) {
      if (!run.is_string()) continue;
      const std::string text(run.get_string());
      contents.runs[{key.ns, key.name, std::string(id)}] = text;
      runs_[key][std::string(id)] = text;
    }
    return OkStatus();
  });
}

Status ClusterStore::Commit(const store::Batch& batch) {
  Status status = Write(batch);
  // weirctl takes these two for news about the controller itself.
  if (status.code() != absl::StatusCode::kUnavailable && status.code() != absl::StatusCode::kDeadlineExceeded)
    return status;
  return Error(absl::StatusCode::kAborted, "the API server does not keep it: {}; try again", Message(status));
}

Status ClusterStore::Write(const store::Batch& batch) {
  if (!leads_())
    return Error(absl::StatusCode::kAborted, "this controller leads no more: try again at the one that does");
  if (batch.generation && batch.generation->number < generation_.number)
    return FailedPrecondition("the generation would go back from {} to {}", generation_.number,
                              batch.generation->number);
  RETURN_IF_ERROR(CommitConfigMap(batch));
  for (const auto& [rollout, state] : batch.states) {
    if (!state) continue;  // gone, and its status with it
    auto written = Ask(
        StatusPatchRequest(RolloutResource(), {rollout.ns, rollout.name}, json::object{{"state", *state}}));
    if (written.status().code() == absl::StatusCode::kNotFound) continue;  // its end is on its way here
    RETURN_IF_ERROR(
        Annotate(written.status(), fmt::format("status of Rollout {}/{}", rollout.ns, rollout.name)));
  }
  return CommitRuns(batch);
}

Status ClusterStore::CommitConfigMap(const store::Batch& batch) {
  if (!batch.generation && batch.nodes.empty()) return OkStatus();
  json::object data;
  if (batch.generation) {
    data["generation"] = std::to_string(batch.generation->number);
    data["digest"] = batch.generation->digest;
  }
  std::map<std::string, uint32_t> nodes = nodes_;
  for (const auto& [name, number] : batch.nodes) {
    if (number) {
      nodes[name] = *number;
    } else {
      nodes.erase(name);
    }
  }
  if (!batch.nodes.empty()) {
    json::object numbers;
    for (const auto& [name, number] : nodes) numbers[name] = number;
    data["nodes"] = json::serialize(numbers);
  }
  const auto write = [&] {
    const json::object patch{{"metadata", {{"resourceVersion", resource_version_}}}, {"data", data}};
    return Ask(MergePatchRequest(ConfigMapResource(), {options_.ns, std::string(kName)}, patch));
  };
  auto written = write();
  if (written.status().code() == absl::StatusCode::kAborted && leads_()) {
    // A write of our own whose answer was lost, as nobody else writes while we lead. Nobody was told of it:
    // this one takes its place.
    auto present = Ask(GetRequest(ConfigMapResource(), {options_.ns, std::string(kName)}));
    if (present.ok()) {
      RETURN_IF_ERROR(TakeConfigMap(*present));
      if (!batch.generation || batch.generation->number >= generation_.number) written = write();
    }
  }
  RETURN_IF_ERROR(Annotate(written.status(), fmt::format("ConfigMap {}/{}", options_.ns, kName)));
  resource_version_ = ResourceVersionOf(written->body.get_object());
  if (batch.generation) generation_ = *batch.generation;
  nodes_ = std::move(nodes);
  return OkStatus();
}

Status ClusterStore::CommitRuns(const store::Batch& batch) {
  std::map<store::RolloutKey, json::object> changes;
  for (const auto& [run, text] : batch.runs) {
    json::value value = nullptr;
    if (text) value = *text;
    changes[{run.ns, run.rollout}][run.id] = std::move(value);
  }
  for (auto& [rollout, data] : changes) {
    auto after = runs_[rollout];
    for (const auto& [id, text] : data) {
      if (text.is_string()) {
        after[std::string(id)] = std::string(text.get_string());
      } else {
        after.erase(std::string(id));
      }
    }
    const ObjectKey key{options_.ns, RunsName(rollout)};
    Result<Response> written = Response{};
    if (after.empty()) {
      written = Ask(DeleteRequest(ConfigMapResource(), key));
      if (written.status().code() == absl::StatusCode::kNotFound) written = Response{};
    } else {
      const json::object metadata{{"name", key.name},
                                  {"namespace", key.ns},
                                  {"labels", {{kRunsLabel, "runs"}}},
                                  {"annotations", {{kRolloutAnnotation, rollout.ns + "/" + rollout.name}}}};
      written = Ask(MergePatchRequest(ConfigMapResource(), key, {{"data", data}}));
      if (written.status().code() == absl::StatusCode::kNotFound) {
        json::object all;
        for (const auto& [id, text] : after) all[id] = text;
        written = Ask(CreateRequest(
            ConfigMapResource(), key.ns,
            {{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", metadata}, {"data", all}}));
      }
    }
    RETURN_IF_ERROR(Annotate(written.status(), fmt::format("ConfigMap {}", model::ToString(key))));
    if (after.empty()) {
      runs_.erase(rollout);
    } else {
      runs_[rollout] = std::move(after);
    }
  }
  return OkStatus();
}

}  // namespace weir::kubernetes
